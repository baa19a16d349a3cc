"""Two handlers never work on one instance or binding at a time, and no accepted result is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from brokerkit import Accepted, Binding, LastOperation, Provisioned, Updated
from brokerkit.server import polling

from ..support.broker import (
    BINDING,
    DELETE_QUERY,
    IDS,
    INSTANCE,
    PROVISION,
    Recorder,
    error_of,
    make_offering,
)
from ..support.stateful import (
    CAN_POLL,
    DELETE_AND_POLL,
    Answer,
    Gate,
    Platform,
    Serve,
    last_operation,
    poll_until_done,
    quick_offering,
    until,
)

LEASE = 2.0
GROW = {**IDS, "parameters": {"size": 5}}
DATA = {"user": "made too late"}
MADE = Binding(credentials={"uri": "db://secret"}, data=DATA)


def called(recorder: Recorder, name: str) -> list[Any]:
    """Return the requests that a handler received, by the name of their class."""
    return [request for request in recorder.requests if type(request).__name__ == name]


def in_background(send: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=send)
    thread.start()
    return thread


@pytest.mark.rule("R-UNB-3", "R-UPD-5")
@pytest.mark.parametrize("is_background", [False, True], ids=["synchronous", "background"])
@pytest.mark.parametrize("can_poll", [False, True], ids=["waits", "polls"])
def test_instance_is_busy_until_cancelled_bind_ends(
    serve: Serve, recorder: Recorder, is_background: bool, can_poll: bool
) -> None:
    """No update or deprovision begins beside the handler, and the unbind gets the data that it returned."""
    gate = recorder.answers["bind"] = Gate(MADE)
    platform = serve(recorder, background=["bind"] if is_background else [])
    platform.put(INSTANCE, PROVISION)
    bind = in_background(lambda: platform.put(BINDING, IDS, query=CAN_POLL))
    gate.wait_until_reached()
    query = DELETE_AND_POLL if can_poll else DELETE_QUERY
    unbind = in_background(lambda: platform.delete(BINDING, query=query))
    until(lambda: last_operation(platform, BINDING)["state"] == ("in progress" if can_poll else "failed"))
    for response in (
        platform.delete(INSTANCE, query=DELETE_AND_POLL),
        platform.patch(INSTANCE, GROW),
    ):
        assert (response.status_code, error_of(response)["error"]) == (422, "ConcurrencyError")
    gate.open()
    for thread in (bind, unbind):
        thread.join()
    until(lambda: called(recorder, "UnbindRequest"))
    (request,) = called(recorder, "UnbindRequest")
    assert request.binding.data == DATA
    until(lambda: platform.delete(INSTANCE, query=DELETE_QUERY).status_code == 200)


@pytest.mark.rule("R-DEL-3")
@pytest.mark.parametrize("kind", ["provision", "update", "bind"])
def test_waiting_deletion_outlives_its_deadline(serve: Serve, recorder: Recorder, kind: str) -> None:
    """While the handler runs, the deletion stays in progress, and a repeated DELETE returns it."""
    gate = recorder.answers[kind] = Gate(
        {"provision": Provisioned(), "update": Updated(), "bind": MADE}[kind]
    )
    platform = serve(recorder, quick_offering(), background=[kind], lease=LEASE)
    if kind != "provision":
        platform.put(INSTANCE, PROVISION)
    path = BINDING if kind == "bind" else INSTANCE
    begin: Callable[[], Answer] = {
        "provision": lambda: platform.put(INSTANCE, PROVISION, query=CAN_POLL),
        "update": lambda: platform.patch(INSTANCE, GROW, query=CAN_POLL),
        "bind": lambda: platform.put(BINDING, IDS, query=CAN_POLL),
    }[kind]
    first = begin().json["operation"]
    gate.wait_until_reached()
    if kind == "update":  # it cannot be cancelled, but its deadline passes
        assert poll_until_done(platform, path, first)["state"] == "failed"
    response = platform.delete(path, query=DELETE_AND_POLL)
    operation = response.json["operation"]
    wait_past_deadline(serve, operation)
    for _ in range(2):
        assert last_operation(platform, path, operation)["state"] == "in progress"
        repeated = platform.delete(path, query=DELETE_AND_POLL)
        assert (repeated.status_code, repeated.json) == (202, {"operation": operation})
    if kind == "update":
        assert platform.put(BINDING, IDS).status_code == 422
    assert not called(recorder, "DeprovisionRequest")
    assert not called(recorder, "UnbindRequest")
    gate.open()
    assert poll_until_done(platform, path, operation)["state"] == "succeeded"


def wait_past_deadline(serve: Serve, operation: str) -> None:
    """Wait until the deadline of an operation has passed, and every scheduler has had time to notice."""
    store = serve.brokers[0]._runtime
    assert store is not None
    row = store.store.find_operation(operation)
    assert row is not None
    until(lambda: store.store.now() > row[0].deadline + LEASE / 2)


@pytest.mark.rule("R-LAST-5", "R-UNB-3")
def test_overdue_bind_stays_failed(serve: Serve, recorder: Recorder) -> None:
    """What was reported stays. The credentials that come too late are for the unbind only."""
    gate = recorder.answers["bind"] = Gate(MADE)
    platform = serve(recorder, quick_offering(), background=["bind"])
    platform.put(INSTANCE, PROVISION)
    operation = platform.put(BINDING, IDS, query=CAN_POLL).json["operation"]
    gate.wait_until_reached()
    assert poll_until_done(platform, BINDING, operation)["state"] == "failed"
    assert platform.delete(INSTANCE, query=DELETE_AND_POLL).status_code == 422
    gate.open()
    until(lambda: platform.delete(BINDING, query=DELETE_QUERY).status_code == 200)
    (request,) = called(recorder, "UnbindRequest")
    assert request.binding.data == DATA
    assert last_operation(platform, BINDING, operation)["state"] == "failed"
    assert platform.delete(INSTANCE, query=DELETE_QUERY).status_code == 200


@pytest.mark.rule("R-LAST-5")
def test_overdue_bind_cannot_be_fetched(serve: Serve, recorder: Recorder) -> None:
    gate = recorder.answers["bind"] = Gate(MADE)
    platform = serve(recorder, quick_offering(), background=["bind"])
    platform.put(INSTANCE, PROVISION)
    operation = platform.put(BINDING, IDS, query=CAN_POLL).json["operation"]
    gate.wait_until_reached()
    assert poll_until_done(platform, BINDING, operation)["state"] == "failed"
    gate.open()
    until(lambda: platform.patch(INSTANCE, GROW).status_code == 200)  # no longer busy
    assert platform.get(BINDING).status_code == 404
    assert platform.put(BINDING, IDS).status_code == 409


@pytest.mark.rule("R-DEL-2", "R-DEL-3")
def test_deletion_that_cannot_poll_waits_then_503(
    serve: Serve, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often the request looks at the store meanwhile, it does not give up as a conflict."""
    monkeypatch.setattr("brokerkit.server.stateful._PATIENCE", 2.0)
    monkeypatch.setattr("brokerkit.server.stateful._MAX_CLAIMS", 3)
    gate = recorder.answers["provision"] = Gate(Provisioned())
    platform = serve(recorder, background=["provision"])
    platform.put(INSTANCE, PROVISION, query=CAN_POLL)
    gate.wait_until_reached()
    response = platform.delete(INSTANCE, query=DELETE_QUERY)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "10")
    gate.open()
    until(lambda: platform.delete(INSTANCE, query=DELETE_QUERY).status_code == 200)


@pytest.mark.rule("R-UNB-1", "R-BIND-1")
def test_unbind_of_replaced_binding_is_decided_again(
    serve: Serve, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that read the former binding with this id does not delete the new one with its data."""
    platform = serve(recorder)
    platform.put(INSTANCE, PROVISION)
    recorder.answers["bind"] = Binding(credentials={"uri": "db://1"}, data={"user": "first"})
    assert platform.put(BINDING, IDS).status_code == 201
    other = serve(Recorder())
    slow_recorder = Recorder()
    slow = serve(slow_recorder)
    store = serve.brokers[-1]._runtime
    assert store is not None
    claim = store.store.claim_binding
    waited: list[bool] = []

    def replace_first(*arguments: Any) -> bool:
        if not waited:
            waited.append(True)
            assert other.delete(BINDING, query=DELETE_QUERY).status_code == 200
            recorder.answers["bind"] = Binding(credentials={"uri": "db://2"}, data={"user": "second"})
            assert platform.put(BINDING, IDS).status_code == 201
        return claim(*arguments)

    monkeypatch.setattr(store.store, "claim_binding", replace_first)
    assert slow.delete(BINDING, query=DELETE_QUERY).status_code == 200
    (request,) = called(slow_recorder, "UnbindRequest")
    assert request.binding.data == {"user": "second"}


@pytest.mark.rule("R-BIND-6")
def test_deleted_binding_gets_no_successor(
    serve: Serve, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A predecessor that a concurrent unbind deletes is refused, even if the bind read it before."""
    platform = serve(recorder, make_offering())
    platform.put(INSTANCE, PROVISION)
    assert platform.put(BINDING, IDS).status_code == 201
    gate = Gate()
    other_recorder = Recorder()
    other_recorder.answers["unbind"] = gate
    other = serve(other_recorder, make_offering())
    runtime = serve.brokers[0]._runtime
    assert runtime is not None
    claim = runtime.store.claim_new_binding
    unbinds: list[threading.Thread] = []

    def unbind_first(*arguments: Any) -> bool:
        if not unbinds:
            unbinds.append(in_background(lambda: other.delete(BINDING, query=DELETE_QUERY)))
            gate.wait_until_reached()
        return claim(*arguments)

    monkeypatch.setattr(runtime.store, "claim_new_binding", unbind_first)
    response = platform.put(f"{BINDING}-2", {**IDS, "predecessor_binding_id": BINDING.rsplit("/", 1)[1]})
    gate.open()
    unbinds[0].join()
    assert (response.status_code, len(called(recorder, "BindRequest"))) == (400, 1)


@pytest.mark.rule("R-DEL-1", "R-LAST-5")
@pytest.mark.parametrize("kind", ["bind", "unbind"])
def test_deletion_polls_quiet_binding_operations(
    platform: Platform, recorder: Recorder, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bind or unbind that the platform never polls does not keep its instance from being deleted."""
    monkeypatch.setattr(polling, "QUIET", 0.0)
    recorder.answers["get_binding"] = MADE
    platform.put(INSTANCE, PROVISION)
    if kind == "unbind":
        platform.put(BINDING, IDS)
    recorder.answers[kind] = Accepted()
    send: Callable[[], Answer] = {
        "bind": lambda: platform.put(BINDING, IDS, query=CAN_POLL),
        "unbind": lambda: platform.delete(BINDING, query=DELETE_AND_POLL),
    }[kind]
    assert send().status_code == 202
    recorder.answers["last_binding_operation"] = LastOperation.in_progress("Half of it")
    assert platform.delete(INSTANCE, query=DELETE_QUERY).status_code == 422
    recorder.answers["last_binding_operation"] = LastOperation.succeeded(
        result=MADE if kind == "bind" else None
    )
    assert platform.delete(INSTANCE, query=DELETE_QUERY).status_code == 200
