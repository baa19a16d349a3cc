"""The pauses of a queue of logins, by a clock that the test sets."""

from __future__ import annotations

import pytest

from brokerkit._internal import login_queue
from brokerkit._internal.login_queue import LoginQueue, QueueFull


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> LoginQueue:
    """Return a queue that tolerates one wrong login."""
    monkeypatch.setattr(login_queue, "_TOLERATED", 1)
    return LoginQueue(clock)


def check(queue: LoginQueue, clock: Clock, login: bytes, client: str = "attacker") -> str | None:
    """Check a login, which takes two seconds. Return None if it is wrong, and "full" if it is not checked."""

    def verify() -> str | None:
        clock.now += 2.0
        return None if login.startswith(b"wrong") else "platform"

    try:
        caller = queue.check(login, client, verify)
    except QueueFull:
        return "full"
    assert caller is not True
    return caller or None


def test_client_of_wrong_logins_does_not_wait(queue: LoginQueue, clock: Clock) -> None:
    """A pause is as long as the last check, and in a pause the client is refused without waiting."""
    assert check(queue, clock, b"wrong-1") is None
    clock.now += 2.0
    assert check(queue, clock, b"wrong-2") is None
    for _ in range(3):
        assert check(queue, clock, b"wrong-3") == "full"
        assert check(queue, clock, b"right") == "full"
    clock.now += 2.0
    assert check(queue, clock, b"right") == "platform"
    assert check(queue, clock, b"right-2") == "platform", "a right login is followed by no pause"


def test_alert_ends_without_wrong_logins(queue: LoginQueue, clock: Clock) -> None:
    for _ in range(3):
        assert check(queue, clock, b"wrong-%d" % clock.now) is None
        clock.now += login_queue._ALERT


def test_results_expire(queue: LoginQueue, clock: Clock) -> None:
    """Known results are returned in a pause too."""
    assert check(queue, clock, b"wrong") is None
    before = clock.now
    assert check(queue, clock, b"wrong") is None
    assert clock.now == before
    clock.now += login_queue._REMEMBERED
    assert check(queue, clock, b"wrong") is None
    assert clock.now > before + login_queue._REMEMBERED
