"""What a broker that remembers answers to a PATCH (R-UPD)."""

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


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_an_update_is_asked_for_once(instance: Platform, recorder: Recorder, change: dict[str, Any]) -> None:
    """R-UPD-1: what has no effect any more is 200 without asking."""
    recorder.answers["update"] = Updated(dashboard_url="https://new.example.org")
    for _ in range(2):
        response = instance.patch(INSTANCE, {**SERVICE, **change})
        assert (response.status_code, response.json) == (200, {"dashboard_url": "https://new.example.org"})
    assert len(updates(recorder)) == 1


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
def test_an_update_without_effect_is_200(
    instance: Platform, recorder: Recorder, nothing: dict[str, Any]
) -> None:
    """R-UPD-1."""
    assert instance.patch(INSTANCE, {**SERVICE, **nothing}).status_code == 200
    assert not updates(recorder)


def test_without_plan_or_parameters_they_stay(instance: Platform) -> None:
    """R-UPD-2."""
    instance.patch(INSTANCE, {**SERVICE, "plan_id": "large-id"})
    assert instance.get(INSTANCE).json["parameters"] == {"size": 3}
    instance.patch(INSTANCE, {**SERVICE, "parameters": {"size": 4}})
    assert instance.get(INSTANCE).json["plan_id"] == "large-id"


def test_the_request_has_the_stored_plan_where_it_names_none(instance: Platform, recorder: Recorder) -> None:
    """R-UPD-2: whatever `previous_values` says."""
    body = {**SERVICE, "parameters": {"size": 4}, "previous_values": {"plan_id": "large-id"}}
    assert instance.patch(INSTANCE, body).status_code == 200
    (request,) = updates(recorder)
    assert request.plan.id == request.instance.plan.id == "small-id"


def make_plans(*updateable: bool) -> list[ServicePlan]:
    return [
        ServicePlan(id=f"{name}-id", name=name, description=name, plan_updateable=may)
        for name, may in zip(("small", "large"), updateable, strict=True)
    ]


@pytest.mark.parametrize(
    ("updateable", "status"), [((True, False), 200), ((False, True), 422)], ids=["allowed", "refused"]
)
@pytest.mark.parametrize("previous", ["small-id", "large-id", None])
def test_the_stored_plan_decides_whether_it_can_be_left(
    serve: Serve, recorder: Recorder, updateable: tuple[bool, bool], status: int, previous: str | None
) -> None:
    """R-UPD-3: and not what the platform says it was."""
    platform = serve(recorder, offering(plans=make_plans(*updateable)))
    platform.put(INSTANCE, PROVISION)
    body = {**SERVICE, "plan_id": "large-id", "previous_values": {"plan_id": previous}}
    response = platform.patch(INSTANCE, body)
    assert response.status_code == status
    assert len(updates(recorder)) == (1 if status == 200 else 0)
    assert platform.get(INSTANCE).json["plan_id"] == ("large-id" if status == 200 else "small-id")


def test_staying_on_a_plan_is_no_plan_change(serve: Serve, recorder: Recorder) -> None:
    """R-UPD-3: whatever `previous_values` says."""
    platform = serve(recorder, offering(plans=make_plans(False, False)))
    platform.put(INSTANCE, PROVISION)
    body = {**IDS, "parameters": {"n": 1}, "previous_values": {"plan_id": "large-id"}}
    assert platform.patch(INSTANCE, body).status_code == 200


@pytest.mark.parametrize("allowed", [True, False])
def test_the_context_alone_needs_to_be_allowed(serve: Serve, recorder: Recorder, allowed: bool) -> None:
    """R-UPD-4."""
    platform = serve(recorder, offering(allow_context_updates=allowed))
    platform.put(INSTANCE, PROVISION)
    response = platform.patch(INSTANCE, {**SERVICE, **CHANGES[2]})
    assert response.status_code == (200 if allowed else 422)
    assert len(updates(recorder)) == allowed


def test_a_version_that_is_not_the_catalogs_is_a_conflict(instance: Platform, recorder: Recorder) -> None:
    """R-UPD-5."""
    response = instance.patch(INSTANCE, {**SERVICE, "maintenance_info": {"version": "3.0.0"}})
    assert response.status_code == 422
    assert error_of(response)["error"] == "MaintenanceInfoConflict"
    assert not updates(recorder)


def test_an_upgrade_is_asked_for_once(serve: Serve, recorder: Recorder) -> None:
    """R-UPD-1: the version that is stored decides, and a fetch tells the new one."""
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


def test_parameters_that_the_plan_refuses(instance: Platform, recorder: Recorder) -> None:
    """R-UPD-5: nothing was applied."""
    assert instance.patch(INSTANCE, {**SERVICE, "parameters": {"size": 10}}).status_code == 400
    assert not updates(recorder)
    assert instance.get(INSTANCE).json["parameters"] == {"size": 3}


@pytest.mark.parametrize("change", CHANGES, ids=str)
@pytest.mark.parametrize("way", ["accepted", "background"])
def test_the_same_update_in_progress_is_the_same_operation(
    serve: Serve, recorder: Recorder, way: str, change: dict[str, Any]
) -> None:
    """R-UPD-1; another one is refused meanwhile, R-UPD-5."""
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


def test_an_update_in_progress_changes_nothing_before_its_end(platform: Platform, recorder: Recorder) -> None:
    """R-UPD-5: one that fails was never applied."""
    platform.put(INSTANCE, {**PROVISION, "parameters": {"size": 3}})
    recorder.answers["update"] = Accepted()
    recorder.answers["last_operation"] = LastOperation.failed("No room")
    body = {**SERVICE, "plan_id": "large-id", "parameters": {"size": 9}}
    operation = platform.patch(INSTANCE, body, query=CAN_POLL).json["operation"]
    assert poll_until_done(platform, INSTANCE, operation) == {"state": "failed", "description": "No room"}
    found = platform.get(INSTANCE).json
    assert (found["plan_id"], found["parameters"]) == ("small-id", {"size": 3})


def test_a_failed_update_can_be_asked_for_again(platform: Platform, recorder: Recorder) -> None:
    """R-UPD-5."""
    platform.put(INSTANCE, PROVISION)
    recorder.answers["update"] = ValueError("inside")
    assert platform.patch(INSTANCE, {**SERVICE, **CHANGES[1]}).status_code == 500
    recorder.answers["update"] = None
    assert platform.patch(INSTANCE, {**SERVICE, **CHANGES[1]}).status_code == 200
    assert len(updates(recorder)) == 2


def test_async_required_of_the_plan_that_it_moves_to(serve: Serve, recorder: Recorder) -> None:
    """R-UPD-5: the handler of the plan that is moved to is the one that is asked."""
    platform = serve(recorder, background=["update"])
    platform.put(INSTANCE, PROVISION)
    response = platform.patch(INSTANCE, {**SERVICE, **CHANGES[0]})
    assert response.status_code == 422
    assert error_of(response)["error"] == "AsyncRequired"
    assert platform.patch(INSTANCE, SERVICE).status_code == 200  # nothing to be done takes no time
    assert not updates(recorder)


def test_no_update_of_what_is_not_there(platform: Platform, recorder: Recorder) -> None:
    body = {**SERVICE, **CHANGES[1]}
    assert platform.patch(INSTANCE, body).status_code == 404
    recorder.answers["provision"] = ValueError("inside")
    platform.put(INSTANCE, PROVISION)
    assert platform.patch(INSTANCE, body).status_code == 404
    platform.delete(INSTANCE, query=DELETE_QUERY)
    assert platform.patch(INSTANCE, body).status_code == 404
    assert not updates(recorder)


@pytest.mark.parametrize("busy", ["provision", "deprovision", "bind", "unbind"])
def test_no_update_while_something_else_is_in_progress(
    platform: Platform, recorder: Recorder, busy: str
) -> None:
    """R-UPD-5: ConcurrencyError."""
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


def test_a_poll_names_the_plan_before(platform: Platform, recorder: Recorder) -> None:
    """R-UPD-6: the handler of the plan that it leads to knows how it goes."""
    platform.put(INSTANCE, PROVISION)
    recorder.answers["update"] = Accepted()
    platform.patch(INSTANCE, {**SERVICE, **CHANGES[0]}, query=CAN_POLL)
    assert platform.get(f"{INSTANCE}/last_operation", query=DELETE_QUERY).json == {"state": "succeeded"}
    assert recorder.requests[-1].plan.id == "large-id"
    assert recorder.requests[-1].instance.plan.id == "small-id"


def test_what_an_accepted_update_told_is_undone_when_it_fails(platform: Platform, recorder: Recorder) -> None:
    """R-UPD-5: what a handler remembers of an instance is as it was before a failed update."""
    recorder.answers["provision"] = Provisioned(data={"n": 1})
    platform.put(INSTANCE, PROVISION)
    recorder.answers["update"] = Accepted(data={"n": 2})
    recorder.answers["last_operation"] = LastOperation.failed("No room")
    platform.patch(INSTANCE, {**SERVICE, **CHANGES[0]}, query=CAN_POLL)
    assert last_operation(platform, INSTANCE)["state"] == "failed"
    platform.put(BINDING, IDS)
    assert recorder.requests[-1].instance.data == {"n": 1}


def test_another_offerings_instance_is_not_updated(serve: Serve, recorder: Recorder) -> None:
    other = offering(
        id="cache-id", name="cache", plans=[ServicePlan(id="tiny-id", name="tiny", description="Tiny")]
    )
    platform = serve(recorder, offering(), other)
    platform.put(INSTANCE, PROVISION)
    assert platform.patch(INSTANCE, {"service_id": "cache-id", "plan_id": "tiny-id"}).status_code == 400
    assert not updates(recorder)
