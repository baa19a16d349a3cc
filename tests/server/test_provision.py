"""Provision: R-PROV."""

from __future__ import annotations

from typing import Any

import pytest

from brokerkit import (
    Accepted,
    AsyncRequired,
    InstanceAlreadyExists,
    InstanceMetadata,
    MaintenanceInfo,
    MaintenanceInfoConflict,
    Provisioned,
    ServicePlan,
)

from ..support.broker import (
    IDS,
    INSTANCE,
    ORGANIZATION,
    PROVISION,
    Platform,
    Recorder,
    error_of,
    make_app,
    make_broker,
    make_offering,
)

POLLS = "accepts_incomplete=true"
CONTEXT = {
    "platform": "cloudfoundry",
    "organization_guid": "o from the context",
    "space_guid": "s from the context",
}


def test_r_prov_1_created_now_is_201_with_the_dashboard_url_and_metadata(
    platform: Platform, recorder: Recorder
) -> None:
    recorder.answers["provision"] = Provisioned(
        dashboard_url="https://db.example.org/i1",
        metadata=InstanceMetadata(labels={"region": "eu"}, attributes={"nodes": 3}),
    )
    response = platform.put(INSTANCE, PROVISION)
    assert response.status_code == 201
    assert response.json == {
        "dashboard_url": "https://db.example.org/i1",
        "metadata": {"labels": {"region": "eu"}, "attributes": {"nodes": 3}},
    }


@pytest.mark.parametrize("answer", [None, Provisioned()])
def test_r_prov_1_a_handler_with_nothing_to_tell_is_201_with_an_empty_object(
    answer: object, platform: Platform, recorder: Recorder
) -> None:
    recorder.answers["provision"] = answer
    response = platform.put(INSTANCE, PROVISION)
    assert (response.status_code, response.json) == (201, {})


def test_r_prov_1_in_progress_is_202_with_an_operation(platform: Platform, recorder: Recorder) -> None:
    recorder.answers["provision"] = Accepted(operation="job 7")
    response = platform.put(INSTANCE, PROVISION, query=POLLS)
    assert response.status_code == 202
    assert response.json == {"operation": "job 7"}


@pytest.mark.parametrize("operation", ["1", "é" * 10_000])
def test_r_prov_1_an_operation_has_up_to_10_000_characters(
    operation: str, platform: Platform, recorder: Recorder
) -> None:
    recorder.answers["provision"] = Accepted(operation=operation)
    response = platform.put(INSTANCE, PROVISION, query=POLLS)
    assert (response.status_code, response.json) == (202, {"operation": operation})


def test_r_prov_1_a_202_has_an_operation_even_if_the_handler_names_none(
    platform: Platform, recorder: Recorder
) -> None:
    recorder.answers["provision"] = Accepted()
    response = platform.put(INSTANCE, PROVISION, query=POLLS)
    assert (response.status_code, response.json) == (202, {"operation": "provision"})


def test_r_prov_2_a_202_has_the_dashboard_url_and_metadata_too(
    platform: Platform, recorder: Recorder
) -> None:
    recorder.answers["provision"] = Accepted(
        operation="job 7",
        dashboard_url="https://db.example.org/i1",
        metadata=InstanceMetadata(labels={"region": "eu"}),
    )
    response = platform.put(INSTANCE, PROVISION, query=POLLS)
    assert response.json == {
        "operation": "job 7",
        "dashboard_url": "https://db.example.org/i1",
        "metadata": {"labels": {"region": "eu"}},
    }


def test_r_prov_3_what_exists_with_identical_attributes_is_200(
    platform: Platform, recorder: Recorder
) -> None:
    recorder.answers["provision"] = Provisioned(dashboard_url="https://d", exists=True)
    response = platform.put(INSTANCE, PROVISION)
    assert (response.status_code, response.json) == (200, {"dashboard_url": "https://d"})


def test_r_prov_4_a_put_that_is_sent_again_gets_the_same_answer_and_reaches_the_handler(
    platform: Platform, recorder: Recorder
) -> None:
    recorder.answers["provision"] = Accepted(operation="job 7")
    first, second = (platform.put(INSTANCE, PROVISION, query=POLLS) for _ in range(2))
    assert first.status_code == second.status_code == 202
    assert first.json == second.json == {"operation": "job 7"}
    assert recorder.requests[0] == recorder.requests[1]


def test_r_prov_5_what_exists_with_different_attributes_is_409(
    platform: Platform, recorder: Recorder
) -> None:
    recorder.answers["provision"] = InstanceAlreadyExists()
    response = platform.put(INSTANCE, PROVISION)
    assert response.status_code == 409
    assert error_of(response)["error"] == "InstanceAlreadyExists"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({**PROVISION, "service_id": None}, "service_id: expected a string, got null"),
        (
            {**PROVISION, "plan_id": "nope"},
            "plan_id: there is no service plan 'nope' in the catalog",
        ),
        (
            {**PROVISION, "service_id": "nope"},
            "service_id: there is no service offering 'nope' in the catalog",
        ),
        ({**PROVISION, "plan_id": ""}, "plan_id: there is no service plan '' in the catalog"),
        ({**PROVISION, "parameters": []}, "parameters: expected an object, got an array"),
        ({"plan_id": "small-id", **ORGANIZATION}, "service_id: is required"),
        ({"service_id": "db-id", **ORGANIZATION}, "plan_id: is required"),
    ],
)
def test_r_prov_6_a_missing_or_malformed_field_is_400_and_names_its_place(
    platform: Platform, recorder: Recorder, body: object, fault: str
) -> None:
    response = platform.put(INSTANCE, body)
    assert response.status_code == 400
    assert error_of(response)["description"] == fault
    assert not recorder.requests


def test_r_prov_6_names_are_no_ids(platform: Platform) -> None:
    assert platform.put(INSTANCE, {**PROVISION, "plan_id": "small"}).status_code == 400
    assert platform.put(INSTANCE, {**PROVISION, "service_id": "db"}).status_code == 400


def test_r_prov_6_a_plan_of_another_offering_is_400(recorder: Recorder) -> None:
    other = make_offering(
        id="cache-id",
        name="cache",
        plans=[ServicePlan(id="tiny-id", name="tiny", description="A tiny one")],
    )
    platform = Platform(make_app(make_broker(recorder, make_offering(), other)))
    response = platform.put(INSTANCE, {**PROVISION, "plan_id": "tiny-id"})
    assert response.status_code == 400
    assert error_of(response)["description"] == "plan_id: the plan 'tiny-id' is not one of the offering 'db'"
    assert not recorder.requests
    assert (
        platform.put(INSTANCE, {**PROVISION, "service_id": "cache-id", "plan_id": "tiny-id"}).status_code
        == 201
    )


def test_r_prov_6_an_id_that_is_told_back_is_cut_short(platform: Platform) -> None:
    response = platform.put(INSTANCE, {**PROVISION, "plan_id": "x" * 100_000})
    assert response.status_code == 400
    assert len(response.data) < 500


@pytest.mark.parametrize(
    ("parameters", "places"),
    [
        ({"size": "big"}, ["parameters.size"]),
        ({"size": 10}, ["parameters.size"]),
        ({"password": "hunter2"}, ["parameters.password"]),
        ({"size": 10**30, "password": "hunter2"}, ["parameters.size", "parameters.password"]),
    ],
)
def test_r_prov_6_parameters_that_the_schema_refuses_are_400_with_their_place_never_their_value(
    parameters: dict[str, Any], places: list[str], platform: Platform, recorder: Recorder
) -> None:
    response = platform.put(INSTANCE, {**PROVISION, "parameters": parameters})
    assert response.status_code == 400
    error = error_of(response)
    assert error["error"] == "InvalidParameters"
    for place in places:
        assert f"{place}: " in error["description"]
    assert "hunter2" not in response.text
    assert not recorder.requests


@pytest.mark.parametrize("parameters", [{"size": 9, "other": [None]}, {}, None])
def test_r_prov_6_parameters_that_the_schema_allows_reach_the_handler(
    parameters: dict[str, Any] | None, platform: Platform, recorder: Recorder
) -> None:
    assert platform.put(INSTANCE, {**PROVISION, "parameters": parameters}).status_code == 201
    assert recorder.request.parameters == (parameters or {})


def test_r_prov_6_a_plan_without_a_schema_takes_any_parameters(
    platform: Platform, recorder: Recorder
) -> None:
    body = {**PROVISION, "plan_id": "large-id", "parameters": {"size": "big"}}
    assert platform.put(INSTANCE, body).status_code == 201
    assert recorder.request.parameters == {"size": "big"}


def test_r_prov_7_async_required_is_422(platform: Platform, recorder: Recorder) -> None:
    def provision(request: Any) -> object:
        return Accepted(operation="job") if request.accepts_incomplete else AsyncRequired()

    recorder.answers["provision"] = provision
    response = platform.put(INSTANCE, PROVISION)
    assert response.status_code == 422
    assert error_of(response)["error"] == "AsyncRequired"
    assert platform.put(INSTANCE, PROVISION, query=POLLS).status_code == 202


@pytest.mark.parametrize(
    ("plan_id", "info", "status"),
    [
        ("small-id", {"version": "1.0.0"}, 201),
        ("small-id", {"version": "1.0.0", "description": "whatever"}, 201),
        ("small-id", None, 201),
        ("small-id", {"version": "1.0.1"}, 422),
        ("small-id", {"version": "1.0.0+build"}, 422),
        ("large-id", {"version": "1.0.0"}, 422),
        ("large-id", None, 201),
    ],
)
def test_r_prov_8_a_version_that_is_not_the_catalogs_is_422(
    plan_id: str,
    info: dict[str, Any] | None,
    status: int,
    platform: Platform,
    recorder: Recorder,
) -> None:
    body = {**PROVISION, "plan_id": plan_id, "maintenance_info": info}
    response = platform.put(INSTANCE, body)
    assert response.status_code == status
    if status == 422:
        assert error_of(response)["error"] == "MaintenanceInfoConflict"
        assert not recorder.requests
    else:
        assert recorder.request.maintenance_info == (info and MaintenanceInfo(info["version"]))


def test_r_prov_8_a_handler_may_refuse_a_version_too(platform: Platform, recorder: Recorder) -> None:
    recorder.answers["provision"] = MaintenanceInfoConflict()
    response = platform.put(INSTANCE, PROVISION)
    assert response.status_code == 422
    assert error_of(response)["error"] == "MaintenanceInfoConflict"


@pytest.mark.parametrize(
    ("told", "organization", "space"),
    [
        (ORGANIZATION, "o1", "s1"),
        ({**ORGANIZATION, "context": CONTEXT}, "o1", "s1"),
        ({"context": CONTEXT}, "o from the context", "s from the context"),
        ({"organization_guid": "o1", "context": CONTEXT}, "o1", "s from the context"),
        ({"organization_guid": "", "context": CONTEXT}, "o from the context", "s from the context"),
    ],
)
def test_r_prov_organization_and_space_are_the_bodys_else_the_contexts(
    told: dict[str, Any], organization: str, space: str, platform: Platform, recorder: Recorder
) -> None:
    assert platform.put(INSTANCE, {**IDS, **told}).status_code == 201
    assert recorder.request.organization_guid == organization
    assert recorder.request.space_guid == space
    assert recorder.request.context == told.get("context", {})


@pytest.mark.parametrize(
    ("told", "missing"),
    [
        ({}, "organization_guid"),
        ({"organization_guid": "o1"}, "space_guid"),
        ({"space_guid": "s1"}, "organization_guid"),
        ({**ORGANIZATION, "space_guid": ""}, "space_guid"),
        ({"context": {"platform": "kubernetes", "namespace": "shop"}}, "organization_guid"),
    ],
)
def test_r_prov_6_neither_body_nor_context_with_organization_and_space_is_400(
    told: dict[str, Any], missing: str, platform: Platform, recorder: Recorder
) -> None:
    response = platform.put(INSTANCE, {**IDS, **told})
    assert response.status_code == 400
    assert error_of(response)["description"].startswith(f"{missing}: is required")
    assert not recorder.requests


@pytest.mark.parametrize(
    ("told", "organization", "space"),
    [
        ({}, None, None),
        ({"context": {"platform": "kubernetes", "namespace": "shop"}}, None, None),
        ({"context": CONTEXT}, "o from the context", "s from the context"),
        (ORGANIZATION, "o1", "s1"),
    ],
)
def test_r_prov_require_organization_false_is_for_platforms_that_have_none(
    told: dict[str, Any], organization: str | None, space: str | None, recorder: Recorder
) -> None:
    platform = Platform(make_app(make_broker(recorder, require_organization=False)))
    assert platform.put(INSTANCE, {**IDS, **told}).status_code == 201
    assert recorder.request.organization_guid == organization
    assert recorder.request.space_guid == space


def test_r_prov_the_handler_gets_the_catalogs_own_offering_and_plan(
    platform: Platform, recorder: Recorder
) -> None:
    body = {**PROVISION, "context": {"platform": "cloudfoundry", "instance_name": "orders"}}
    platform.put(INSTANCE, body)
    request = recorder.request
    assert request.instance_id == "i1"
    assert (request.offering.name, request.plan.name) == ("db", "small")
    assert request.plan in request.offering.plans
    assert request.plan.bindable is True  # in effect, from the offering
    assert request.context == body["context"]
    assert request.body == body
