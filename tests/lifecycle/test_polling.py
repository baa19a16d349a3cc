"""What a broker that remembers answers to polls (R-LAST), and how they move on what was accepted."""

from __future__ import annotations

from typing import Any

import pytest

from brokerkit import (
    Accepted,
    Binding,
    BrokerError,
    InstanceDoesNotExist,
    InstanceMetadata,
    LastOperation,
    Provisioned,
    Updated,
)
from brokerkit.server import polling as lifecycle_polls

from ..support.broker import BINDING, DELETE_QUERY, IDS, INSTANCE, PROVISION, Recorder, error_of
from ..support.stateful import (
    CAN_POLL,
    CHANGING,
    DELETE_AND_POLL,
    LAST,
    SECRET,
    Platform,
    Serve,
    Told,
    last_operation,
    poll_until_done,
    quick_offering,
    until,
)


def polls(recorder: Recorder) -> list[Any]:
    return [request for request in recorder.requests if type(request).__name__.startswith("Last")]


def begin(platform: Platform, recorder: Recorder, accepted: Accepted | None = None) -> str:
    """Ask for an instance that takes a while."""
    recorder.answers["provision"] = accepted or Accepted(operation="job 7")
    response = platform.put(INSTANCE, PROVISION, query=CAN_POLL)
    assert response.status_code == 202
    operation: str = response.json["operation"]
    return operation


def test_the_platform_sees_the_stores_id_and_the_handler_its_own(
    platform: Platform, recorder: Recorder
) -> None:
    operation = begin(platform, recorder)
    assert operation != "job 7"
    recorder.answers["last_operation"] = LastOperation.in_progress("Half of it")
    for query in ("", f"operation={operation}"):
        assert platform.get(LAST, query=query).json == {"state": "in progress", "description": "Half of it"}
    assert [request.operation for request in polls(recorder)] == ["job 7", "job 7"]
    assert {(request.offering.id, request.plan.id) for request in polls(recorder)} == {("db-id", "small-id")}


@pytest.mark.parametrize("operation", ["provision", "update", "deprovision"])
def test_a_handler_that_named_no_operation_gets_its_name(
    platform: Platform, recorder: Recorder, operation: str
) -> None:
    """As in a broker without a store."""
    if operation != "provision":
        platform.put(INSTANCE, PROVISION)
    recorder.answers[operation] = Accepted()
    match operation:
        case "provision":
            platform.put(INSTANCE, PROVISION, query=CAN_POLL)
        case "update":
            platform.patch(INSTANCE, {**IDS, "parameters": {"size": 1}}, query=CAN_POLL)
        case _:
            platform.delete(INSTANCE, query=DELETE_AND_POLL)
    platform.get(LAST)
    assert polls(recorder)[0].operation == operation


def test_a_poll_moves_the_instance_on_once(platform: Platform, recorder: Recorder) -> None:
    """R-LAST-1, R-LAST-5: the outcome is remembered, and the handler asked no more."""
    operation = begin(platform, recorder)
    recorder.answers["last_operation"] = LastOperation.succeeded("Made on rack 4")
    for _ in range(3):
        assert last_operation(platform, INSTANCE, operation) == {
            "state": "succeeded",
            "description": "Made on rack 4",
        }
    assert len(polls(recorder)) == 1


def test_a_poll_brings_what_a_handler_at_once_would_have_told(platform: Platform, recorder: Recorder) -> None:
    begin(platform, recorder, Accepted(dashboard_url="https://early.example.org", data={"job": 7}))
    recorder.answers["last_operation"] = LastOperation.succeeded(
        result=Provisioned(metadata=InstanceMetadata(labels={"region": "eu"}), data={"database": "d"})
    )
    poll_until_done(platform, INSTANCE)
    assert polls(recorder)[0].instance.data == {"job": 7}
    assert platform.put(INSTANCE, PROVISION).json == {
        "dashboard_url": "https://early.example.org",
        "metadata": {"labels": {"region": "eu"}},
    }
    platform.delete(INSTANCE, query=DELETE_QUERY)
    assert recorder.requests[-1].instance.data == {"database": "d"}


def test_a_poll_brings_what_an_update_tells(platform: Platform, recorder: Recorder) -> None:
    platform.put(INSTANCE, PROVISION)
    recorder.answers["update"] = Accepted()
    recorder.answers["last_operation"] = LastOperation.succeeded(
        result=Updated(dashboard_url="https://new.example.org", data={"n": 2})
    )
    platform.patch(INSTANCE, {**IDS, "parameters": {"size": 1}}, query=CAN_POLL)
    poll_until_done(platform, INSTANCE)
    assert platform.get(INSTANCE).json["dashboard_url"] == "https://new.example.org"
    platform.delete(INSTANCE, query=DELETE_QUERY)
    assert recorder.requests[-1].instance.data == {"n": 2}


def test_a_binding_that_becomes_ready_by_polling_brings_its_credentials(
    platform: Platform, recorder: Recorder
) -> None:
    platform.put(INSTANCE, PROVISION)
    recorder.answers["bind"] = Accepted(operation="job 8", data={"job": 8})
    recorder.answers["last_binding_operation"] = LastOperation.succeeded(result=SECRET)
    operation = platform.put(BINDING, IDS, query=CAN_POLL).json["operation"]
    assert poll_until_done(platform, BINDING, operation) == {"state": "succeeded"}
    (poll,) = polls(recorder)
    assert (poll.operation, poll.binding.data, poll.instance.instance_id) == ("job 8", {"job": 8}, "i1")
    assert platform.get(BINDING).json == {"credentials": {"uri": "db://secret"}}


def test_a_binding_without_credentials_has_not_succeeded(platform: Platform, recorder: Recorder) -> None:
    """The handler's mistake is told in the log, and the next poll asks it again."""
    platform.put(INSTANCE, PROVISION)
    recorder.answers["bind"] = Accepted()
    operation = platform.put(BINDING, IDS, query=CAN_POLL).json["operation"]
    assert platform.get(f"{BINDING}/last_operation").status_code == 500
    recorder.answers["last_binding_operation"] = LastOperation.succeeded(result=SECRET)
    assert poll_until_done(platform, BINDING, operation) == {"state": "succeeded"}


def test_the_credentials_may_come_from_a_handler_for_fetches(serve: Serve, recorder: Recorder) -> None:
    platform = serve(recorder, handlers=[*CHANGING, "last_binding_operation", "get_binding"])
    platform.put(INSTANCE, PROVISION)
    recorder.answers["bind"] = Accepted()
    platform.put(BINDING, IDS, query=CAN_POLL)
    assert poll_until_done(platform, BINDING) == {"state": "succeeded"}
    assert platform.get(BINDING).json == {"credentials": {"uri": "db://secret"}}


def test_a_failed_update_says_what_can_still_be_done(platform: Platform, recorder: Recorder) -> None:
    """R-ERR-2, R-LAST-1."""
    platform.put(INSTANCE, PROVISION)
    recorder.answers["update"] = Accepted()
    recorder.answers["last_operation"] = LastOperation.failed(
        "No room", instance_usable=False, update_repeatable=False
    )
    platform.patch(INSTANCE, {**IDS, "parameters": {"size": 1}}, query=CAN_POLL)
    expected = {
        "state": "failed",
        "description": "No room",
        "instance_usable": False,
        "update_repeatable": False,
    }
    assert [last_operation(platform, INSTANCE) for _ in range(2)] == [expected, expected]


@pytest.mark.parametrize("way", ["provision", "bind", "unbind"])
def test_nothing_else_says_that(platform: Platform, recorder: Recorder, way: str) -> None:
    """R-ERR-2: in nothing else."""
    failed = LastOperation.failed("No room", instance_usable=False, update_repeatable=False)
    recorder.answers["last_operation"] = recorder.answers["last_binding_operation"] = failed
    if way == "provision":
        recorder.answers["provision"] = Accepted()
    platform.put(INSTANCE, PROVISION, query=CAN_POLL)
    if way == "unbind":
        platform.put(BINDING, IDS)
    recorder.answers[way] = Accepted()
    if way == "bind":
        platform.put(BINDING, IDS, query=CAN_POLL)
    if way == "unbind":
        platform.delete(BINDING, query=DELETE_AND_POLL)
    path = INSTANCE if way == "provision" else BINDING
    told = until(lambda: platform.get(f"{path}/last_operation"))
    if told.status_code == 200:
        assert told.json == {"state": "failed", "description": "No room"}
    else:  # a handler of a binding that says so is told that it is a mistake
        assert (path, told.status_code) == (BINDING, 500)


def test_a_failed_deprovision_says_whether_it_can_be_used(platform: Platform, recorder: Recorder) -> None:
    """R-ERR-2: `instance_usable` alone."""
    platform.put(INSTANCE, PROVISION)
    recorder.answers["deprovision"] = Accepted()
    recorder.answers["last_operation"] = LastOperation.failed("Locked", instance_usable=False)
    platform.delete(INSTANCE, query=DELETE_AND_POLL)
    assert last_operation(platform, INSTANCE) == {
        "state": "failed",
        "description": "Locked",
        "instance_usable": False,
    }
    assert platform.get(INSTANCE).status_code == 200


@pytest.mark.parametrize("path", [INSTANCE, BINDING])
def test_no_instance_or_binding_no_operation(platform: Platform, path: str) -> None:
    """R-LAST-3."""
    for query in ("", "operation=none"):
        assert platform.get(f"{path}/last_operation", query=query).status_code == 404
    platform.put(INSTANCE, PROVISION)
    assert platform.get(f"{BINDING}/last_operation").status_code == 404


@pytest.mark.parametrize("before", ["bound", "not bound", "not unbound"])
def test_a_binding_that_went_with_its_instance(platform: Platform, recorder: Recorder, before: str) -> None:
    """R-LAST-3: does not exist, and nothing says that it does."""
    platform.put(INSTANCE, PROVISION)
    if before == "not bound":
        recorder.answers["bind"] = ValueError("inside")
    platform.put(BINDING, IDS)
    if before == "not unbound":
        recorder.answers["unbind"] = ValueError("inside")
        platform.delete(BINDING, query=DELETE_QUERY)
    platform.delete(INSTANCE, query=DELETE_QUERY)
    assert platform.get(f"{BINDING}/last_operation").status_code == 404
    platform.put(INSTANCE, PROVISION)
    assert platform.get(f"{BINDING}/last_operation").status_code == 404


@pytest.mark.parametrize("unknown", ["none", "%00", "%F0%9F%98%80", "x" * 9000])
def test_an_unknown_operation(platform: Platform, unknown: str) -> None:
    """R-LAST-4."""
    platform.put(INSTANCE, PROVISION)
    assert platform.get(LAST, query=f"operation={unknown}").status_code == 400


def test_an_operation_of_another_instance(platform: Platform, recorder: Recorder) -> None:
    """R-LAST-4: is as unknown as any."""
    operation = begin(platform, recorder)
    platform.put("/v2/service_instances/i2", PROVISION, query=CAN_POLL)
    for path in ("/v2/service_instances/i2", BINDING):
        response = platform.get(f"{path}/last_operation", query=f"operation={operation}")
        assert response.status_code in (400, 404)
    assert not polls(recorder)


def test_what_was_done_at_once_can_be_polled(platform: Platform) -> None:
    """R-LAST-1, R-LAST-5: by a platform that lost the answer."""
    platform.put(INSTANCE, PROVISION)
    assert last_operation(platform, INSTANCE) == {"state": "succeeded"}
    platform.put(BINDING, IDS)
    assert last_operation(platform, BINDING) == {"state": "succeeded"}
    platform.delete(BINDING, query=DELETE_QUERY)
    assert last_operation(platform, BINDING) == {"state": "succeeded"}
    platform.delete(INSTANCE, query=DELETE_QUERY)
    assert last_operation(platform, INSTANCE) == {"state": "succeeded"}


def test_outcomes_of_earlier_operations_are_remembered(platform: Platform, recorder: Recorder) -> None:
    """R-LAST-5."""
    first = begin(platform, recorder)
    poll_until_done(platform, INSTANCE, first)
    recorder.answers["update"] = Accepted()
    recorder.answers["last_operation"] = LastOperation.failed("No room")
    second = platform.patch(INSTANCE, {**IDS, "parameters": {"size": 1}}, query=CAN_POLL).json["operation"]
    assert poll_until_done(platform, INSTANCE, second)["state"] == "failed"
    platform.delete(INSTANCE, query=DELETE_QUERY)
    assert last_operation(platform, INSTANCE, first) == {"state": "succeeded"}
    assert last_operation(platform, INSTANCE, second) == {"state": "failed", "description": "No room"}
    assert last_operation(platform, INSTANCE) == {"state": "succeeded"}


def test_the_handler_says_when_to_ask_again(platform: Platform, recorder: Recorder) -> None:
    """R-LAST-2."""
    begin(platform, recorder)
    recorder.answers["last_operation"] = LastOperation.in_progress(retry_after=17)
    assert platform.get(LAST).headers["Retry-After"] == "17"


def test_otherwise_the_broker_says_when_to_ask_again(platform: Platform, recorder: Recorder) -> None:
    """R-LAST-2: soon, of what was asked for just now; and never of what is through."""
    begin(platform, recorder)
    recorder.answers["last_operation"] = LastOperation.in_progress()
    assert platform.get(LAST).headers["Retry-After"] == "1"
    recorder.answers["last_operation"] = LastOperation.succeeded()
    assert "Retry-After" not in platform.get(LAST).headers
    assert "Retry-After" not in platform.get(LAST).headers


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (ValueError("inside"), 500),
        ("a text", 500),
        (None, 500),
        (BrokerError("Away", status=503), 503),
        (InstanceDoesNotExist(), 404),
        (LastOperation.succeeded(result=SECRET), 500),
    ],
)
def test_a_poll_that_goes_wrong_moves_nothing(
    platform: Platform, recorder: Recorder, answer: Any, status: int
) -> None:
    """R-REQ-8: the next one may know better."""
    operation = begin(platform, recorder)
    recorder.answers["last_operation"] = answer
    assert platform.get(LAST).status_code == status
    recorder.answers["last_operation"] = LastOperation.succeeded()
    assert poll_until_done(platform, INSTANCE, operation)["state"] == "succeeded"


@pytest.mark.parametrize("ends", ["succeeded", "failed"])
def test_what_ended_elsewhere_is_in_nobodys_way(
    platform: Platform, recorder: Recorder, told: Told, ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though its platform never polls: who would be told ConcurrencyError makes the broker look."""
    monkeypatch.setattr(lifecycle_polls, "QUIET", 0.0)
    platform.put(INSTANCE, PROVISION)
    recorder.answers["update"] = Accepted()
    platform.patch(INSTANCE, {**IDS, "parameters": {"size": 5}}, query=CAN_POLL)
    recorder.answers["last_operation"] = LastOperation.in_progress("Half of it")
    assert platform.put(BINDING, IDS).status_code == 422
    recorder.answers["last_operation"] = getattr(LastOperation, ends)()
    assert platform.put(BINDING, IDS).status_code == 201
    assert len(polls(recorder)) == 2
    assert platform.get(INSTANCE).json.get("parameters") == ({"size": 5} if ends == "succeeded" else None)
    done = "updated" if ends == "succeeded" else "operation_failed"
    assert told.names == ["provisioned", "operation_started", "operation_progressed", done, "bound"]


def test_what_was_heard_of_just_now_is_not_asked_again(platform: Platform, recorder: Recorder) -> None:
    """A platform that polls is the one that finds out."""
    platform.put(INSTANCE, PROVISION)
    recorder.answers["update"] = Accepted()
    platform.patch(INSTANCE, {**IDS, "parameters": {"size": 5}}, query=CAN_POLL)
    assert platform.put(BINDING, IDS).status_code == 422
    assert not polls(recorder)


@pytest.mark.parametrize("answer", [ValueError("inside"), BrokerError("Away", status=503), None], ids=repr)
def test_what_cannot_be_found_out_is_in_the_way(
    platform: Platform, recorder: Recorder, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is that of the operation's handler, and no other request is failed by it."""
    monkeypatch.setattr(lifecycle_polls, "QUIET", 0.0)
    platform.put(INSTANCE, PROVISION)
    recorder.answers["update"] = Accepted()
    platform.patch(INSTANCE, {**IDS, "parameters": {"size": 5}}, query=CAN_POLL)
    recorder.answers["last_operation"] = answer
    response = platform.put(BINDING, IDS)
    assert (response.status_code, error_of(response)["error"]) == (422, "ConcurrencyError")


def test_what_was_accepted_ends_with_its_plans_patience(serve: Serve, recorder: Recorder) -> None:
    """The plan's `maximum_polling_duration`, also where nobody polls."""
    platform = serve(recorder, quick_offering(), lease=3.0)
    operation = begin(platform, recorder)
    recorder.answers["last_operation"] = LastOperation.in_progress()
    told = poll_until_done(platform, INSTANCE, operation)
    assert told["state"] == "failed"
    assert told["description"]
    assert platform.put(INSTANCE, PROVISION).status_code == 409
    assert platform.delete(INSTANCE, query=DELETE_QUERY).status_code == 200


def test_accepting_for_a_platform_that_cannot_poll_is_a_mistake(
    platform: Platform, recorder: Recorder
) -> None:
    """What it left behind can be deleted (R-DEL-5)."""
    recorder.answers["provision"] = Accepted()
    assert platform.put(INSTANCE, PROVISION).status_code == 500
    assert platform.put(INSTANCE, PROVISION).status_code == 409
    assert platform.delete(INSTANCE, query=DELETE_QUERY).status_code == 200


def test_accepting_where_nobody_can_tell_how_it_goes_is_a_mistake(serve: Serve, recorder: Recorder) -> None:
    platform = serve(recorder, handlers=CHANGING)
    recorder.answers["provision"] = Accepted()
    assert platform.put(INSTANCE, PROVISION, query=CAN_POLL).status_code == 500


def test_the_next_process_goes_on_polling(serve: Serve, recorder: Recorder) -> None:
    """R-LAST-1: what was accepted is in the store."""
    platform = serve(recorder)
    platform.put(INSTANCE, PROVISION)
    recorder.answers["bind"] = Accepted(operation="job 8")
    operation = platform.put(BINDING, IDS, query=CAN_POLL).json["operation"]
    serve.stop()
    platform = serve(recorder)
    recorder.answers["last_binding_operation"] = LastOperation.succeeded(
        result=Binding(credentials={"late": True})
    )
    assert poll_until_done(platform, BINDING, operation)["state"] == "succeeded"
    assert polls(recorder)[0].operation == "job 8"
    assert platform.get(BINDING).json == {"credentials": {"late": True}}


def test_a_poll_that_names_nothing_but_the_path(platform: Platform, recorder: Recorder) -> None:
    """R-LAST: service, plan and operation are optional."""
    begin(platform, recorder)
    assert error_of(platform.get(LAST, query="operation=other"))["description"]
    assert platform.get(LAST, query="service_id=other&plan_id=other").json == {"state": "succeeded"}
