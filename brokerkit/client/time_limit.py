"""The time limit of a wait with many requests."""

from __future__ import annotations

import time
from collections.abc import Callable

MIN_TIMEOUT = 1.0
"""The minimum timeout in seconds of a request that is sent shortly before a time limit."""


class TimeLimit:
    """A time limit. Each sleep counts in full, even if a test replaces it by a shorter one.

    Args:
        seconds: The limit.
        sleep: Sleeps for a number of seconds.
    """

    def __init__(self, seconds: float, sleep: Callable[[float], None]) -> None:
        self._until = time.monotonic() + seconds
        self._seconds = seconds
        self._sleep = sleep

    @property
    def left(self) -> float:
        """The seconds that remain. Negative after the limit."""
        return min(self._until - time.monotonic(), self._seconds)

    def sleep(self, pause: float) -> None:
        """Sleep for a number of seconds."""
        self._seconds -= pause
        self._sleep(pause)
