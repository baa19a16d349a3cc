"""Ends of attempts while the store is unavailable for a moment, also while the process shuts down."""

from __future__ import annotations

import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from brokerkit import Provisioned, QuotaExceeded, signals
from brokerkit.server import inline
from brokerkit.store.errors import StoreUnavailable
from brokerkit.store.store import Store

from ..support.broker import BINDING, IDS, INSTANCE, PROVISION, Recorder
from ..support.stateful import (
    CAN_POLL,
    DELETE_AND_POLL,
    Gate,
    Platform,
    Serve,
    poll_until_done,
    until,
)


class Outage:
    """An outage of some writes of every store.

    Args:
        monkeypatch: Replaces the methods.
        names: The methods of `Store` that raise `StoreUnavailable`.
        writes: Whether the writes are committed, and only their response is lost. Defaults to False.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *names: str, writes: bool = False) -> None:
        self.tries = 0
        self._over = threading.Event()
        for name in names:
            monkeypatch.setattr(Store, name, self._failing(getattr(Store, name), writes))

    def _failing(self, real: Any, writes: bool) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            if self._over.is_set():
                return real(*args, **options)
            self.tries += 1
            if writes:
                real(*args, **options)
            raise StoreUnavailable

        return call

    def wait_for_tries(self, number: int) -> None:
        until(lambda: self.tries >= number)

    def end(self) -> None:
        self._over.set()


@pytest.fixture(params=["retried", "deferred"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The way in which a synchronous handler's end is written: by its request, or by the scheduler."""
    if request.param == "deferred":
        monkeypatch.setattr(inline, "_PATIENCE", 0.0)
    way: str = request.param
    return way


@pytest.mark.parametrize("mode", ["background", "synchronous"])
def test_short_outage_at_shutdown_loses_nothing(
    serve: Serve, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, way: str, mode: str
) -> None:
    """The result is stored within the grace period, and no process runs the handler again."""
    gate = Gate(Provisioned(data={"made": True}))
    recorder.answers["provision"] = gate
    platform = serve(recorder, background=["provision"] if mode == "background" else [], lease=1.0)
    outage = Outage(monkeypatch, "end")
    with ThreadPoolExecutor(2) as pool:
        put = pool.submit(platform.put, INSTANCE, PROVISION, query=CAN_POLL)
        gate.wait_until_reached()
        runtime = serve.brokers[0]._runtime
        assert runtime is not None
        runtime.drain()
        gate.open()
        outage.wait_for_tries(1)
        if mode == "synchronous" and way == "retried":  # a server waits for its requests before it exits
            outage.wait_for_tries(3)
            outage.end()
            assert put.result().status_code == 201
            serve.stop()
        else:
            assert put.result().status_code == (202 if mode == "background" else 503)
            stopped = pool.submit(serve.stop)
            outage.wait_for_tries(outage.tries + 2)
            outage.end()
            stopped.result()
    successor = serve(recorder, background=["provision"], lease=1.0)
    assert successor.get(INSTANCE).status_code == 200
    assert len(recorder.requests) == 1


def test_short_outage_at_shutdown_hands_over(
    serve: Serve, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A generator's operation is handed over when the store returns, and not after its lease."""
    gate = Gate()

    def steps(request: Any) -> Generator[str, None, None]:
        if request.attempt == 1:
            gate(request)
        yield "Working"

    recorder.answers["provision"] = steps
    platform = serve(recorder, background=["provision"])
    operation = platform.put(INSTANCE, PROVISION, query=CAN_POLL).json["operation"]
    gate.wait_until_reached()
    outage = Outage(monkeypatch, "postpone")
    with ThreadPoolExecutor(1) as pool:
        stopped = pool.submit(serve.stop)
        runtime = serve.brokers[0]._runtime if serve.brokers else None
        until(lambda: runtime is None or runtime.is_stopping)
        gate.open()
        outage.wait_for_tries(2)
        outage.end()
        stopped.result()
    successor = serve(recorder, background=["provision"])
    assert poll_until_done(successor, INSTANCE, operation)["state"] == "succeeded"
    assert [request.attempt for request in recorder.requests] == [1, 2]


@pytest.mark.parametrize("writes", [False, True], ids=["away", "response lost"])
def test_result_of_cancelled_handler_survives_outage(
    serve: Serve,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    way: str,
    writes: bool,
) -> None:
    """The deletion gets the data of the cancelled handler when the store returns, before the lease ends."""
    gate = Gate(Provisioned(data={"made": True}))
    recorder.answers["provision"] = gate
    platform = serve(recorder)
    outage = Outage(monkeypatch, "release", writes=writes)
    with ThreadPoolExecutor(1) as pool:
        put = pool.submit(platform.put, INSTANCE, PROVISION)
        gate.wait_until_reached()
        operation = platform.delete(INSTANCE, query=DELETE_AND_POLL).json["operation"]
        gate.open()
        outage.wait_for_tries(1)
        outage.end()
        assert put.result().status_code == (503 if way == "deferred" else 422)
    assert poll_until_done(platform, INSTANCE, operation)["state"] == "succeeded"
    assert recorder.requests[-1].instance.data == {"made": True}
    assert "lease was lost" not in caplog.text


@pytest.mark.parametrize("operation", ["provision", "bind"])
def test_withdrawal_with_lost_response_is_complete(
    serve: Serve,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    operation: str,
    way: str,
) -> None:
    """The refused request left nothing behind, and the log does not claim that the attempt was lost."""
    platform = serve(recorder)
    path, body = (INSTANCE, PROVISION) if operation == "provision" else (BINDING, IDS)
    if operation == "bind":
        platform.put(INSTANCE, PROVISION)
    answer = recorder.answers.get(operation)
    recorder.answers[operation] = QuotaExceeded()
    outage = Outage(monkeypatch, "withdraw", writes=True)
    with ThreadPoolExecutor(1) as pool:
        put = pool.submit(platform.put, path, body)
        outage.wait_for_tries(1)
        outage.end()
        assert put.result().status_code == 400
    recorder.answers[operation] = answer
    assert make_again(platform, path, body) == 201
    serve.stop()
    assert "lease was lost" not in caplog.text


def make_again(platform: Platform, path: str, body: Any) -> int:
    return platform.put(path, body).status_code


@pytest.mark.parametrize("ends", ["runs", "cancelled"])
def test_outage_before_handler_costs_no_attempt(
    serve: Serve, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """The next attempt begins when the store returns, before the lease ends."""
    platform = serve(recorder, background=["provision"], max_attempts=1)
    outage, writes = Outage(monkeypatch, "find_by_key"), Outage(monkeypatch, "postpone")
    operation = platform.put(INSTANCE, PROVISION, query=CAN_POLL).json["operation"]
    outage.wait_for_tries(1)
    outage.end()
    if ends == "cancelled":
        deletion = platform.delete(INSTANCE, query=DELETE_AND_POLL).json["operation"]
        writes.end()
        assert poll_until_done(platform, INSTANCE, deletion)["state"] == "succeeded"
        assert recorder.request.instance is not None  # only the deprovision handler ran
        return
    writes.end()
    assert poll_until_done(platform, INSTANCE, operation)["state"] == "succeeded"
    assert recorder.request.attempt > 1


def test_fault_before_handler_costs_no_attempt(
    serve: Serve, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """If a receiver of `attempt_started` exits, another attempt follows after the time of a lease."""
    platform = serve(recorder, background=["provision"], max_attempts=1, lease=0.5)
    exits = [SystemExit(), SystemExit()]

    def receive(sender: object, **facts: object) -> None:
        if exits:
            raise exits.pop()

    with signals.attempt_started.connected_to(receive):
        operation = platform.put(INSTANCE, PROVISION, query=CAN_POLL).json["operation"]
        assert poll_until_done(platform, INSTANCE, operation)["state"] == "succeeded"
    assert recorder.request.attempt == 3
    assert "before its handler was called" in caplog.text
