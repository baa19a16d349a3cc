"""Signals of background work: the operation, its duration, and each attempt."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest

from brokerkit import Accepted, LastOperation, Operation, Provisioned, QuotaExceeded, Retry, signals
from brokerkit._context import CURRENT_CALL
from brokerkit.background.executors import ThreadExecutor
from brokerkit.signals import AttemptEnd
from brokerkit.store.errors import StoreUnavailable

from ..support.broker import BINDING, DELETE_QUERY, IDS, INSTANCE, PROVISION, Recorder
from ..support.stateful import (
    CAN_POLL,
    DELETE_AND_POLL,
    LIFECYCLE_SIGNALS,
    Platform,
    Serve,
    last_operation,
    poll_until_done,
    until,
)

ATTEMPTS = {"attempt_started": signals.attempt_started, "attempt_finished": signals.attempt_finished}


class Fact(NamedTuple):
    """A signal with its fields and its thread."""

    name: str
    fields: dict[str, Any]
    thread: int


@pytest.fixture
def facts() -> Iterator[list[Fact]]:
    """All signals of operations and attempts."""
    received: list[Fact] = []
    with ExitStack() as stack:
        for name, signal in {**LIFECYCLE_SIGNALS, **ATTEMPTS}.items():

            def receive(sender: object, name: str = name, **fields: Any) -> None:
                received.append(Fact(name, fields, threading.get_ident()))

            stack.enter_context(signal.connected_to(receive))
        yield received


def ends(facts: list[Fact]) -> list[AttemptEnd]:
    return [fact.fields["end"] for fact in facts if fact.name == "attempt_finished"]


def begin(platform: Platform) -> str:
    operation: str = platform.put(INSTANCE, PROVISION, query=CAN_POLL).json["operation"]
    return operation


# Of which operation, and for how long


def test_synchronous_signals_carry_operation_id(platform: Platform, facts: list[Fact]) -> None:
    """Lifecycle signals and request_finished have the same operation id, the operation and its duration."""
    finished: list[dict[str, Any]] = []

    def receive(sender: object, **fields: Any) -> None:
        finished.append(fields)

    with signals.request_finished.connected_to(receive):
        platform.put(INSTANCE, PROVISION)
        platform.patch(INSTANCE, {**IDS, "parameters": {"size": 5}})
        platform.put(BINDING, IDS)
        platform.delete(BINDING, query=DELETE_QUERY)
        platform.delete(INSTANCE, query=DELETE_QUERY)
    assert [fact.fields["operation"] for fact in facts] == [
        Operation.PROVISION,
        Operation.UPDATE,
        Operation.BIND,
        Operation.UNBIND,
        Operation.DEPROVISION,
    ]
    ids = [fact.fields["operation_id"] for fact in facts]
    assert len(set(ids)) == 5
    assert [fields["operation_id"] for fields in finished] == ids
    assert all(0 <= fact.fields["seconds"] < 60 for fact in facts)


def test_poll_signals_carry_original_operation(
    platform: Platform, recorder: Recorder, facts: list[Fact]
) -> None:
    """Signals sent by a poll name the provision with its operation id and its duration."""
    recorder.answers["provision"] = Accepted(operation="job 7")
    recorder.answers["last_operation"] = LastOperation.in_progress("Half of it")
    operation = begin(platform)
    last_operation(platform, INSTANCE)
    recorder.answers["last_operation"] = LastOperation.succeeded()
    last_operation(platform, INSTANCE)
    assert [(fact.name, fact.fields["operation"], fact.fields["operation_id"]) for fact in facts] == [
        ("operation_started", Operation.PROVISION, operation),
        ("operation_progressed", Operation.PROVISION, operation),
        ("provisioned", Operation.PROVISION, operation),
    ]
    taken = [fact.fields["seconds"] for fact in facts]
    assert 0 <= taken[1] <= taken[2] < 60


@pytest.mark.rule("R-PROV-4")
def test_request_finished_carries_running_operation_id(platform: Platform, recorder: Recorder) -> None:
    """A repeated PUT and a poll report the id of the running operation."""
    recorder.answers["provision"] = Accepted()
    recorder.answers["last_operation"] = LastOperation.in_progress()
    operation_ids: list[str | None] = []

    def receive(sender: object, operation_id: str | None, **extra: Any) -> None:
        operation_ids.append(operation_id)

    with signals.request_finished.connected_to(receive):
        operation = begin(platform)
        begin(platform)
        last_operation(platform, INSTANCE)
        platform.get("/v2/catalog")
    assert operation_ids == [operation, operation, operation, None]


# Attempts


@pytest.mark.rule("R-REQ-5")
def test_attempt_signals_are_sent_in_worker_thread(
    serve: Serve, recorder: Recorder, facts: list[Fact]
) -> None:
    """All signals of an attempt come from one worker thread, with the attempt number, the error and the trace
    context.
    """

    def steps(request: Any) -> Generator[str, None, Provisioned]:
        yield "Creating volume"
        if request.attempt == 1:
            raise Retry(after=0.01)
        return Provisioned()

    recorder.answers["provision"] = steps
    platform = serve(recorder, background=["provision"])
    headers = {"Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    operation = platform.put(INSTANCE, PROVISION, query=CAN_POLL, headers=headers).json["operation"]
    poll_until_done(platform, INSTANCE, operation)
    until(lambda: len(ends(facts)) == 2)
    attempts = [fact for fact in facts if fact.name != "operation_started"]
    assert [fact.name for fact in attempts] == [
        "attempt_started",
        "operation_progressed",
        "operation_progressed",
        "attempt_finished",
        "attempt_started",
        "operation_progressed",
        "provisioned",
        "attempt_finished",
    ]
    assert ends(facts) == [AttemptEnd.RETRIED, AttemptEnd.SUCCEEDED]
    assert {fact.fields["operation_id"] for fact in facts} == {operation}
    assert {fact.fields["operation"] for fact in facts} == {Operation.PROVISION}
    assert [fact.fields["request"].attempt for fact in attempts] == [1] * 4 + [2] * 4
    for number in (1, 2):
        threads = {fact.thread for fact in attempts if fact.fields["request"].attempt == number}
        assert len(threads) == 1
        assert threading.get_ident() not in threads
    first, second = (fact.fields for fact in facts if fact.name == "attempt_finished")
    assert isinstance(first["error"], Retry)
    assert second["error"] is None
    assert 0 <= second["seconds"] < 60
    assert attempts[-1].fields["request"].headers.trace_context == {"traceparent": headers["Traceparent"]}


@pytest.mark.parametrize(
    ("answer", "end", "error"),
    [
        (Provisioned(), AttemptEnd.SUCCEEDED, type(None)),
        (QuotaExceeded(), AttemptEnd.FAILED, QuotaExceeded),
        (ValueError("inside"), AttemptEnd.FAILED, ValueError),
        (Accepted(), AttemptEnd.ACCEPTED, type(None)),
    ],
    ids=["done", "refused", "broken", "accepted"],
)
def test_attempt_finished_reports_end_and_error(
    serve: Serve, recorder: Recorder, facts: list[Fact], answer: Any, end: AttemptEnd, error: type
) -> None:
    recorder.answers["provision"] = answer
    begin(serve(recorder, background=["provision"]))
    until(lambda: bool(ends(facts)))
    assert ends(facts) == [end]
    assert type(facts[-1].fields["error"]) is error


def test_background_exists_result_sends_provisioned(
    serve: Serve, recorder: Recorder, facts: list[Fact]
) -> None:
    """After a 202 the background handler's `exists=True` still sends provisioned."""
    recorder.answers["provision"] = Provisioned(exists=True)
    begin(serve(recorder, background=["provision"]))
    until(lambda: bool(ends(facts)))
    assert [fact.fields["result"] for fact in facts if fact.name == "provisioned"] == [Provisioned()]


@pytest.mark.rule("R-DEL-3")
@pytest.mark.parametrize("way", ["yields", "returns", "raises"])
def test_attempt_of_cancelled_operation_is_given_up(
    serve: Serve, recorder: Recorder, facts: list[Fact], way: str
) -> None:
    """Whether the handler yields, returns or raises after the DELETE, the attempt ends as GIVEN_UP."""
    entered, released = threading.Event(), threading.Event()

    def steps(request: Any) -> Generator[str, None, Provisioned]:
        entered.set()
        released.wait(30)
        if way == "yields":
            yield "Creating volume"
        if way == "raises":
            raise ValueError("inside")
        return Provisioned()

    recorder.answers["provision"] = steps
    platform = serve(recorder, background=["provision"])
    begin(platform)
    assert entered.wait(30)
    platform.delete(INSTANCE, query=DELETE_AND_POLL)
    released.set()
    until(lambda: AttemptEnd.CANCELLED in ends(facts))
    until(lambda: any(fact.name == "deprovisioned" for fact in facts))


def test_attempt_is_handed_over_on_shutdown(serve: Serve, recorder: Recorder, facts: list[Fact]) -> None:
    entered, released = threading.Event(), threading.Event()

    def steps(request: Any) -> Generator[str, None, Provisioned]:
        entered.set()
        released.wait(30)
        yield "Creating volume"
        return Provisioned()

    recorder.answers["provision"] = steps
    begin(serve(recorder, background=["provision"]))
    assert entered.wait(30)
    running = serve.brokers[-1]._runtime
    assert running is not None
    running.drain()
    released.set()
    until(lambda: bool(ends(facts)))
    assert ends(facts) == [AttemptEnd.REQUEUED]


def test_attempt_is_interrupted_when_store_is_unavailable(
    serve: Serve, recorder: Recorder, facts: list[Fact], monkeypatch: pytest.MonkeyPatch
) -> None:
    """attempt_finished reports INTERRUPTED with StoreUnavailable when the outcome cannot be written before
    the grace period ends.
    """
    platform = serve(recorder, background=["provision"], executor=ThreadExecutor(grace=0.1))
    running = serve.brokers[-1]._runtime
    assert running is not None

    def away(*_: object) -> bool:
        running.stopping.set()
        raise StoreUnavailable

    monkeypatch.setattr(running.store, "end", away)
    begin(platform)
    until(lambda: bool(ends(facts)))
    assert ends(facts) == [AttemptEnd.INTERRUPTED]
    assert isinstance(facts[-1].fields["error"], StoreUnavailable)


# What a thread is at


@pytest.mark.parametrize("background", [False, True], ids=["inline", "background"])
def test_handler_runs_with_call_context(serve: Serve, recorder: Recorder, background: bool) -> None:
    """The call context has the operation, its ids and the request. It is cleared afterwards."""
    contexts: list[tuple[Any, ...]] = []

    def look(request: Any) -> Provisioned:
        current = CURRENT_CALL.get()
        assert current is not None
        ids = (current.operation, current.instance_id, current.binding_id, current.operation_id)
        contexts.append((*ids, current.is_attempt, current.request == request))
        return Provisioned()

    recorder.answers["provision"] = look
    platform = serve(recorder, background=["provision"] if background else [])
    platform.put(INSTANCE, PROVISION, query=CAN_POLL)
    until(lambda: bool(contexts))
    ((operation, instance_id, binding_id, operation_id, is_attempt, is_same),) = contexts
    assert (operation, instance_id, binding_id) == (Operation.PROVISION, "i1", None)
    assert operation_id
    assert is_attempt is background
    assert is_same
    assert CURRENT_CALL.get() is None
