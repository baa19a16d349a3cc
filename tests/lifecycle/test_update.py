"""PATCH of a service instance in a broker with a store (R-UPD)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from brokerkit import Accepted, LastOperation, MaintenanceInfo, Provisioned, ServicePlan, Updated

from ..support.broker import BINDING, DELETE_QUERY, IDS, INSTANCE, PROVISION, Recorder, error_of
from ..support.broker import make_offering as offering
from ..support.stateful import CAN_POLL, Gate, Platform, Serve, last_operation, poll_until_done

SERVICE = {"service_id": "db-id"}
CHANGES: list[dict[str, Any]] = [
    {"plan_id": "large-id"},
    {"parameters": {"size": 5}},
    {"context": {"platform": "cloudfoundry", "instance_name": "renamed"}},
]


def updates(recorder: Recorder) -> list[Any]:
    return [request for request in recorder.requests if type(request).__name__ == "UpdateRequest"]


@pytest.fixture
def instance(platform: Platform) -> Platform:
    """A platform that has an instance of the plan `small`, with the size 3."""
    assert platform.put(INSTANCE, {**PROVISION, "parameters": {"size": 3}}).status_code == 201
    return platform


@pytest.mark.rule("R-UPD-1")
@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_repeated_update_calls_handler_once(
    instance: Platform, recorder: Recorder, change: dict[str, Any]
) -> None:
    """A repeated PATCH without effect is 200 with the same body and does not call the handler."""
    recorder.answers["update"] = Updated(dashboard_url="https://new.example.org")
    for _ in range(2):
        response = instance.patch(INSTANCE, {**SERVICE, **change})
        assert (response.status_code, response.json) == (200, {"dashboard_url": "https://new.example.org"})
    assert len(updates(recorder)) == 1


@pytest.mark.rule("R-UPD-1")
@pytest.mark.parametrize(
    "nothing",
    [
        {},
        {"plan_id": "small-id"},
        {"parameters": {"size": 3}},
        {"parameters": {}},
        {"maintenance_info": {"version": "1.0.0"}},
    ],
    ids=str,
)
def test_update_without_effect_is_200(
    instance: Platform, recorder: Recorder, nothing: dict[str, Any]
) -> None:
    """A PATCH that repeats the stored values does not call the handler."""
    assert instance.patch(INSTANCE, {**SERVICE, **nothing}).status_code == 200
    assert not updates(recorder)


@pytest.mark.rule("R-UPD-2")
def test_update_keeps_omitted_plan_and_parameters(instance: Platform) -> None:
    instance.patch(INSTANCE, {**SERVICE, "plan_id": "large-id"})
    assert instance.get(INSTANCE).json["parameters"] == {"size": 3}
    instance.patch(INSTANCE, {**SERVICE, "parameters": {"size": 4}})
    assert instance.get(INSTANCE).json["plan_id"] == "large-id"


@pytest.mark.rule("R-UPD-2")
def test_update_request_without_plan_uses_stored_plan(instance: Platform, recorder: Recorder) -> None:
    """The handler gets the stored plan. `previous_values` in the body is not used."""
    body = {**SERVICE, "parameters": {"size": 4}, "previous_values": {"plan_id": "large-id"}}
    assert instance.patch(INSTANCE, body).status_code == 200
    (request,) = updates(recorder)
    assert request.plan.id == request.instance.plan.id == "small-id"


def make_plans(*updateable: bool) -> list[ServicePlan]:
    return [
        ServicePlan(id=f"{name}-id", name=name, description=name, plan_updateable=may)
        for name, may in zip(("small", "large"), updateable, strict=True)
    ]


@pytest.mark.rule("R-UPD-3")
@pytest.mark.parametrize(
    ("updateable", "status"), [((True, False), 200), ((False, True), 422)], ids=["allowed", "refused"]
)
@pytest.mark.parametrize("previous", ["small-id", "large-id", None])
def test_plan_change_depends_on_stored_plan(
    serve: Serve, recorder: Recorder, updateable: tuple[bool, bool], status: int, previous: str | None
) -> None:
    """`plan_updateable` of the stored plan decides between 200 and 422.

    `previous_values` in the body is not used.
    """
    platform = serve(recorder, offering(plans=make_plans(*updateable)))
    platform.put(INSTANCE, PROVISION)
    body = {**SERVICE, "plan_id": "large-id", "previous_values": {"plan_id": previous}}
    response = platform.patch(INSTANCE, body)
    assert response.status_code == status
    assert len(updates(recorder)) == (1 if status == 200 else 0)
    assert platform.get(INSTANCE).json["plan_id"] == ("large-id" if status == 200 else "small-id")


@pytest.mark.rule("R-UPD-3")
def test_update_with_same_plan_needs_no_permission(serve: Serve, recorder: Recorder) -> None:
    """A PATCH that names the stored plan is not a plan change, regardless of `previous_values`."""
    platform = serve(recorder, offering(plans=make_plans(False, False)))
    platform.put(INSTANCE, PROVISION)
    body = {**IDS, "parameters": {"n": 1}, "previous_values": {"plan_id": "large-id"}}
    assert platform.patch(INSTANCE, body).status_code == 200


@pytest.mark.rule("R-UPD-4")
@pytest.mark.parametrize("allowed", [True, False])
def test_context_update_requires_allow_context_updates(
    serve: Serve, recorder: Recorder, allowed: bool
) -> None:
    platform = serve(recorder, offering(allow_context_updates=allowed))
    platform.put(INSTANCE, PROVISION)
    response = platform.patch(INSTANCE, {**SERVICE, **CHANGES[2]})
    assert response.status_code == (200 if allowed else 422)
    assert len(updates(recorder)) == allowed


@pytest.mark.rule("R-UPD-5")
def test_update_with_other_maintenance_version_is_422(instance: Platform, recorder: Recorder) -> None:
    response = instance.patch(INSTANCE, {**SERVICE, "maintenance_info": {"version": "3.0.0"}})
    assert response.status_code == 422
    assert error_of(response)["error"] == "MaintenanceInfoConflict"
    assert not updates(recorder)


@pytest.mark.rule("R-UPD-1", "R-GETI")
def test_maintenance_upgrade_calls_handler_once(serve: Serve, recorder: Recorder) -> None:
    """An upgrade is compared with the stored version. A fetch returns the new version after the upgrade."""
    serve(recorder).put(INSTANCE, PROVISION)
    serve.stop()
    newer = [
        msgspec.structs.replace(plan, maintenance_info=MaintenanceInfo("2.0.0")) for plan in offering().plans
    ]
    platform = serve(recorder, offering(plans=newer))
    assert platform.get(INSTANCE).json["maintenance_info"] == {"version": "1.0.0"}
    for _ in range(2):
        body = {**SERVICE, "maintenance_info": {"version": "2.0.0"}}
        assert platform.patch(INSTANCE, body).status_code == 200
    assert len(updates(recorder)) == 1
    assert platform.get(INSTANCE).json["maintenance_info"] == {"version": "2.0.0"}


@pytest.mark.rule("R-UPD-5", "R-REQ-8")
def test_update_with_invalid_parameters_is_400(instance: Platform, recorder: Recorder) -> None:
    """The stored parameters are unchanged, and the handler is not called."""
    assert instance.patch(INSTANCE, {**SERVICE, "parameters": {"size": 10}}).status_code == 400
    assert not updates(recorder)
    assert instance.get(INSTANCE).json["parameters"] == {"size": 3}


@pytest.mark.rule("R-UPD-1", "R-UPD-5")
@pytest.mark.parametrize("change", CHANGES, ids=str)
@pytest.mark.parametrize("way", ["accepted", "background"])
def test_update_in_progress_returns_same_operation(
    serve: Serve, recorder: Recorder, way: str, change: dict[str, Any]
) -> None:
    """An identical PATCH returns 202 with the same operation. A different one is 422 ConcurrencyError."""
    gate = Gate()
    recorder.answers["update"] = Accepted() if way == "accepted" else gate
    recorder.answers["last_operation"] = LastOperation.in_progress()
    platform = serve(recorder, background=["update"] if way == "background" else [])
    platform.put(INSTANCE, PROVISION)
    first = platform.patch(INSTANCE, {**SERVICE, **change}, query=CAN_POLL)
    again = platform.patch(INSTANCE, {**SERVICE, **change}, query=CAN_POLL)
    assert first.status_code == again.status_code == 202
    assert first.json["operation"] == again.json["operation"]
    other = platform.patch(INSTANCE, {**SERVICE, "parameters": {"size": 9}}, query=CAN_POLL)
    assert other.status_code == 422
    assert error_of(other)["error"] == "ConcurrencyError"
    back = platform.patch(INSTANCE, {**SERVICE, "plan_id": "small-id"}, query=CAN_POLL)
    assert back.status_code == 422
    gate.open()
    recorder.answers["last_operation"] = LastOperation.succeeded()
    assert poll_until_done(platform, INSTANCE, first.json["operation"])["state"] == "succeeded"
    assert len(updates(recorder)) == 1
    assert platform.patch(INSTANCE, {**SERVICE, **change}, query=CAN_POLL).status_code == 200


@pytest.mark.rule("R-UPD-5", "R-LAST-1")
def test_failed_asynchronous_update_changes_nothing(platform: Platform, recorder: Recorder) -> None:
    """An accepted update that fails leaves plan and parameters unchanged."""
    platform.put(INSTANCE, {**PROVISION, "parameters": {"size": 3}})
    recorder.answers["update"] = Accepted()
    recorder.answers["last_operation"] = LastOperation.failed("No room")
    body = {**SERVICE, "plan_id": "large-id", "parameters": {"size": 9}}
    operation = platform.patch(INSTANCE, body, query=CAN_POLL).json["operation"]
    assert poll_until_done(platform, INSTANCE, operation) == {"state": "failed", "description": "No room"}
    instance = platform.get(INSTANCE).json
    assert (instance["plan_id"], instance["parameters"]) == ("small-id", {"size": 3})


@pytest.mark.rule("R-UPD-5")
def test_failed_update_can_be_repeated(platform: Platform, recorder: Recorder) -> None:
    platform.put(INSTANCE, PROVISION)
    recorder.answers["update"] = ValueError("inside")
    assert platform.patch(INSTANCE, {**SERVICE, **CHANGES[1]}).status_code == 500
    recorder.answers["update"] = None
    assert platform.patch(INSTANCE, {**SERVICE, **CHANGES[1]}).status_code == 200
    assert len(updates(recorder)) == 2


@pytest.mark.rule("R-UPD-5", "R-UPD-1")
def test_plan_change_without_polling_is_async_required(serve: Serve, recorder: Recorder) -> None:
    """The handler of the new plan decides. A PATCH without effect is 200 even for background handlers."""
    platform = serve(recorder, background=["update"])
    platform.put(INSTANCE, PROVISION)
    response = platform.patch(INSTANCE, {**SERVICE, **CHANGES[0]})
    assert response.status_code == 422
    assert error_of(response)["error"] == "AsyncRequired"
    assert platform.patch(INSTANCE, SERVICE).status_code == 200  # nothing to be done takes no time
    assert not updates(recorder)


def test_update_of_missing_instance_is_404(platform: Platform, recorder: Recorder) -> None:
    """The instance was never created, its creation failed, or it was deleted."""
    body = {**SERVICE, **CHANGES[1]}
    assert platform.patch(INSTANCE, body).status_code == 404
    recorder.answers["provision"] = ValueError("inside")
    platform.put(INSTANCE, PROVISION)
    assert platform.patch(INSTANCE, body).status_code == 404
    platform.delete(INSTANCE, query=DELETE_QUERY)
    assert platform.patch(INSTANCE, body).status_code == 404
    assert not updates(recorder)


@pytest.mark.rule("R-UPD-5")
@pytest.mark.parametrize("busy", ["provision", "deprovision", "bind", "unbind"])
def test_update_during_other_operation_is_422(platform: Platform, recorder: Recorder, busy: str) -> None:
    """ConcurrencyError is returned while another operation of the instance or its bindings is in progress."""
    recorder.answers["last_operation"] = LastOperation.in_progress()
    if busy == "provision":
        recorder.answers["provision"] = Accepted()
    platform.put(INSTANCE, PROVISION, query=CAN_POLL)
    if busy == "unbind":
        platform.put(BINDING, IDS)
    recorder.answers[busy] = Accepted()
    if busy == "bind":
        platform.put(BINDING, IDS, query=CAN_POLL)
    elif busy != "provision":
        path = INSTANCE if busy == "deprovision" else BINDING
        platform.delete(path, query=f"{DELETE_QUERY}&{CAN_POLL}")
    response = platform.patch(INSTANCE, {**SERVICE, **CHANGES[1]}, query=CAN_POLL)
    assert response.status_code == 422
    assert error_of(response)["error"] == "ConcurrencyError"
    assert not updates(recorder)


@pytest.mark.rule("R-UPD-6")
def test_poll_of_plan_change_accepts_previous_plan(platform: Platform, recorder: Recorder) -> None:
    """The platform polls with the previous plan, and the broker calls the handler of the new plan."""
    platform.put(INSTANCE, PROVISION)
    recorder.answers["update"] = Accepted()
    platform.patch(INSTANCE, {**SERVICE, **CHANGES[0]}, query=CAN_POLL)
    assert platform.get(f"{INSTANCE}/last_operation", query=DELETE_QUERY).json == {"state": "succeeded"}
    assert recorder.requests[-1].plan.id == "large-id"
    assert recorder.requests[-1].instance.plan.id == "small-id"


@pytest.mark.rule("R-UPD-5")
def test_failed_asynchronous_update_restores_data(platform: Platform, recorder: Recorder) -> None:
    """Handler data from `Accepted(data=...)` is discarded when the update fails."""
    recorder.answers["provision"] = Provisioned(data={"n": 1})
    platform.put(INSTANCE, PROVISION)
    recorder.answers["update"] = Accepted(data={"n": 2})
    recorder.answers["last_operation"] = LastOperation.failed("No room")
    platform.patch(INSTANCE, {**SERVICE, **CHANGES[0]}, query=CAN_POLL)
    assert last_operation(platform, INSTANCE)["state"] == "failed"
    platform.put(BINDING, IDS)
    assert recorder.requests[-1].instance.data == {"n": 1}


def test_update_with_other_offering_is_400(serve: Serve, recorder: Recorder) -> None:
    other = offering(
        id="cache-id", name="cache", plans=[ServicePlan(id="tiny-id", name="tiny", description="Tiny")]
    )
    platform = serve(recorder, offering(), other)
    platform.put(INSTANCE, PROVISION)
    assert platform.patch(INSTANCE, {"service_id": "cache-id", "plan_id": "tiny-id"}).status_code == 400
    assert not updates(recorder)
