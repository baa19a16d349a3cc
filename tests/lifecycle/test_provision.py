"""What a broker that remembers answers to a PUT of a service instance (R-PROV)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from brokerkit import Accepted, InstanceMetadata, MaintenanceInfo, Provisioned

from ..support.broker import DELETE_QUERY, INSTANCE, PROVISION, Recorder, error_of, make_offering
from ..support.stateful import CAN_POLL, DELETE_AND_POLL, Gate, Platform, Serve, poll_until_done

WITH_ALL = {
    **PROVISION,
    "parameters": {"size": 3},
    "context": {"platform": "cloudfoundry", "organization_guid": "o1", "space_guid": "s1"},
}

OTHERS: list[dict[str, Any]] = [
    {"plan_id": "large-id"},
    {"parameters": {"size": 4}},
    {"parameters": {}},
    {"organization_guid": "o2", "context": {}},
    {"space_guid": "s2", "context": {}},
]


def test_a_new_instance_is_made_by_the_handler(platform: Platform, recorder: Recorder) -> None:
    """R-PROV-1."""
    recorder.answers["provision"] = Provisioned(dashboard_url="https://db.example.org/i1")
    response = platform.put(INSTANCE, WITH_ALL)
    assert (response.status_code, response.json) == (201, {"dashboard_url": "https://db.example.org/i1"})
    assert recorder.request.instance is None
    assert recorder.request.attempt == 1


def test_the_same_again_is_200_without_asking(platform: Platform, recorder: Recorder) -> None:
    """R-PROV-3: with the dashboard and metadata that were told first."""
    metadata = InstanceMetadata(labels={"region": "eu"})
    recorder.answers["provision"] = Provisioned(dashboard_url="https://db.example.org", metadata=metadata)
    first = platform.put(INSTANCE, WITH_ALL)
    again = platform.put(INSTANCE, WITH_ALL)
    assert (again.status_code, again.json) == (200, first.json)
    assert len(recorder.requests) == 1


@pytest.mark.parametrize(
    "same",
    [
        {"parameters": {"size": 3}},
        {"context": {"platform": "cloudfoundry", "instance_name": "renamed"}},
        {"maintenance_info": {"version": "1.0.0"}},
        {"vendor_field": True},
    ],
    ids=str,
)
def test_what_says_nothing_of_the_instance_does_not_make_it_another(
    platform: Platform, recorder: Recorder, same: dict[str, Any]
) -> None:
    """R-PROV-3, R-REQ-7: service, plan, parameters, organization and space decide."""
    platform.put(INSTANCE, WITH_ALL)
    assert platform.put(INSTANCE, {**WITH_ALL, **same}).status_code == 200


def test_the_order_of_parameters_says_nothing(platform: Platform) -> None:
    """R-PROV-3."""
    body = {**PROVISION, "parameters": {"a": {"x": 1, "y": [1, 2]}, "b": 2}}
    platform.put(INSTANCE, body)
    again = {**PROVISION, "parameters": {"b": 2, "a": {"y": [1, 2], "x": 1}}}
    assert platform.put(INSTANCE, again).status_code == 200
    for other in ({"a": {"x": True, "y": [1, 2]}, "b": 2}, {"a": {"x": 1, "y": [2, 1]}, "b": 2}):
        assert platform.put(INSTANCE, {**PROVISION, "parameters": other}).status_code == 409


def test_no_parameters_and_empty_ones_are_the_same(platform: Platform) -> None:
    """R-REQ-10."""
    assert platform.put(INSTANCE, PROVISION).status_code == 201
    absent: list[dict[str, Any] | None] = [{}, None]
    for parameters in absent:
        assert platform.put(INSTANCE, {**PROVISION, "parameters": parameters}).status_code == 200


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_the_same_id_for_another_instance_is_409(
    platform: Platform, recorder: Recorder, other: dict[str, Any]
) -> None:
    """R-PROV-5."""
    platform.put(INSTANCE, WITH_ALL)
    response = platform.put(INSTANCE, {**WITH_ALL, **other})
    assert response.status_code == 409
    assert error_of(response)["error"] == "InstanceAlreadyExists"
    assert len(recorder.requests) == 1
    assert platform.put(INSTANCE, WITH_ALL).status_code == 200


@pytest.mark.parametrize("way", ["accepted", "background"])
def test_the_same_while_in_progress_is_the_same_operation(serve: Serve, recorder: Recorder, way: str) -> None:
    """R-PROV-4; R-PROV-5 for another."""
    gate = Gate()
    recorder.answers["provision"] = (
        Accepted(operation="job 7", dashboard_url="https://db.example.org") if way == "accepted" else gate
    )
    platform = serve(recorder, background=["provision"] if way == "background" else [])
    first = platform.put(INSTANCE, WITH_ALL, query=CAN_POLL)
    again = platform.put(INSTANCE, WITH_ALL, query=CAN_POLL)
    assert first.status_code == again.status_code == 202
    assert first.json == again.json
    assert ("dashboard_url" in first.json) is (way == "accepted")
    assert platform.put(INSTANCE, {**WITH_ALL, **OTHERS[1]}, query=CAN_POLL).status_code == 409
    gate.open()
    assert poll_until_done(platform, INSTANCE, first.json["operation"]) == {"state": "succeeded"}
    assert sum(request.__class__.__name__ == "ProvisionRequest" for request in recorder.requests) == 1
    assert platform.put(INSTANCE, WITH_ALL, query=CAN_POLL).status_code == 200


def test_the_same_while_in_progress_from_a_platform_that_cannot_poll(
    platform: Platform, recorder: Recorder
) -> None:
    """R-PROV-4 has no answer that such a platform understands: 422."""
    recorder.answers["provision"] = Accepted()
    platform.put(INSTANCE, WITH_ALL, query=CAN_POLL)
    response = platform.put(INSTANCE, WITH_ALL)
    assert response.status_code == 422
    assert error_of(response)["error"] == "ConcurrencyError"


@pytest.mark.parametrize("busy", ["update", "deprovision"])
def test_the_same_while_it_is_changed(platform: Platform, recorder: Recorder, busy: str) -> None:
    """R-PROV-3 is about what is fully provisioned; what is another one is R-PROV-5 all the time."""
    platform.put(INSTANCE, WITH_ALL)
    recorder.answers[busy] = Accepted()
    if busy == "update":
        body = {"service_id": "db-id", "parameters": {"size": 4}}
        assert platform.patch(INSTANCE, body, query=CAN_POLL).status_code == 202
    else:
        assert platform.delete(INSTANCE, query=DELETE_AND_POLL).status_code == 202
    for query in ("", CAN_POLL):
        response = platform.put(INSTANCE, WITH_ALL, query=query)
        assert (response.status_code, error_of(response)["error"]) == (422, "ConcurrencyError")
        assert platform.put(INSTANCE, {**WITH_ALL, **OTHERS[0]}, query=query).status_code == 409


def test_async_required_of_a_background_plan(serve: Serve, recorder: Recorder) -> None:
    """R-PROV-7: and nothing is remembered."""
    platform = serve(recorder, background=["provision"])
    response = platform.put(INSTANCE, PROVISION)
    assert response.status_code == 422
    assert error_of(response)["error"] == "AsyncRequired"
    assert not recorder.requests
    assert platform.delete(INSTANCE, query=DELETE_QUERY).status_code == 410


def test_a_background_plan_may_need_no_polls_for_its_other_operations(
    serve: Serve, recorder: Recorder
) -> None:
    """R-PROV-7 is about the handler that is asked."""
    platform = serve(recorder, background=["provision"])
    operation = platform.put(INSTANCE, PROVISION, query=CAN_POLL).json["operation"]
    poll_until_done(platform, INSTANCE, operation)
    assert platform.delete(INSTANCE, query=DELETE_QUERY).status_code == 200


@pytest.mark.parametrize("plan", ["small-id", "large-id"])
def test_a_version_that_is_not_the_plans_is_a_conflict(
    platform: Platform, recorder: Recorder, plan: str
) -> None:
    """R-PROV-8: nothing is remembered, so the right one is made."""
    body = {**PROVISION, "plan_id": plan}
    response = platform.put(INSTANCE, {**body, "maintenance_info": {"version": "0.9.0"}})
    assert response.status_code == 422
    assert error_of(response)["error"] == "MaintenanceInfoConflict"
    assert not recorder.requests
    assert platform.put(INSTANCE, body).status_code == 201


def test_a_repeat_is_200_though_the_plans_version_moved_on(serve: Serve, recorder: Recorder) -> None:
    """R-PROV-3 goes before R-PROV-8: it is there, as asked."""
    body = {**PROVISION, "maintenance_info": {"version": "1.0.0"}}
    assert serve(recorder).put(INSTANCE, body).status_code == 201
    serve.stop()
    offering = make_offering()
    plans = [
        msgspec.structs.replace(plan, maintenance_info=MaintenanceInfo("2.0.0")) for plan in offering.plans
    ]
    platform = serve(recorder, make_offering(plans=plans))
    assert platform.put(INSTANCE, body).status_code == 200


def test_what_is_deleted_can_be_made_anew(platform: Platform, recorder: Recorder) -> None:
    """R-PROV-1: also as another instance, which inherits nothing."""
    recorder.answers["provision"] = Provisioned(dashboard_url="https://one.example.org", data={"n": 1})
    platform.put(INSTANCE, WITH_ALL)
    platform.delete(INSTANCE, query=DELETE_QUERY)
    recorder.answers["provision"] = Provisioned()
    response = platform.put(INSTANCE, {**PROVISION, "plan_id": "large-id"})
    assert (response.status_code, response.json) == (201, {})
    assert platform.get(INSTANCE).json == {"service_id": "db-id", "plan_id": "large-id"}
    platform.delete(INSTANCE, query=DELETE_QUERY)
    assert recorder.requests[-1].instance.data == {}


def test_what_the_handler_found_there_is_200(platform: Platform, recorder: Recorder) -> None:
    """R-PROV-3: `Provisioned(exists=True)` of an instance that only the handler knew is remembered."""
    recorder.answers["provision"] = Provisioned(exists=True, data={"found": True})
    assert platform.put(INSTANCE, PROVISION).status_code == 200
    assert platform.put(INSTANCE, PROVISION).status_code == 200
    assert platform.get(INSTANCE).status_code == 200
    assert len(recorder.requests) == 1


def test_it_is_remembered_by_the_next_process(serve: Serve, recorder: Recorder) -> None:
    """R-PROV-3, R-PROV-5: the store is the truth."""
    assert serve(recorder).put(INSTANCE, WITH_ALL).status_code == 201
    serve.stop()
    platform = serve(recorder)
    assert platform.put(INSTANCE, WITH_ALL).status_code == 200
    assert platform.put(INSTANCE, {**WITH_ALL, **OTHERS[0]}).status_code == 409
    assert len(recorder.requests) == 1


def test_what_cannot_be_is_400_and_forgotten(platform: Platform, recorder: Recorder) -> None:
    """R-PROV-6."""
    for body in (
        {**PROVISION, "parameters": {"size": 10}},
        {**PROVISION, "plan_id": "no-such"},
        {**PROVISION, "service_id": "no-such"},
    ):
        assert platform.put(INSTANCE, body).status_code == 400
    assert not recorder.requests
    assert platform.put(INSTANCE, PROVISION).status_code == 201
