"""Background calls of functions that may block, with a bounded wait for their results."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from threading import Event, Lock, Thread, current_thread
from time import monotonic
from typing import Generic, TypeVar

_logger = logging.getLogger(__name__)

_T = TypeVar("_T")


class BackgroundCall(Generic[_T]):
    """A function that runs in a background thread, one call at a time, with a cached result.

    All callers share one call, also while it blocks.

    Args:
        function: The function. It may block. If it raises, the exception is logged and the result is None.
        name: The name of the thread.
        timeout: The maximum seconds that a caller waits for a call.
        interval: The minimum seconds from the start of a call to the start of the next one.
        pause_factor: The minimum pause after a successful call, as a multiple of its duration. Defaults to 0.
    """

    def __init__(
        self,
        function: Callable[[], _T | None],
        *,
        name: str,
        timeout: float,
        interval: float,
        pause_factor: float = 0.0,
    ) -> None:
        self._function = function
        self._name = name
        self._timeout = timeout
        self._interval = interval
        self._pause_factor = pause_factor
        self._lock = Lock()
        self._last: CallResult[_T] | None = None
        self._previous: CallResult[_T] | None = None

    def start(self) -> CallResult[_T]:
        """Return the running call or the last one; start a new call if that has expired."""
        with self._lock:
            last = self._last
            if last is not None and not last.is_from_this_process:
                last = None  # the threads of a parent process do not exist after a fork
            if last is None or last.is_expired(self._interval, self._pause_factor):
                self._previous = last
                last = self._last = CallResult(self._function, self._name)
            return last

    def result(self) -> _T | None:
        """Return the result of the running call or the last one; None if it failed or timed out."""
        last = self.start()
        last.wait(self._timeout)
        return last.value

    def latest(self) -> CallResult[_T] | None:
        """Return the last finished call; None if there is none or it failed."""
        last = self.start()
        last.wait(self._timeout)
        latest = last if last.is_finished else self._previous
        return None if latest is None or latest.value is None else latest


class CallResult(Generic[_T]):
    """One call, running or finished.

    Attributes:
        value: The result; None if the call failed or is still running.
    """

    def __init__(self, function: Callable[[], _T | None], name: str) -> None:
        self.value: _T | None = None
        self._finished = Event()
        self._pid = os.getpid()
        self._started_at = self._ended_at = monotonic()
        Thread(target=self._run, args=(function,), name=name, daemon=True).start()

    @property
    def is_from_this_process(self) -> bool:
        """Whether this process started the call, rather than its parent before a fork."""
        return self._pid == os.getpid()

    @property
    def is_finished(self) -> bool:
        """Whether the call has ended, with or without success."""
        return self._finished.is_set()

    @property
    def duration(self) -> float:
        """The duration of the finished call in seconds."""
        return self._ended_at - self._started_at

    @property
    def age(self) -> float:
        """The seconds since the call ended."""
        return monotonic() - self._ended_at

    def is_expired(self, interval: float, pause_factor: float) -> bool:
        """Whether a new call is due. A running call never expires."""
        if not self.is_finished:
            return False
        # The duration of a failed call, such as a timeout, says nothing about the cost of a call.
        pause = 0.0 if self.value is None else pause_factor * self.duration
        return monotonic() >= max(self._started_at + interval, self._ended_at + pause)

    def wait(self, timeout: float) -> None:
        """Wait until the call ends, at most until it has run for `timeout` seconds."""
        self._finished.wait(max(0.0, self._started_at + timeout - monotonic()))

    def _run(self, function: Callable[[], _T | None]) -> None:
        try:
            self.value = function()
        except BaseException:
            _logger.exception("The background call in the thread %s failed", current_thread().name)
        finally:
            self._ended_at = monotonic()
            self._finished.set()
