"""A queue for slow checks of logins, so that wrong logins do not use up the threads and cores of a server."""

from __future__ import annotations

from collections.abc import Callable
from threading import Condition
from time import monotonic
from typing import TypeAlias

Caller: TypeAlias = str | bool | None
"""The name of a caller, True for a caller without a name, or None for a wrong login."""

_REMEMBERED = 60.0
"""The seconds for which the result of a check is reused."""

_MAX_REMEMBERED = 1_000
"""The maximum number of results that are kept."""

_ALERT = 10.0
"""The seconds after a wrong login in which few logins may wait."""

_TOLERATED = 10
"""The number of wrong logins in an alert after which their client must not wait for the end of a pause."""

_MAX_WAITING = 3
"""The maximum number of waiting logins during an alert. Each one occupies a thread of the server."""

_PATIENCE = 10.0
"""The maximum seconds that a login waits."""


class QueueFull(Exception):
    """Too many logins wait for their check."""


class _Waiter:
    """A login that waits for its check.

    Args:
        login: A digest of the login.
        client: The address of the client.
    """

    __slots__ = ("client", "login")

    def __init__(self, login: bytes, client: str) -> None:
        self.login = login
        self.client = client


class LoginQueue:
    """A queue in which one login is checked at a time.

    A wrong login is followed by a pause of the same duration as its check. So wrong logins take at most half
    of one core. They also cause an alert, during which a client has at most one place in the queue: clients
    take turns, and a client that sends many wrong logins does not keep out the others. A server with a single
    thread serves other requests in the pauses, because the client of many wrong logins does not wait then.
    Equal logins share one check.

    Args:
        clock: Returns the time in seconds. Defaults to the monotonic clock.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._changed = Condition()
        self._waiting: list[_Waiter] = []
        self._results: dict[bytes, tuple[float, Caller]] = {}
        self._is_checking = False
        self._next_check = 0.0
        self._alert_until = 0.0
        self._wrong = 0
        self._last_wrong = ""

    def check(self, login: bytes, client: str, verify: Callable[[], Caller]) -> Caller:
        """Check a login, or return the recent result of an equal one.

        Args:
            login: A digest of the login.
            client: The address of the client.
            verify: Checks the login.

        Raises:
            QueueFull: Too many logins wait. Nothing is known about this one.
        """
        with self._changed:
            recent = self._wait(_Waiter(login, client))
            if recent is not None:
                return recent[1]
            self._is_checking = True
        started = self._clock()
        result: tuple[float, Caller] | None = None
        try:
            caller = verify()
            result = self._clock() + _REMEMBERED, caller
        finally:
            with self._changed:
                self._is_checking = False
                if result is not None:
                    self._remember(login, result)
                    if caller is None:
                        self._alert(client, started)
                self._changed.notify_all()
        return caller

    def _wait(self, waiter: _Waiter) -> tuple[float, Caller] | None:
        """Wait for the turn of a login. Return a result that another thread found meanwhile."""
        give_up_at = self._clock() + _PATIENCE
        self._waiting.append(waiter)
        try:
            while True:
                now = self._clock()
                recent = self._results.get(waiter.login)
                if recent is not None and recent[0] > now:
                    return recent
                if now >= give_up_at or (now < self._alert_until and self._must_leave(waiter, now)):
                    raise QueueFull
                until = give_up_at
                if not self._is_checking and self._waiting[0] is waiter:
                    if now >= self._next_check:
                        return None
                    until = min(until, self._next_check)
                self._changed.wait(until - now)
        finally:
            self._waiting.remove(waiter)
            self._changed.notify_all()

    def _must_leave(self, waiter: _Waiter, now: float) -> bool:
        """Whether the queue has no place for a login during an alert."""
        if self._wrong > _TOLERATED and now < self._next_check and waiter.client == self._last_wrong:
            return True
        position = self._waiting.index(waiter)
        return position >= _MAX_WAITING or any(
            earlier.client == waiter.client for earlier in self._waiting[:position]
        )

    def _alert(self, client: str, started: float) -> None:
        """Begin or extend an alert after a wrong login, and pause."""
        now = self._clock()
        self._wrong = self._wrong + 1 if now < self._alert_until else 1
        self._last_wrong = client
        self._alert_until = now + _ALERT
        self._next_check = now + (now - started)

    def _remember(self, login: bytes, result: tuple[float, Caller]) -> None:
        self._results.pop(login, None)
        while len(self._results) >= _MAX_REMEMBERED:
            del self._results[next(iter(self._results))]
        self._results[login] = result
