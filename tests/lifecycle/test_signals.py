"""Signals of a broker with a store: each event is sent once, after it is stored."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import pytest

from brokerkit import (
    Accepted,
    Binding,
    BindingDoesNotExist,
    InstanceDoesNotExist,
    LastOperation,
    Provisioned,
    QuotaExceeded,
    Retry,
    signals,
)

from ..support.broker import BINDING, DELETE_QUERY, IDS, INSTANCE, PROVISION, Recorder
from ..support.stateful import (
    CAN_POLL,
    CHANGING,
    DELETE_AND_POLL,
    Answer,
    Platform,
    SentSignals,
    Serve,
    last_operation,
    poll_until_done,
    quick_offering,
    until,
)

UPDATE = {**IDS, "parameters": {"size": 5}}


def live(platform: Platform) -> None:
    platform.put(INSTANCE, PROVISION)
    platform.patch(INSTANCE, UPDATE)
    platform.put(BINDING, IDS)
    platform.delete(BINDING, query=DELETE_QUERY)
    platform.delete(INSTANCE, query=DELETE_QUERY)


def test_synchronous_lifecycle_sends_one_signal_each(platform: Platform, sent_signals: SentSignals) -> None:
    """Each synchronous operation sends one signal with its own request."""
    live(platform)
    assert sent_signals.names == ["provisioned", "updated", "bound", "unbound", "deprovisioned"]
    assert [type(request).__name__ for _, request, _ in sent_signals.facts] == [
        "ProvisionRequest",
        "UpdateRequest",
        "BindRequest",
        "UnbindRequest",
        "DeprovisionRequest",
    ]


def test_repeated_requests_send_no_signals(platform: Platform, sent_signals: SentSignals) -> None:
    """Repeated, conflicting, fetching and polling requests send no signals."""
    for _ in range(3):
        platform.put(INSTANCE, PROVISION)
        platform.patch(INSTANCE, UPDATE)
    assert sent_signals.names == ["provisioned", "updated"]
    sent_signals.take()
    for _ in range(3):
        platform.put(BINDING, IDS)
        platform.put(BINDING, {**IDS, "plan_id": "large-id"})
        platform.get(BINDING)
        platform.get(INSTANCE)
        last_operation(platform, BINDING)
    assert sent_signals.names == ["bound"]
    sent_signals.take()
    for path in (BINDING, INSTANCE):
        platform.delete(path, query=DELETE_QUERY)
        platform.delete(path, query=DELETE_QUERY)
    assert sent_signals.names == ["unbound", "deprovisioned"]


def test_existing_resources_send_no_signals(
    platform: Platform, recorder: Recorder, sent_signals: SentSignals
) -> None:
    """`exists=True` in the result of a synchronous handler sends no signal."""
    recorder.answers["provision"] = Provisioned(exists=True)
    recorder.answers["bind"] = Binding(credentials={}, exists=True)
    platform.put(INSTANCE, PROVISION)
    platform.put(BINDING, IDS)
    assert sent_signals.names == []


@pytest.mark.parametrize("answer", [QuotaExceeded(), ValueError("inside")], ids=repr)
def test_failed_synchronous_operations_send_no_success_signals(
    platform: Platform, recorder: Recorder, sent_signals: SentSignals, answer: Any
) -> None:
    for operation in CHANGING:
        recorder.answers[operation] = answer
    live(platform)
    assert not {"provisioned", "updated", "bound", "unbound", "deprovisioned"} & set(sent_signals.names[:-1])


def test_accepted_operation_sends_signals_once(
    platform: Platform, recorder: Recorder, sent_signals: SentSignals
) -> None:
    """Signals carry the original request, not the poll, and repeated requests and polls send no further
    signals.
    """
    recorder.answers["provision"] = Accepted(operation="job 7")
    recorder.answers["last_operation"] = LastOperation.in_progress("Half of it")
    body = {**PROVISION, "parameters": {"size": 3}, "vendor_field": 1}
    for _ in range(2):
        platform.put(INSTANCE, body, query=CAN_POLL)
    last_operation(platform, INSTANCE)
    recorder.answers["last_operation"] = LastOperation.succeeded(result=Provisioned(data={"n": 1}))
    for _ in range(2):
        last_operation(platform, INSTANCE)
    assert sent_signals.names == ["operation_started", "operation_progressed", "provisioned"]
    for _, request, _ in sent_signals.facts:
        assert type(request).__name__ == "ProvisionRequest"
        assert (request.instance_id, request.parameters, request.body) == ("i1", {"size": 3}, body)
        assert request.plan.id == "small-id"
    assert sent_signals.facts[-1][2] == Provisioned(data={"n": 1})


def test_failed_accepted_operation_sends_operation_failed(
    platform: Platform, recorder: Recorder, sent_signals: SentSignals
) -> None:
    recorder.answers["provision"] = Accepted()
    recorder.answers["last_operation"] = LastOperation.failed("No room")
    platform.put(INSTANCE, PROVISION, query=CAN_POLL)
    for _ in range(2):
        last_operation(platform, INSTANCE)
    assert sent_signals.names == ["operation_started", "operation_failed"]
    assert sent_signals.facts[-1][2].description == "No room"


def test_background_lifecycle_sends_signals(
    serve: Serve, recorder: Recorder, sent_signals: SentSignals
) -> None:
    """Each background operation sends operation_started and one completion signal with its own request."""
    platform = serve(recorder, background=CHANGING)
    steps: list[tuple[str, Callable[[], Answer]]] = [
        (INSTANCE, lambda: platform.put(INSTANCE, PROVISION, query=CAN_POLL)),
        (INSTANCE, lambda: platform.patch(INSTANCE, UPDATE, query=CAN_POLL)),
        (BINDING, lambda: platform.put(BINDING, IDS, query=CAN_POLL)),
        (BINDING, lambda: platform.delete(BINDING, query=DELETE_AND_POLL)),
        (INSTANCE, lambda: platform.delete(INSTANCE, query=DELETE_AND_POLL)),
    ]
    for number, (path, ask) in enumerate(steps, 1):
        poll_until_done(platform, path, ask().json["operation"])
        until(partial(lambda number: len(sent_signals.facts) >= 2 * number, number))
    assert [name for name in sent_signals.names if name != "operation_started"] == [
        "provisioned",
        "updated",
        "bound",
        "unbound",
        "deprovisioned",
    ]
    assert sent_signals.names.count("operation_started") == 5
    assert [
        type(request).__name__ for name, request, _ in sent_signals.facts if name != "operation_started"
    ] == [
        "ProvisionRequest",
        "UpdateRequest",
        "BindRequest",
        "UnbindRequest",
        "DeprovisionRequest",
    ]


def test_background_progress_sends_signals(
    serve: Serve, recorder: Recorder, sent_signals: SentSignals
) -> None:
    """Yields and retries send operation_progressed with the original request and the attempt number."""

    def steps(request: Any) -> Generator[str, None, Provisioned]:
        yield "Creating volume"
        if request.attempt == 1:
            raise Retry(after=0.01, description="Waiting for DNS")
        return Provisioned(data={"n": 1})

    recorder.answers["provision"] = steps
    platform = serve(recorder, background=["provision"])
    body = {**PROVISION, "parameters": {"size": 3}}
    operation = platform.put(INSTANCE, body, query=CAN_POLL).json["operation"]
    poll_until_done(platform, INSTANCE, operation)
    until(lambda: "provisioned" in sent_signals.names)
    facts = [fact for fact in sent_signals.facts if fact[0] != "operation_started"]
    assert [(name, getattr(result, "description", None)) for name, _, result in facts] == [
        ("operation_progressed", "Creating volume"),
        ("operation_progressed", "Waiting for DNS"),
        ("operation_progressed", "Creating volume"),
        ("provisioned", None),
    ]
    assert [request.attempt for _, request, _ in facts] == [1, 1, 2, 2]
    assert {request.parameters["size"] for _, request, _ in facts} == {3}
    assert facts[-1][2].data == {"n": 1}


@pytest.mark.parametrize("mode", ["error", "too long"])
def test_failed_background_operation_sends_operation_failed(
    serve: Serve, recorder: Recorder, sent_signals: SentSignals, mode: str
) -> None:
    """An error or an exceeded deadline sends operation_failed once."""
    recorder.answers["provision"] = QuotaExceeded("Used up") if mode == "error" else Retry(after=3600)
    platform = serve(recorder, quick_offering(), background=["provision"], lease=3.0)
    platform.put(INSTANCE, PROVISION, query=CAN_POLL)
    poll_until_done(platform, INSTANCE)
    until(lambda: "operation_failed" in sent_signals.names)
    assert sent_signals.names.count("operation_failed") == 1
    _, request, result = next(fact for fact in sent_signals.facts if fact[0] == "operation_failed")
    assert (type(request).__name__, request.instance_id, result.state) == ("ProvisionRequest", "i1", "failed")


@pytest.mark.rule("R-DEL-3")
def test_cancelled_provision_sends_failed_and_deprovisioned(
    platform: Platform, recorder: Recorder, sent_signals: SentSignals
) -> None:
    """A DELETE during a provision sends operation_failed for the provision, then deprovisioned."""
    recorder.answers["provision"] = Accepted()
    platform.put(INSTANCE, PROVISION, query=CAN_POLL)
    platform.delete(INSTANCE, query=DELETE_QUERY)
    assert sent_signals.names == ["operation_started", "operation_failed", "deprovisioned"]


@pytest.mark.parametrize("mode", ["synchronous", "accepted", "background"])
@pytest.mark.parametrize(("path", "operation"), [(INSTANCE, "deprovision"), (BINDING, "unbind")])
def test_missing_resource_sends_deletion_signal(
    serve: Serve, recorder: Recorder, sent_signals: SentSignals, path: str, operation: str, mode: str
) -> None:
    """DoesNotExist during a delete sends the deletion signal, whether it runs synchronously, accepted or in
    the background.
    """
    gone = InstanceDoesNotExist() if path == INSTANCE else BindingDoesNotExist()
    platform = serve(recorder, background=[operation] if mode == "background" else [])
    platform.put(INSTANCE, PROVISION)
    platform.put(BINDING, IDS)
    recorder.answers[operation] = Accepted() if mode == "accepted" else gone
    recorder.answers["last_operation"] = recorder.answers["last_binding_operation"] = gone
    sent_signals.take()
    response = platform.delete(path, query=DELETE_QUERY if mode == "synchronous" else DELETE_AND_POLL)
    if mode != "synchronous":
        poll_until_done(platform, path, response.json["operation"])
        until(lambda: len(sent_signals.facts) >= 2)
    assert [name for name in sent_signals.names if name != "operation_started"] == [
        "deprovisioned" if path == INSTANCE else "unbound"
    ]


@pytest.mark.parametrize("background", [False, True])
def test_signals_are_sent_after_commit(serve: Serve, recorder: Recorder, background: bool) -> None:
    """When a receiver is called, another process already sees the change."""
    platform = serve(recorder, background=CHANGING if background else [])
    other = serve(recorder)
    statuses: list[tuple[str, int]] = []

    def look(sender: object, request: Any, **extra: Any) -> None:
        path = f"{INSTANCE}/service_bindings/b1" if hasattr(request, "binding_id") else INSTANCE
        statuses.append((type(request).__name__, other.get(path).status_code))

    done = (signals.provisioned, signals.updated, signals.bound, signals.unbound, signals.deprovisioned)
    for signal in done:
        signal.connect(look)
    try:
        query = CAN_POLL if background else ""
        deletion = DELETE_AND_POLL if background else DELETE_QUERY
        platform.put(INSTANCE, PROVISION, query=query)
        until(lambda: len(statuses) == 1)
        platform.patch(INSTANCE, UPDATE, query=query)
        until(lambda: len(statuses) == 2)
        platform.put(BINDING, IDS, query=query)
        until(lambda: len(statuses) == 3)
        platform.delete(BINDING, query=deletion)
        until(lambda: len(statuses) == 4)
        platform.delete(INSTANCE, query=deletion)
        until(lambda: len(statuses) == 5)
    finally:
        for signal in done:
            signal.disconnect(look)
    assert statuses == [
        ("ProvisionRequest", 200),
        ("UpdateRequest", 200),
        ("BindRequest", 200),
        ("UnbindRequest", 404),
        ("DeprovisionRequest", 404),
    ]


def test_failing_receiver_does_not_fail_request(platform: Platform) -> None:
    def fail(sender: object, **extra: Any) -> None:
        raise ValueError("inside")

    with signals.provisioned.connected_to(fail):
        assert platform.put(INSTANCE, PROVISION).status_code == 201
    assert platform.get(INSTANCE).status_code == 200
