"""Looks at what may hang: by one thread, which nobody waits for long."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from brokerkit._internal.background_call import BackgroundCall

from ..support.stateful import until


class Sight:
    """What is looked at; it hangs for as long as a test says, or raises."""

    def __init__(self) -> None:
        self.seen = 0
        self.error: Exception | None = None
        self.is_free = threading.Event()
        self.is_free.set()

    def __call__(self) -> int:
        self.is_free.wait(15)
        if self.error is not None:
            raise self.error
        self.seen += 1
        return self.seen


@pytest.fixture
def sight() -> Sight:
    return Sight()


def look_at(sight: Callable[[], int], *, every: float = 3600.0, times: float = 0.0) -> BackgroundCall[int]:
    return BackgroundCall(
        sight, name="tests-look", patience=0.05 if every < 1 else 15.0, every=every, times=times
    )


def test_result_is_reused_until_stale(sight: Sight) -> None:
    looks = look_at(sight)
    assert [looks.result() for _ in range(3)] == [1, 1, 1]
    looks = look_at(sight, every=1e-6)
    until(lambda: (looks.result() or 0) > 3)


def test_concurrent_callers_share_one_thread(sight: Sight) -> None:
    """All callers time out while the single background call hangs."""
    sight.is_free.clear()
    looks = look_at(sight, every=1e-6)
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(lambda _: looks.result(), range(64))) == {None}
        assert [thread.name for thread in threading.enumerate()].count("tests-look") == 1
    sight.is_free.set()
    until(looks.result)


def test_latest_returns_previous_result_while_running(sight: Sight) -> None:
    looks = look_at(sight, every=1e-6)
    assert looks.latest() is not None
    sight.is_free.clear()
    until(lambda: looks.result() is None)  # one began before that may have been through
    latest = looks.latest()
    assert latest is not None
    assert (latest.value, looks.result()) == (sight.seen, None)
    assert latest.age > 0
    sight.is_free.set()
    until(looks.result)


def test_failed_call_is_logged_without_result(sight: Sight, caplog: pytest.LogCaptureFixture) -> None:
    sight.error = OSError("inside")
    looks = look_at(sight)
    assert looks.result() is None
    assert looks.latest() is None
    assert "what the thread tests-look looks at could not be found out" in caplog.text


def test_slow_call_is_followed_by_pause(sight: Sight) -> None:
    """A slow success delays the next call. A failure does not: its duration is not the cost of a call."""
    for error, is_new in ((None, False), (OSError("inside"), True)):
        sight.error = error
        sight.is_free.clear()
        looks = look_at(sight, every=1e-6, times=1e6)
        first = looks.start()
        sight.is_free.set()
        until(lambda first=first: first.is_finished)  # type: ignore[misc]
        assert (looks.start() is not first) is is_new


def test_result_is_discarded_after_fork(sight: Sight, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = look_at(sight)
    assert looks.result() == 1
    child = os.getpid() + 1
    monkeypatch.setattr(os, "getpid", lambda: child)
    assert looks.result() == 2
