"""The scheduler of a process: a thread that handles due operations and deferred writes.

If a process dies, the scheduler of another process finds its operations after one lease. It also submits
retries when they are due.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import inf
from threading import Event, Lock, Thread

from ..store.errors import StoreUnavailable
from ..store.models import Attempt, Mode, OperationRecord
from ..store.store import Store
from .heartbeat import Heartbeat

_logger = logging.getLogger(__name__)

_MAX_INTERVAL = 5.0
"""The maximum seconds between two checks for due operations, including those of other processes."""

_RETRY_AFTER = 0.5
"""The seconds after which a deferred write is tried first."""

_NEVER = Event()

_BATCH = 500
"""The maximum number of operations per check."""


class Scheduler:
    """A thread that handles due operations.

    Args:
        store: The store.
        heartbeat: The heartbeat, which tracks the attempts of this process.
        handle_due: Called with each due operation that is not running in this process, and the current time
            of the store's clock. The function may raise `StoreUnavailable`.
    """

    def __init__(
        self, store: Store, heartbeat: Heartbeat, handle_due: Callable[[OperationRecord, float], None]
    ) -> None:
        self._store = store
        self._heartbeat = heartbeat
        self._handle_due = handle_due
        self._interval = min(_MAX_INTERVAL, store.lease / 4)
        self._deferred_writes: list[tuple[Attempt, Callable[[], object]]] = []
        self._lock = Lock()
        self._wakeup = Event()
        self._stopping = False
        self._flush_until = 0.0
        self._next_check = 0.0
        self._thread = Thread(target=self._run, name="brokerkit-scheduler", daemon=True)

    def start(self) -> None:
        """Start the thread, in a process that serves requests."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread is running."""
        return self._thread.is_alive()

    def stop(self, grace: float = 0.0) -> None:
        """Stop the thread, after the deferred writes.

        Args:
            grace: The number of seconds to retry the deferred writes in an outage. Defaults to 0.
        """
        self._flush_until = self._store.clock.monotonic() + grace
        self._stopping = True
        self._wakeup.set()
        if self._thread.is_alive():
            self._thread.join(grace + _MAX_INTERVAL)
        else:
            self._flush()

    def wake_in(self, seconds: float) -> None:
        """Check for due operations within a number of seconds."""
        check_at = self._store.clock.monotonic() + seconds
        with self._lock:
            if check_at >= self._next_check:
                return
            self._next_check = check_at
        self._wakeup.set()

    def defer_write(self, attempt: Attempt, write: Callable[[], object]) -> None:
        """Write the end of an attempt when the store is available again, and renew its lease until then.

        Args:
            attempt: The attempt.
            write: Writes the end. Raises `StoreUnavailable` while the store is unavailable.
        """
        with self._lock:
            self._deferred_writes.append((attempt, write))
        self.wake_in(_RETRY_AFTER)

    def check(self) -> float:
        """Write what was deferred, and handle the operations that are due.

        Returns:
            The number of seconds until the next check, unless :meth:`wake_in` asks for an earlier one.
        """
        clock = self._store.clock
        try:
            self._write_deferred()
            self._check_due()
        except StoreUnavailable:
            self._next_check = clock.monotonic() + min(1.0, self._interval)
        except BaseException:
            _logger.exception("Scheduler failed; will retry")
            self._next_check = clock.monotonic() + self._interval
        return max(0.0, self._next_check - clock.monotonic())

    def _run(self) -> None:
        pause = 0.0
        while not self._stopping:
            self._store.clock.wait(self._wakeup, pause)
            self._wakeup.clear()
            pause = self.check()
        self._flush()

    def _flush(self) -> None:
        """Write what was deferred before the process exits, as long as its grace period lasts."""
        clock = self._store.clock
        while self._deferred_writes:
            try:
                self._write_deferred()
            except StoreUnavailable:
                left = self._flush_until - clock.monotonic()
                if left <= 0:
                    return
                clock.wait(_NEVER, min(_RETRY_AFTER, left))

    def _write_deferred(self) -> None:
        while self._deferred_writes:
            attempt, write = self._deferred_writes[0]
            try:
                write()
            except StoreUnavailable:
                raise
            except Exception:
                _logger.exception("Deferred write of the operation %s failed", attempt.operation_id)
            self._deferred_writes.pop(0)
            self._heartbeat.remove(attempt)

    def _check_due(self) -> None:
        clock = self._store.clock
        if clock.monotonic() < self._next_check:
            return
        with self._lock:
            self._next_check = inf  # so that every later call of `wake_in` sets an earlier time
        due, now, wait = self._store.due(_BATCH)
        for operation in due:
            if self._stopping:
                return
            is_late = operation.mode is not Mode.INLINE and operation.deadline <= now
            if self._heartbeat.tracks(operation.id) and not is_late:
                continue
            try:
                self._handle_due(operation, now)
            except StoreUnavailable:
                raise
            except Exception:
                _logger.exception("Cannot handle the due operation %s", operation.id)
        if wait is None:
            wait = self._interval
        elif wait <= 0:  # submitted operations have not started yet
            wait = 0.05 if len(due) == _BATCH else min(0.5, self._interval)
        with self._lock:
            self._next_check = min(self._next_check, clock.monotonic() + min(wait, self._interval))
