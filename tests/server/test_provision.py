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


@pytest.mark.rule("R-PROV-1", "R-PROV-2")
def test_provision_synchronous_is_201(platform: Platform, recorder: Recorder) -> None:
    """The response contains the dashboard URL and the metadata."""
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


@pytest.mark.rule("R-PROV-1")
@pytest.mark.parametrize("answer", [None, Provisioned()])
def test_provision_without_result_fields_returns_empty_object(
    answer: object, platform: Platform, recorder: Recorder
) -> None:
    """None and an empty Provisioned are both encoded as 201 with an empty object."""
    recorder.answers["provision"] = answer
    response = platform.put(INSTANCE, PROVISION)
    assert (response.status_code, response.json) == (201, {})


@pytest.mark.rule("R-PROV-1")
def test_provision_in_progress_is_202_with_operation(platform: Platform, recorder: Recorder) -> None:
    recorder.answers["provision"] = Accepted(operation="job 7")
    response = platform.put(INSTANCE, PROVISION, query=POLLS)
    assert response.status_code == 202
    assert response.json == {"operation": "job 7"}


@pytest.mark.rule("R-PROV-1")
@pytest.mark.parametrize("operation", ["1", "é" * 10_000])
def test_provision_operation_allows_10_000_characters(
    operation: str, platform: Platform, recorder: Recorder
) -> None:
    recorder.answers["provision"] = Accepted(operation=operation)
    response = platform.put(INSTANCE, PROVISION, query=POLLS)
    assert (response.status_code, response.json) == (202, {"operation": operation})


@pytest.mark.rule("R-PROV-1", "R-DEL-4")
def test_provision_202_has_default_operation(platform: Platform, recorder: Recorder) -> None:
    """Without an operation from the handler, the response contains the default 'provision'."""
    recorder.answers["provision"] = Accepted()
    response = platform.put(INSTANCE, PROVISION, query=POLLS)
    assert (response.status_code, response.json) == (202, {"operation": "provision"})


@pytest.mark.rule("R-PROV-1", "R-PROV-2")
def test_provision_202_contains_dashboard_url(platform: Platform, recorder: Recorder) -> None:
    """The 202 response also contains the dashboard URL and the metadata."""
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


@pytest.mark.rule("R-PROV-3")
def test_provision_of_identical_existing_instance_is_200(platform: Platform, recorder: Recorder) -> None:
    recorder.answers["provision"] = Provisioned(dashboard_url="https://d", exists=True)
    response = platform.put(INSTANCE, PROVISION)
    assert (response.status_code, response.json) == (200, {"dashboard_url": "https://d"})


@pytest.mark.rule("R-PROV-4")
def test_repeated_provision_calls_handler_again(platform: Platform, recorder: Recorder) -> None:
    """A repeated request in progress reaches the handler and gets the same 202 and operation."""
    recorder.answers["provision"] = Accepted(operation="job 7")
    first, second = (platform.put(INSTANCE, PROVISION, query=POLLS) for _ in range(2))
    assert first.status_code == second.status_code == 202
    assert first.json == second.json == {"operation": "job 7"}
    assert recorder.requests[0] == recorder.requests[1]


@pytest.mark.rule("R-PROV-5")
def test_provision_of_different_existing_instance_is_409(platform: Platform, recorder: Recorder) -> None:
    recorder.answers["provision"] = InstanceAlreadyExists()
    response = platform.put(INSTANCE, PROVISION)
    assert response.status_code == 409
    assert error_of(response)["error"] == "InstanceAlreadyExists"


@pytest.mark.rule("R-PROV-6", "R-REQ-6")
@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({**PROVISION, "service_id": None}, "service_id: expected a string, got null"),
        (
            {**PROVISION, "plan_id": "nope"},
            "plan_id: The catalog has no service plan 'nope'.",
        ),
        (
            {**PROVISION, "service_id": "nope"},
            "service_id: The catalog has no service offering 'nope'.",
        ),
        ({**PROVISION, "plan_id": ""}, "plan_id: The catalog has no service plan ''."),
        ({**PROVISION, "parameters": []}, "parameters: expected an object, got an array"),
        ({"plan_id": "small-id", **ORGANIZATION}, "service_id: is required"),
        ({"service_id": "db-id", **ORGANIZATION}, "plan_id: is required"),
    ],
)
def test_provision_with_invalid_field_is_400(
    platform: Platform, recorder: Recorder, body: object, fault: str
) -> None:
    """The description names the missing or malformed field; the handler is not called."""
    response = platform.put(INSTANCE, body)
    assert response.status_code == 400
    assert error_of(response)["description"] == fault
    assert not recorder.requests


@pytest.mark.rule("R-PROV-6")
def test_provision_refuses_names_in_place_of_ids(platform: Platform) -> None:
    """The name of an offering or plan is not accepted as its id."""
    assert platform.put(INSTANCE, {**PROVISION, "plan_id": "small"}).status_code == 400
    assert platform.put(INSTANCE, {**PROVISION, "service_id": "db"}).status_code == 400


@pytest.mark.rule("R-PROV-6")
def test_provision_plan_of_other_offering_is_400(recorder: Recorder) -> None:
    other = make_offering(
        id="cache-id",
        name="cache",
        plans=[ServicePlan(id="tiny-id", name="tiny", description="A tiny one")],
    )
    platform = Platform(make_app(make_broker(recorder, make_offering(), other)))
    response = platform.put(INSTANCE, {**PROVISION, "plan_id": "tiny-id"})
    assert response.status_code == 400
    description = "plan_id: The service offering 'db' has no service plan 'tiny-id'."
    assert error_of(response)["description"] == description
    assert not recorder.requests
    assert (
        platform.put(INSTANCE, {**PROVISION, "service_id": "cache-id", "plan_id": "tiny-id"}).status_code
        == 201
    )


@pytest.mark.rule("R-PROV-6")
def test_provision_error_truncates_long_id(platform: Platform) -> None:
    """An unknown id is shortened in the description."""
    response = platform.put(INSTANCE, {**PROVISION, "plan_id": "x" * 100_000})
    assert response.status_code == 400
    assert len(response.data) < 500


@pytest.mark.rule("R-PROV-6", "R-CAT-4")
@pytest.mark.parametrize(
    ("parameters", "places"),
    [
        ({"size": "big"}, ["parameters.size"]),
        ({"size": 10}, ["parameters.size"]),
        ({"password": "hunter2"}, ["parameters.password"]),
        ({"size": 10**30, "password": "hunter2"}, ["parameters.size", "parameters.password"]),
    ],
)
def test_provision_with_parameters_violating_schema_is_400(
    parameters: dict[str, Any], places: list[str], platform: Platform, recorder: Recorder
) -> None:
    """The description names the location of each violation but contains no value."""
    response = platform.put(INSTANCE, {**PROVISION, "parameters": parameters})
    assert response.status_code == 400
    error = error_of(response)
    assert error["error"] == "InvalidParameters"
    for place in places:
        assert f"{place}: " in error["description"]
    assert "hunter2" not in response.text
    assert not recorder.requests


@pytest.mark.rule("R-PROV-6", "R-REQ-10")
@pytest.mark.parametrize("parameters", [{"size": 9, "other": [None]}, {}, None])
def test_provision_passes_valid_parameters_to_handler(
    parameters: dict[str, Any] | None, platform: Platform, recorder: Recorder
) -> None:
    assert platform.put(INSTANCE, {**PROVISION, "parameters": parameters}).status_code == 201
    assert recorder.request.parameters == (parameters or {})


@pytest.mark.rule("R-PROV-6")
def test_provision_without_schema_accepts_any_parameters(platform: Platform, recorder: Recorder) -> None:
    body = {**PROVISION, "plan_id": "large-id", "parameters": {"size": "big"}}
    assert platform.put(INSTANCE, body).status_code == 201
    assert recorder.request.parameters == {"size": "big"}


@pytest.mark.rule("R-PROV-7", "R-ERR-3")
def test_provision_async_required_is_422(platform: Platform, recorder: Recorder) -> None:
    """The handler refuses a platform without polling support and accepts one with it."""

    def provision(request: Any) -> object:
        return Accepted(operation="job") if request.accepts_incomplete else AsyncRequired()

    recorder.answers["provision"] = provision
    response = platform.put(INSTANCE, PROVISION)
    assert response.status_code == 422
    assert error_of(response)["error"] == "AsyncRequired"
    assert platform.put(INSTANCE, PROVISION, query=POLLS).status_code == 202


@pytest.mark.rule("R-PROV-8", "R-ERR-3")
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
def test_provision_with_other_maintenance_version_is_422(
    plan_id: str,
    info: dict[str, Any] | None,
    status: int,
    platform: Platform,
    recorder: Recorder,
) -> None:
    """A version that differs from the catalog's gets MaintenanceInfoConflict, also if the plan has none."""
    body = {**PROVISION, "plan_id": plan_id, "maintenance_info": info}
    response = platform.put(INSTANCE, body)
    assert response.status_code == status
    if status == 422:
        assert error_of(response)["error"] == "MaintenanceInfoConflict"
        assert not recorder.requests
    else:
        assert recorder.request.maintenance_info == (info and MaintenanceInfo(info["version"]))


@pytest.mark.rule("R-PROV-8")
def test_provision_handler_may_raise_maintenance_info_conflict(
    platform: Platform, recorder: Recorder
) -> None:
    recorder.answers["provision"] = MaintenanceInfoConflict()
    response = platform.put(INSTANCE, PROVISION)
    assert response.status_code == 422
    assert error_of(response)["error"] == "MaintenanceInfoConflict"


@pytest.mark.parametrize(
    ("body", "organization", "space"),
    [
        (ORGANIZATION, "o1", "s1"),
        ({**ORGANIZATION, "context": CONTEXT}, "o1", "s1"),
        ({"context": CONTEXT}, "o from the context", "s from the context"),
        ({"organization_guid": "o1", "context": CONTEXT}, "o1", "s from the context"),
        ({"organization_guid": "", "context": CONTEXT}, "o from the context", "s from the context"),
    ],
)
def test_provision_organization_falls_back_to_context(
    body: dict[str, Any], organization: str, space: str, platform: Platform, recorder: Recorder
) -> None:
    """Organization and space are read from the body, and from the context if the body has none."""
    assert platform.put(INSTANCE, {**IDS, **body}).status_code == 201
    assert recorder.request.organization_guid == organization
    assert recorder.request.space_guid == space
    assert recorder.request.context == body.get("context", {})


@pytest.mark.rule("R-PROV-6")
@pytest.mark.parametrize(
    ("body", "missing"),
    [
        ({}, "organization_guid"),
        ({"organization_guid": "o1"}, "space_guid"),
        ({"space_guid": "s1"}, "organization_guid"),
        ({**ORGANIZATION, "space_guid": ""}, "space_guid"),
        ({"context": {"platform": "kubernetes", "namespace": "shop"}}, "organization_guid"),
    ],
)
def test_provision_without_organization_or_space_is_400(
    body: dict[str, Any], missing: str, platform: Platform, recorder: Recorder
) -> None:
    response = platform.put(INSTANCE, {**IDS, **body})
    assert response.status_code == 400
    assert error_of(response)["description"].startswith(f"{missing}: is required")
    assert not recorder.requests


@pytest.mark.parametrize(
    ("body", "organization", "space"),
    [
        ({}, None, None),
        ({"context": {"platform": "kubernetes", "namespace": "shop"}}, None, None),
        ({"context": CONTEXT}, "o from the context", "s from the context"),
        (ORGANIZATION, "o1", "s1"),
    ],
)
def test_require_organization_false_makes_organization_optional(
    body: dict[str, Any], organization: str | None, space: str | None, recorder: Recorder
) -> None:
    """Platforms such as Kubernetes send neither an organization nor a space."""
    platform = Platform(make_app(make_broker(recorder, require_organization=False)))
    assert platform.put(INSTANCE, {**IDS, **body}).status_code == 201
    assert recorder.request.organization_guid == organization
    assert recorder.request.space_guid == space


@pytest.mark.rule("R-CAT-7")
def test_provision_handler_receives_catalog_offering_and_plan(platform: Platform, recorder: Recorder) -> None:
    """The request holds the catalog's own objects with their effective values."""
    body = {**PROVISION, "context": {"platform": "cloudfoundry", "instance_name": "orders"}}
    platform.put(INSTANCE, body)
    request = recorder.request
    assert request.instance_id == "i1"
    assert (request.offering.name, request.plan.name) == ("db", "small")
    assert request.plan in request.offering.plans
    assert request.plan.bindable is True  # in effect, from the offering
    assert request.context == body["context"]
    assert request.body == body
