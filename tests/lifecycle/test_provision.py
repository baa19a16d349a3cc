"""PUT of a service instance in a broker with a store (R-PROV)."""

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


@pytest.mark.rule("R-PROV-1", "R-PROV-2")
def test_provision_of_new_instance_calls_handler(platform: Platform, recorder: Recorder) -> None:
    """A new instance is created by the handler on its first attempt, and the response is 201 with the
    dashboard URL.
    """
    recorder.answers["provision"] = Provisioned(dashboard_url="https://db.example.org/i1")
    response = platform.put(INSTANCE, WITH_ALL)
    assert (response.status_code, response.json) == (201, {"dashboard_url": "https://db.example.org/i1"})
    assert recorder.request.instance is None
    assert recorder.request.attempt == 1


@pytest.mark.rule("R-PROV-3")
def test_identical_provision_is_200_without_handler(platform: Platform, recorder: Recorder) -> None:
    """An identical PUT returns the stored dashboard URL and metadata and does not call the handler."""
    metadata = InstanceMetadata(labels={"region": "eu"})
    recorder.answers["provision"] = Provisioned(dashboard_url="https://db.example.org", metadata=metadata)
    first = platform.put(INSTANCE, WITH_ALL)
    again = platform.put(INSTANCE, WITH_ALL)
    assert (again.status_code, again.json) == (200, first.json)
    assert len(recorder.requests) == 1


@pytest.mark.rule("R-PROV-3", "R-REQ-7")
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
def test_provision_ignores_fields_outside_identity(
    platform: Platform, recorder: Recorder, same: dict[str, Any]
) -> None:
    """Only service, plan, parameters, organization and space decide whether two requests are identical.

    Unknown fields and other context values are ignored.
    """
    platform.put(INSTANCE, WITH_ALL)
    assert platform.put(INSTANCE, {**WITH_ALL, **same}).status_code == 200


@pytest.mark.rule("R-PROV-3", "R-PROV-5")
def test_provision_compares_parameters_regardless_of_key_order(platform: Platform) -> None:
    """The order of object keys is not significant. List order and JSON types are."""
    body = {**PROVISION, "parameters": {"a": {"x": 1, "y": [1, 2]}, "b": 2}}
    platform.put(INSTANCE, body)
    again = {**PROVISION, "parameters": {"b": 2, "a": {"y": [1, 2], "x": 1}}}
    assert platform.put(INSTANCE, again).status_code == 200
    for other in ({"a": {"x": True, "y": [1, 2]}, "b": 2}, {"a": {"x": 1, "y": [2, 1]}, "b": 2}):
        assert platform.put(INSTANCE, {**PROVISION, "parameters": other}).status_code == 409


@pytest.mark.rule("R-REQ-10", "R-PROV-3")
def test_provision_treats_empty_parameters_as_absent(platform: Platform) -> None:
    """Absent, null and empty parameters are identical."""
    assert platform.put(INSTANCE, PROVISION).status_code == 201
    absent: list[dict[str, Any] | None] = [{}, None]
    for parameters in absent:
        assert platform.put(INSTANCE, {**PROVISION, "parameters": parameters}).status_code == 200


@pytest.mark.rule("R-PROV-5")
@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_provision_with_other_attributes_is_409(
    platform: Platform, recorder: Recorder, other: dict[str, Any]
) -> None:
    """The handler is not called, and the stored instance is unchanged."""
    platform.put(INSTANCE, WITH_ALL)
    response = platform.put(INSTANCE, {**WITH_ALL, **other})
    assert response.status_code == 409
    assert error_of(response)["error"] == "InstanceAlreadyExists"
    assert len(recorder.requests) == 1
    assert platform.put(INSTANCE, WITH_ALL).status_code == 200


@pytest.mark.rule("R-PROV-4", "R-PROV-5", "R-PROV-2")
@pytest.mark.parametrize("way", ["accepted", "background"])
def test_provision_in_progress_returns_same_operation(serve: Serve, recorder: Recorder, way: str) -> None:
    """A repeated PUT returns 202 with the same body while the operation runs.

    A PUT with other attributes is 409.
    """
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


@pytest.mark.rule("R-PROV-4", "R-REQ-9")
def test_provision_in_progress_without_polling_is_422(platform: Platform, recorder: Recorder) -> None:
    """A repeated PUT without `accepts_incomplete` is refused with ConcurrencyError while the operation runs.
    A repeated PUT without `accepts_incomplete` is refused with ConcurrencyError while the operation runs.
    """
    recorder.answers["provision"] = Accepted()
    platform.put(INSTANCE, WITH_ALL, query=CAN_POLL)
    response = platform.put(INSTANCE, WITH_ALL)
    assert response.status_code == 422
    assert error_of(response)["error"] == "ConcurrencyError"


@pytest.mark.rule("R-PROV-3", "R-PROV-5")
@pytest.mark.parametrize("busy", ["update", "deprovision"])
def test_provision_during_change_is_422(platform: Platform, recorder: Recorder, busy: str) -> None:
    """An identical PUT during an update or deprovision is 422 ConcurrencyError.

    A PUT with other attributes is still 409.
    """
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


@pytest.mark.rule("R-PROV-7", "R-REQ-8")
def test_background_provision_without_polling_is_async_required(serve: Serve, recorder: Recorder) -> None:
    """The request is refused before the handler runs, and no instance is stored."""
    platform = serve(recorder, background=["provision"])
    response = platform.put(INSTANCE, PROVISION)
    assert response.status_code == 422
    assert error_of(response)["error"] == "AsyncRequired"
    assert not recorder.requests
    assert platform.delete(INSTANCE, query=DELETE_QUERY).status_code == 410


@pytest.mark.rule("R-PROV-7", "R-DEL-1")
def test_background_provision_allows_synchronous_deprovision(serve: Serve, recorder: Recorder) -> None:
    """AsyncRequired depends on the handler of the requested operation, not on the plan."""
    platform = serve(recorder, background=["provision"])
    operation = platform.put(INSTANCE, PROVISION, query=CAN_POLL).json["operation"]
    poll_until_done(platform, INSTANCE, operation)
    assert platform.delete(INSTANCE, query=DELETE_QUERY).status_code == 200


@pytest.mark.rule("R-PROV-8", "R-REQ-8")
@pytest.mark.parametrize("plan", ["small-id", "large-id"])
def test_provision_with_other_maintenance_version_is_422(
    platform: Platform, recorder: Recorder, plan: str
) -> None:
    """MaintenanceInfoConflict stores no instance, so a corrected request is 201."""
    body = {**PROVISION, "plan_id": plan}
    response = platform.put(INSTANCE, {**body, "maintenance_info": {"version": "0.9.0"}})
    assert response.status_code == 422
    assert error_of(response)["error"] == "MaintenanceInfoConflict"
    assert not recorder.requests
    assert platform.put(INSTANCE, body).status_code == 201


@pytest.mark.rule("R-PROV-3", "R-PROV-8")
def test_identical_provision_is_200_after_version_bump(serve: Serve, recorder: Recorder) -> None:
    """The comparison with the stored instance comes before the check of the maintenance version."""
    body = {**PROVISION, "maintenance_info": {"version": "1.0.0"}}
    assert serve(recorder).put(INSTANCE, body).status_code == 201
    serve.stop()
    offering = make_offering()
    plans = [
        msgspec.structs.replace(plan, maintenance_info=MaintenanceInfo("2.0.0")) for plan in offering.plans
    ]
    platform = serve(recorder, make_offering(plans=plans))
    assert platform.put(INSTANCE, body).status_code == 200


@pytest.mark.rule("R-PROV-1")
def test_provision_after_deprovision_creates_new_instance(platform: Platform, recorder: Recorder) -> None:
    """The id of a deleted instance can be reused with other attributes.

    The new instance inherits no stored values.
    """
    recorder.answers["provision"] = Provisioned(dashboard_url="https://one.example.org", data={"n": 1})
    platform.put(INSTANCE, WITH_ALL)
    platform.delete(INSTANCE, query=DELETE_QUERY)
    recorder.answers["provision"] = Provisioned()
    response = platform.put(INSTANCE, {**PROVISION, "plan_id": "large-id"})
    assert (response.status_code, response.json) == (201, {})
    assert platform.get(INSTANCE).json == {"service_id": "db-id", "plan_id": "large-id"}
    platform.delete(INSTANCE, query=DELETE_QUERY)
    assert recorder.requests[-1].instance.data == {}


@pytest.mark.rule("R-PROV-3")
def test_provision_with_exists_result_is_200(platform: Platform, recorder: Recorder) -> None:
    """`Provisioned(exists=True)` returns 200, and the instance is stored."""
    recorder.answers["provision"] = Provisioned(exists=True, data={"found": True})
    assert platform.put(INSTANCE, PROVISION).status_code == 200
    assert platform.put(INSTANCE, PROVISION).status_code == 200
    assert platform.get(INSTANCE).status_code == 200
    assert len(recorder.requests) == 1


@pytest.mark.rule("R-PROV-3", "R-PROV-5")
def test_provision_is_compared_after_restart(serve: Serve, recorder: Recorder) -> None:
    """A new process compares PUT requests with the stored instance and returns 200 or 409."""
    assert serve(recorder).put(INSTANCE, WITH_ALL).status_code == 201
    serve.stop()
    platform = serve(recorder)
    assert platform.put(INSTANCE, WITH_ALL).status_code == 200
    assert platform.put(INSTANCE, {**WITH_ALL, **OTHERS[0]}).status_code == 409
    assert len(recorder.requests) == 1


@pytest.mark.rule("R-PROV-6", "R-REQ-8")
def test_invalid_provision_is_400_and_not_stored(platform: Platform, recorder: Recorder) -> None:
    """Unknown service or plan ids and parameters outside the schema are 400. The handler is not called."""
    for body in (
        {**PROVISION, "parameters": {"size": 10}},
        {**PROVISION, "plan_id": "no-such"},
        {**PROVISION, "service_id": "no-such"},
    ):
        assert platform.put(INSTANCE, body).status_code == 400
    assert not recorder.requests
    assert platform.put(INSTANCE, PROVISION).status_code == 201
