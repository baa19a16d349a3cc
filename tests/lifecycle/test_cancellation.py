"""A DELETE of a resource that is being created cancels the creation (R-DEL-3, R-UNB-3)."""

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


@pytest.mark.rule("R-DEL-3", "R-UNB-3")
@KINDS
def test_delete_cancels_accepted_creation(platform: Platform, recorder: Recorder, kind: str) -> None:
    """The delete handler gets the data of the creation. The creation is reported as failed."""
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


@pytest.mark.rule("R-DEL-3", "R-UNB-3")
@KINDS
def test_synchronous_delete_cancels_accepted_creation(
    platform: Platform, recorder: Recorder, kind: str
) -> None:
    recorder.answers[CREATIONS[kind]] = Accepted()
    begin(platform, kind)
    assert platform.delete(PATHS[kind], query=DELETE_QUERY).status_code == 200
    assert last_operation(platform, PATHS[kind]) == {"state": "succeeded"}


@pytest.mark.rule("R-DEL-3", "R-UNB-3")
@KINDS
@pytest.mark.parametrize("deletion", ["synchronous", "accepted", "background"])
def test_delete_closes_generator_at_next_yield(
    serve: Serve, recorder: Recorder, kind: str, deletion: str
) -> None:
    """The generator's `finally` block runs before the delete handler. Polls report the delete."""
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


@pytest.mark.rule("R-DEL-3", "R-UNB-3")
@KINDS
@pytest.mark.parametrize("deletion", ["synchronous", "accepted", "background"])
def test_delete_waits_for_background_function(
    serve: Serve, recorder: Recorder, kind: str, deletion: str
) -> None:
    """The delete handler runs after the function has returned and gets its result."""
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


@pytest.mark.rule("R-DEL-3", "R-UNB-3")
@KINDS
@pytest.mark.parametrize("deletion", ["synchronous", "accepted", "background"])
@pytest.mark.parametrize("ends", ["made", "accepted", "error"])
def test_delete_waits_for_synchronous_handler(
    serve: Serve, recorder: Recorder, kind: str, deletion: str, ends: str
) -> None:
    """The request of the running handler gets 422 or 500. The delete handler gets its result."""
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


@pytest.mark.rule("R-DEL-3", "R-UNB-3")
@KINDS
def test_delete_of_waiting_retry_runs_immediately(serve: Serve, recorder: Recorder, kind: str) -> None:
    """No handler runs between attempts, so a platform that cannot poll gets 200."""
    recorder.answers[CREATIONS[kind]] = Retry(after=3600, description="Waiting for DNS")
    platform = serve(recorder, background=[CREATIONS[kind]])
    first = begin(platform, kind)
    until(lambda: last_operation(platform, PATHS[kind], first).get("description") == "Waiting for DNS")
    assert platform.delete(PATHS[kind], query=DELETE_QUERY).status_code == 200
    assert last_operation(platform, PATHS[kind])["state"] == "succeeded"
    assert last_operation(platform, PATHS[kind], first)["state"] == "failed"
    assert len(deletes(recorder)) == 1


@pytest.mark.rule("R-DEL-3", "R-UNB-3")
@KINDS
def test_synchronous_delete_waits_for_running_handler(serve: Serve, recorder: Recorder, kind: str) -> None:
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


@pytest.mark.rule("R-REQ-8", "R-DEL-2", "R-UNB-2")
@KINDS
def test_refused_delete_cancels_nothing(serve: Serve, recorder: Recorder, kind: str) -> None:
    """A DELETE that gets 422 AsyncRequired does not cancel the creation."""
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


@pytest.mark.rule("R-DEL-5", "R-UNB-5")
@KINDS
def test_failed_delete_after_cancellation_can_be_repeated(
    serve: Serve, recorder: Recorder, kind: str
) -> None:
    """The cancelled resource cannot be used, and the next DELETE calls the handler."""
    recorder.answers[CREATIONS[kind]] = Accepted()
    recorder.answers[DELETIONS[kind]] = RuntimeError("inside")
    platform = serve(recorder)
    begin(platform, kind)
    assert platform.delete(PATHS[kind], query=DELETE_QUERY).status_code == 500
    assert platform.get(PATHS[kind]).status_code == 404
    assert platform.put(PATHS[kind], BODIES[kind], query=CAN_POLL).status_code == 409
    recorder.answers[DELETIONS[kind]] = None
    assert platform.delete(PATHS[kind], query=DELETE_QUERY).status_code == 200


@pytest.mark.rule("R-DEL-3")
def test_cancelled_handler_blocks_other_operations(serve: Serve, recorder: Recorder) -> None:
    """Other requests are 422 until the cancelled handler has finished, so two handlers never run for one
    instance.
    """
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
