"""Tests for background calls: one thread per function, and callers that never wait long."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from brokerkit._internal.background_call import BackgroundCall

from ..support.stateful import until

THREAD = "tests-call"


class Counter:
    """A function that returns 1, 2, 3 …; it blocks or raises if a test says so."""

    def __init__(self) -> None:
        self.count = 0
        self.error: Exception | None = None
        self.is_free = threading.Event()
        self.is_free.set()

    def __call__(self) -> int:
        self.is_free.wait(15)
        if self.error is not None:
            raise self.error
        self.count += 1
        return self.count


@pytest.fixture
def counter() -> Counter:
    return Counter()


def background_call(
    function: Callable[[], int], *, interval: float = 3600.0, pause_factor: float = 0.0
) -> BackgroundCall[int]:
    return BackgroundCall(
        function,
        name=THREAD,
        timeout=0.05 if interval < 1 else 15.0,
        interval=interval,
        pause_factor=pause_factor,
    )


def test_result_is_reused_until_stale(counter: Counter) -> None:
    call = background_call(counter)
    assert [call.result() for _ in range(3)] == [1, 1, 1]
    call = background_call(counter, interval=1e-6)
    until(lambda: (call.result() or 0) > 3)


def test_concurrent_callers_share_one_thread(counter: Counter) -> None:
    """All callers time out while the single background call hangs."""
    counter.is_free.clear()
    call = background_call(counter, interval=1e-6)
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(lambda _: call.result(), range(64))) == {None}
        assert [thread.name for thread in threading.enumerate()].count(THREAD) == 1
    counter.is_free.set()
    until(call.result)


def test_latest_returns_previous_result_while_running(counter: Counter) -> None:
    call = background_call(counter, interval=1e-6)
    assert call.latest() is not None
    counter.is_free.clear()
    until(lambda: call.result() is None)  # a call that started before may have finished
    latest = call.latest()
    assert latest is not None
    assert (latest.value, call.result()) == (counter.count, None)
    assert latest.age > 0
    counter.is_free.set()
    until(call.result)


def test_failed_call_is_logged_without_result(counter: Counter, caplog: pytest.LogCaptureFixture) -> None:
    counter.error = OSError("inside")
    call = background_call(counter)
    assert call.result() is None
    assert call.latest() is None
    record = caplog.records[-1]
    assert record.name == "brokerkit._internal.background_call"
    assert record.getMessage() == f"The background call in the thread {THREAD} failed"


def test_slow_call_is_followed_by_pause(counter: Counter) -> None:
    """A slow success delays the next call. A failure does not: its duration is not the cost of a call."""
    for error, is_new in ((None, False), (OSError("inside"), True)):
        counter.error = error
        counter.is_free.clear()
        call = background_call(counter, interval=1e-6, pause_factor=1e6)
        first = call.start()
        counter.is_free.set()
        until(lambda first=first: first.is_finished)  # type: ignore[misc]
        assert (call.start() is not first) is is_new


def test_result_is_discarded_after_fork(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    call = background_call(counter)
    assert call.result() == 1
    child = os.getpid() + 1
    monkeypatch.setattr(os, "getpid", lambda: child)
    assert call.result() == 2
