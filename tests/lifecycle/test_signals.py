"""What the signals tell of a broker that remembers: each fact once, after it is durable."""

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
    Serve,
    Told,
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


def test_a_whole_life_at_once(platform: Platform, told: Told) -> None:
    live(platform)
    assert told.names == ["provisioned", "updated", "bound", "unbound", "deprovisioned"]
    assert [type(request).__name__ for _, request, _ in told.facts] == [
        "ProvisionRequest",
        "UpdateRequest",
        "BindRequest",
        "UnbindRequest",
        "DeprovisionRequest",
    ]


def test_repeats_tell_nothing(platform: Platform, told: Told) -> None:
    for _ in range(3):
        platform.put(INSTANCE, PROVISION)
        platform.patch(INSTANCE, UPDATE)
    assert told.names == ["provisioned", "updated"]
    told.take()
    for _ in range(3):
        platform.put(BINDING, IDS)
        platform.put(BINDING, {**IDS, "plan_id": "large-id"})
        platform.get(BINDING)
        platform.get(INSTANCE)
        last_operation(platform, BINDING)
    assert told.names == ["bound"]
    told.take()
    for path in (BINDING, INSTANCE):
        platform.delete(path, query=DELETE_QUERY)
        platform.delete(path, query=DELETE_QUERY)
    assert told.names == ["unbound", "deprovisioned"]


def test_what_was_there_already_tells_nothing(platform: Platform, recorder: Recorder, told: Told) -> None:
    recorder.answers["provision"] = Provisioned(exists=True)
    recorder.answers["bind"] = Binding(credentials={}, exists=True)
    platform.put(INSTANCE, PROVISION)
    platform.put(BINDING, IDS)
    assert told.names == []


@pytest.mark.parametrize("answer", [QuotaExceeded(), ValueError("inside")], ids=repr)
def test_refusals_and_errors_at_once_tell_nothing_of_what_was_not_done(
    platform: Platform, recorder: Recorder, told: Told, answer: Any
) -> None:
    for operation in CHANGING:
        recorder.answers[operation] = answer
    live(platform)
    assert not {"provisioned", "updated", "bound", "unbound", "deprovisioned"} & set(told.names[:-1])


def test_what_was_accepted(platform: Platform, recorder: Recorder, told: Told) -> None:
    """The one that asked is told of, not the poll; and it is told once."""
    recorder.answers["provision"] = Accepted(operation="job 7")
    recorder.answers["last_operation"] = LastOperation.in_progress("Half of it")
    body = {**PROVISION, "parameters": {"size": 3}, "vendor_field": 1}
    for _ in range(2):
        platform.put(INSTANCE, body, query=CAN_POLL)
    last_operation(platform, INSTANCE)
    recorder.answers["last_operation"] = LastOperation.succeeded(result=Provisioned(data={"n": 1}))
    for _ in range(2):
        last_operation(platform, INSTANCE)
    assert told.names == ["operation_started", "operation_progressed", "provisioned"]
    for _, request, _ in told.facts:
        assert type(request).__name__ == "ProvisionRequest"
        assert (request.instance_id, request.parameters, request.body) == ("i1", {"size": 3}, body)
        assert request.plan.id == "small-id"
    assert told.facts[-1][2] == Provisioned(data={"n": 1})


def test_what_was_accepted_and_failed(platform: Platform, recorder: Recorder, told: Told) -> None:
    recorder.answers["provision"] = Accepted()
    recorder.answers["last_operation"] = LastOperation.failed("No room")
    platform.put(INSTANCE, PROVISION, query=CAN_POLL)
    for _ in range(2):
        last_operation(platform, INSTANCE)
    assert told.names == ["operation_started", "operation_failed"]
    assert told.facts[-1][2].description == "No room"


def test_a_whole_life_in_the_background(serve: Serve, recorder: Recorder, told: Told) -> None:
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
        until(partial(lambda number: len(told.facts) >= 2 * number, number))
    assert [name for name in told.names if name != "operation_started"] == [
        "provisioned",
        "updated",
        "bound",
        "unbound",
        "deprovisioned",
    ]
    assert told.names.count("operation_started") == 5
    assert [type(request).__name__ for name, request, _ in told.facts if name != "operation_started"] == [
        "ProvisionRequest",
        "UpdateRequest",
        "BindRequest",
        "UnbindRequest",
        "DeprovisionRequest",
    ]


def test_progress_in_the_background(serve: Serve, recorder: Recorder, told: Told) -> None:
    """With the request that began it, in each attempt."""

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
    until(lambda: "provisioned" in told.names)
    facts = [fact for fact in told.facts if fact[0] != "operation_started"]
    assert [(name, getattr(result, "description", None)) for name, _, result in facts] == [
        ("operation_progressed", "Creating volume"),
        ("operation_progressed", "Waiting for DNS"),
        ("operation_progressed", "Creating volume"),
        ("provisioned", None),
    ]
    assert [request.attempt for _, request, _ in facts] == [1, 1, 2, 2]
    assert {request.parameters["size"] for _, request, _ in facts} == {3}
    assert facts[-1][2].data == {"n": 1}


@pytest.mark.parametrize("way", ["error", "too long"])
def test_a_failure_in_the_background(serve: Serve, recorder: Recorder, told: Told, way: str) -> None:
    recorder.answers["provision"] = QuotaExceeded("Used up") if way == "error" else Retry(after=3600)
    platform = serve(recorder, quick_offering(), background=["provision"], lease=3.0)
    platform.put(INSTANCE, PROVISION, query=CAN_POLL)
    poll_until_done(platform, INSTANCE)
    until(lambda: "operation_failed" in told.names)
    assert told.names.count("operation_failed") == 1
    _, request, result = next(fact for fact in told.facts if fact[0] == "operation_failed")
    assert (type(request).__name__, request.instance_id, result.state) == ("ProvisionRequest", "i1", "failed")


def test_what_was_halted(platform: Platform, recorder: Recorder, told: Told) -> None:
    """R-DEL-3: the making failed, and the deletion is told of as any other."""
    recorder.answers["provision"] = Accepted()
    platform.put(INSTANCE, PROVISION, query=CAN_POLL)
    platform.delete(INSTANCE, query=DELETE_QUERY)
    assert told.names == ["operation_started", "operation_failed", "deprovisioned"]


@pytest.mark.parametrize("way", ["at once", "accepted", "background"])
@pytest.mark.parametrize(("path", "operation"), [(INSTANCE, "deprovision"), (BINDING, "unbind")])
def test_what_the_handler_found_gone_is_told_of_as_deleted(
    serve: Serve, recorder: Recorder, told: Told, path: str, operation: str, way: str
) -> None:
    """It is no more from then on, so who counts what there is must hear of it, whichever way it works."""
    gone = InstanceDoesNotExist() if path == INSTANCE else BindingDoesNotExist()
    platform = serve(recorder, background=[operation] if way == "background" else [])
    platform.put(INSTANCE, PROVISION)
    platform.put(BINDING, IDS)
    recorder.answers[operation] = Accepted() if way == "accepted" else gone
    recorder.answers["last_operation"] = recorder.answers["last_binding_operation"] = gone
    told.take()
    response = platform.delete(path, query=DELETE_QUERY if way == "at once" else DELETE_AND_POLL)
    if way != "at once":
        poll_until_done(platform, path, response.json["operation"])
        until(lambda: len(told.facts) >= 2)
    assert [name for name in told.names if name != "operation_started"] == [
        "deprovisioned" if path == INSTANCE else "unbound"
    ]


@pytest.mark.parametrize("background", [False, True])
def test_they_are_sent_after_the_fact_is_durable(serve: Serve, recorder: Recorder, background: bool) -> None:
    """Whoever hears of it finds it so, through another process too."""
    platform = serve(recorder, background=CHANGING if background else [])
    other = serve(recorder)
    found: list[tuple[str, int]] = []

    def look(sender: object, request: Any, **extra: Any) -> None:
        path = f"{INSTANCE}/service_bindings/b1" if hasattr(request, "binding_id") else INSTANCE
        found.append((type(request).__name__, other.get(path).status_code))

    done = (signals.provisioned, signals.updated, signals.bound, signals.unbound, signals.deprovisioned)
    for signal in done:
        signal.connect(look)
    try:
        query = CAN_POLL if background else ""
        deletion = DELETE_AND_POLL if background else DELETE_QUERY
        platform.put(INSTANCE, PROVISION, query=query)
        until(lambda: len(found) == 1)
        platform.patch(INSTANCE, UPDATE, query=query)
        until(lambda: len(found) == 2)
        platform.put(BINDING, IDS, query=query)
        until(lambda: len(found) == 3)
        platform.delete(BINDING, query=deletion)
        until(lambda: len(found) == 4)
        platform.delete(INSTANCE, query=deletion)
        until(lambda: len(found) == 5)
    finally:
        for signal in done:
            signal.disconnect(look)
    assert found == [
        ("ProvisionRequest", 200),
        ("UpdateRequest", 200),
        ("BindRequest", 200),
        ("UnbindRequest", 404),
        ("DeprovisionRequest", 404),
    ]


def test_a_receiver_that_raises_changes_nothing(platform: Platform) -> None:
    def fail(sender: object, **extra: Any) -> None:
        raise ValueError("inside")

    with signals.provisioned.connected_to(fail):
        assert platform.put(INSTANCE, PROVISION).status_code == 201
    assert platform.get(INSTANCE).status_code == 200
