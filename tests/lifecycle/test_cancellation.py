"""A DELETE of what is still being made ends the making and deletes what there is (R-DEL-3, R-UNB-3)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from brokerkit import Accepted, Binding, Provisioned, Retry

from ..support.broker import BINDING, DELETE_QUERY, IDS, INSTANCE, PROVISION, Recorder, error_of
from ..support.stateful import (
    CAN_POLL,
    DELETE_AND_POLL,
    Gate,
    Platform,
    Serve,
    last_operation,
    poll_until_done,
    until,
)

KINDS = pytest.mark.parametrize("kind", ["instance", "binding"])
PATHS = {"instance": INSTANCE, "binding": BINDING}
BODIES = {"instance": PROVISION, "binding": IDS}
CREATIONS = {"instance": "provision", "binding": "bind"}
DELETIONS = {"instance": "deprovision", "binding": "unbind"}
MADE = {
    "instance": Provisioned(data={"made": True}),
    "binding": Binding(credentials={"uri": "db://secret"}, data={"made": True}),
}


def begin(platform: Platform, kind: str) -> str:
    """Ask for an instance or binding that takes a while."""
    if kind == "binding":
        ready = platform.put(INSTANCE, PROVISION, query=CAN_POLL)
        assert ready.status_code == 201
    response = platform.put(PATHS[kind], BODIES[kind], query=CAN_POLL)
    assert response.status_code == 202, response.data
    operation: str = response.json["operation"]
    return operation


def deletes(recorder: Recorder) -> list[Any]:
    names = ("DeprovisionRequest", "UnbindRequest")
    return [request for request in recorder.requests if type(request).__name__ in names]


def data_of(request: Any) -> Any:
    resource = request.instance if type(request).__name__ == "DeprovisionRequest" else request.binding
    return resource.data


@KINDS
def test_what_was_accepted(platform: Platform, recorder: Recorder, kind: str) -> None:
    """The handler of the delete is asked, with what the first handler gave to be remembered."""
    recorder.answers[CREATIONS[kind]] = Accepted(data={"job": 7})
    recorder.answers[DELETIONS[kind]] = Accepted(operation="delete job")
    first = begin(platform, kind)
    response = platform.delete(PATHS[kind], query=DELETE_AND_POLL)
    assert response.status_code == 202
    assert response.json["operation"] != first
    assert data_of(deletes(recorder)[0]) == {"job": 7}
    assert poll_until_done(platform, PATHS[kind], response.json["operation"]) == {"state": "succeeded"}
    assert last_operation(platform, PATHS[kind], first)["state"] == "failed"
    assert platform.delete(PATHS[kind], query=DELETE_QUERY).status_code == 410


@KINDS
def test_what_was_accepted_by_a_platform_that_cannot_poll(
    platform: Platform, recorder: Recorder, kind: str
) -> None:
    recorder.answers[CREATIONS[kind]] = Accepted()
    begin(platform, kind)
    assert platform.delete(PATHS[kind], query=DELETE_QUERY).status_code == 200
    assert last_operation(platform, PATHS[kind]) == {"state": "succeeded"}


@KINDS
@pytest.mark.parametrize("deletion", ["at once", "accepted", "background"])
def test_a_generator_is_closed_at_its_next_yield(
    serve: Serve, recorder: Recorder, kind: str, deletion: str
) -> None:
    """Its `finally` runs, then the delete; polls tell of the delete."""
    gate, events = Gate(), []

    def steps(request: Any) -> Iterator[str]:
        try:
            yield "Creating volume"
            gate(request)
            yield "Waiting for DNS"
            events.append("went on")
        finally:
            events.append("finally")

    def delete(request: Any) -> Any:
        events.append("delete")
        return Accepted() if deletion == "accepted" else None

    recorder.answers[CREATIONS[kind]] = steps
    recorder.answers[DELETIONS[kind]] = delete
    background = [CREATIONS[kind], *([DELETIONS[kind]] if deletion == "background" else [])]
    platform = serve(recorder, background=background)
    first = begin(platform, kind)
    gate.wait_until_reached()
    response = platform.delete(PATHS[kind], query=DELETE_AND_POLL)
    assert response.status_code == 202
    assert platform.delete(PATHS[kind], query=DELETE_AND_POLL).json == response.json
    assert last_operation(platform, PATHS[kind])["state"] == "in progress"
    assert not events
    gate.open()
    assert poll_until_done(platform, PATHS[kind], response.json["operation"])["state"] == "succeeded"
    assert events == ["finally", "delete"]
    assert last_operation(platform, PATHS[kind], first)["state"] == "failed"
    assert platform.get(PATHS[kind]).status_code == 404
    assert platform.delete(PATHS[kind], query=DELETE_QUERY).status_code == 410


@KINDS
@pytest.mark.parametrize("deletion", ["at once", "accepted", "background"])
def test_a_running_function_is_let_finish(serve: Serve, recorder: Recorder, kind: str, deletion: str) -> None:
    """The delete gets what it made."""
    gate = Gate(MADE[kind])
    recorder.answers[CREATIONS[kind]] = gate
    recorder.answers[DELETIONS[kind]] = Accepted() if deletion == "accepted" else None
    background = [CREATIONS[kind], *([DELETIONS[kind]] if deletion == "background" else [])]
    platform = serve(recorder, background=background)
    begin(platform, kind)
    gate.wait_until_reached()
    response = platform.delete(PATHS[kind], query=DELETE_AND_POLL)
    assert response.status_code == 202
    assert not deletes(recorder)
    gate.open()
    assert poll_until_done(platform, PATHS[kind], response.json["operation"])["state"] == "succeeded"
    assert [data_of(request) for request in deletes(recorder)] == [{"made": True}]


@KINDS
@pytest.mark.parametrize("deletion", ["at once", "accepted", "background"])
@pytest.mark.parametrize("ends", ["made", "accepted", "error"])
def test_a_synchronous_handler_is_let_finish(
    serve: Serve, recorder: Recorder, kind: str, deletion: str, ends: str
) -> None:
    """Another request's: that one is told that it was in vain."""
    answers = {"made": MADE[kind], "accepted": Accepted(data={"made": True}), "error": None}
    gate = Gate(answers[ends])

    def make(request: Any) -> Any:
        answer = gate(request)
        if answer is None:
            raise RuntimeError("inside")
        return answer

    recorder.answers[CREATIONS[kind]] = make
    recorder.answers[DELETIONS[kind]] = Accepted() if deletion == "accepted" else None
    platform = serve(recorder, background=[DELETIONS[kind]] if deletion == "background" else [])
    if kind == "binding":
        platform.put(INSTANCE, PROVISION)
    answered: list[Any] = []
    asking = threading.Thread(
        target=lambda: answered.append(platform.put(PATHS[kind], BODIES[kind], query=CAN_POLL))
    )
    asking.start()
    gate.wait_until_reached()
    response = platform.delete(PATHS[kind], query=DELETE_AND_POLL)
    assert response.status_code == 202
    assert not deletes(recorder)
    gate.open()
    asking.join(15)
    assert answered[0].status_code == (500 if ends == "error" else 422)
    assert poll_until_done(platform, PATHS[kind], response.json["operation"])["state"] == "succeeded"
    assert [data_of(request) for request in deletes(recorder)] == [{} if ends == "error" else {"made": True}]
    assert platform.delete(PATHS[kind], query=DELETE_QUERY).status_code == 410


@KINDS
def test_what_waits_in_retry_is_deleted_at_once(serve: Serve, recorder: Recorder, kind: str) -> None:
    """Nobody runs, so nobody is waited for."""
    recorder.answers[CREATIONS[kind]] = Retry(after=3600, description="Waiting for DNS")
    platform = serve(recorder, background=[CREATIONS[kind]])
    first = begin(platform, kind)
    until(lambda: last_operation(platform, PATHS[kind], first).get("description") == "Waiting for DNS")
    assert platform.delete(PATHS[kind], query=DELETE_QUERY).status_code == 200
    assert last_operation(platform, PATHS[kind])["state"] == "succeeded"
    assert last_operation(platform, PATHS[kind], first)["state"] == "failed"
    assert len(deletes(recorder)) == 1


@KINDS
def test_a_platform_that_cannot_poll_waits_for_what_runs(serve: Serve, recorder: Recorder, kind: str) -> None:
    """R-DEL-3 for a platform that can only be told when it is done."""
    gate = Gate(MADE[kind])
    recorder.answers[CREATIONS[kind]] = gate
    platform = serve(recorder, background=[CREATIONS[kind]])
    first = begin(platform, kind)
    gate.wait_until_reached()
    answered: list[Any] = []
    asking = threading.Thread(
        target=lambda: answered.append(platform.delete(PATHS[kind], query=DELETE_QUERY))
    )
    asking.start()
    until(lambda: last_operation(platform, PATHS[kind], first)["state"] == "failed")
    assert not deletes(recorder)
    gate.open()
    asking.join(15)
    assert answered[0].status_code == 200
    assert [data_of(request) for request in deletes(recorder)] == [{"made": True}]


@KINDS
def test_it_goes_on_if_the_delete_could_never_be_done(serve: Serve, recorder: Recorder, kind: str) -> None:
    """R-REQ-8: a DELETE that gets 422 AsyncRequired ends nothing."""
    gate = Gate(MADE[kind])
    recorder.answers[CREATIONS[kind]] = gate
    platform = serve(recorder, background=[CREATIONS[kind], DELETIONS[kind]])
    first = begin(platform, kind)
    gate.wait_until_reached()
    response = platform.delete(PATHS[kind], query=DELETE_QUERY)
    assert (response.status_code, error_of(response)["error"]) == (422, "AsyncRequired")
    gate.open()
    assert poll_until_done(platform, PATHS[kind], first) == {"state": "succeeded"}
    assert platform.get(PATHS[kind]).status_code == 200


@KINDS
def test_a_delete_that_fails_after_a_halt_can_be_sent_again(
    serve: Serve, recorder: Recorder, kind: str
) -> None:
    """R-DEL-5: what was halted cannot be used, and the next DELETE reaches the handler."""
    recorder.answers[CREATIONS[kind]] = Accepted()
    recorder.answers[DELETIONS[kind]] = RuntimeError("inside")
    platform = serve(recorder)
    begin(platform, kind)
    assert platform.delete(PATHS[kind], query=DELETE_QUERY).status_code == 500
    assert platform.get(PATHS[kind]).status_code == 404
    assert platform.put(PATHS[kind], BODIES[kind], query=CAN_POLL).status_code == 409
    recorder.answers[DELETIONS[kind]] = None
    assert platform.delete(PATHS[kind], query=DELETE_QUERY).status_code == 200


def test_nothing_else_is_let_in_while_what_was_halted_still_runs(serve: Serve, recorder: Recorder) -> None:
    """Never two handlers at a time for one instance."""
    gate = Gate(MADE["instance"])
    recorder.answers["provision"] = gate
    platform = serve(recorder, background=["provision"])
    begin(platform, "instance")
    gate.wait_until_reached()
    platform.delete(INSTANCE, query=DELETE_AND_POLL)
    assert platform.put(INSTANCE, PROVISION, query=CAN_POLL).status_code == 422
    assert platform.put(BINDING, IDS, query=CAN_POLL).status_code == 422
    assert platform.patch(INSTANCE, {**IDS, "parameters": {"size": 1}}, query=CAN_POLL).status_code == 422
    assert len(recorder.requests) == 1
    gate.open()
    assert poll_until_done(platform, INSTANCE)["state"] == "succeeded"
