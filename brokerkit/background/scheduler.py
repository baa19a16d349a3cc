"""The scheduler of a process: a thread that handles due operations and deferred writes.

If a process dies, the scheduler of another process finds its operations after one lease. It also submits
retries when they are due.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from math import inf
from threading import Event, Lock, Thread
from typing import Protocol, TypeVar

from ..store.errors import StoreUnavailable
from ..store.models import Attempt, Mode, OperationRecord
from ..store.store import CLOCK_TOLERANCE, START, Position, Store
from .heartbeat import Heartbeat
from .recovery import LeaseWatch

_logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_MAX_INTERVAL = 5.0
"""The maximum seconds between two checks for due operations, including those of other processes."""

_RETRY_AFTER = 0.5
"""The seconds after which a deferred write is tried first."""

_NEVER = Event()

_BATCH = 500
"""The maximum number of operations in one read or write."""

_BACKLOG_INTERVAL = 0.05
"""The seconds between two checks while there are due operations that this process has not submitted yet."""

_WAITING_INTERVAL = 0.5
"""The seconds between two checks while submitted operations wait for the executor."""


class DueOperations(Protocol):
    """The handling of due operations. The methods may raise `StoreUnavailable`."""

    def fail_late(self, operation: OperationRecord) -> None:
        """Fail an operation that is past its deadline. An attempt may be running."""

    def take_over(self, lost: Sequence[OperationRecord]) -> None:
        """Continue or fail operations whose attempts are lost."""

    def submit(self, operation_id: str) -> None:
        """Submit a background operation to the executor."""


class Scheduler:
    """A thread that handles due operations.

    Args:
        store: The store.
        heartbeat: The heartbeat, which tracks the attempts of this process.
        due: Handles due operations that are not running in this process.
    """

    def __init__(self, store: Store, heartbeat: Heartbeat, due: DueOperations) -> None:
        self._store = store
        self._heartbeat = heartbeat
        self._due = due
        self._interval = min(_MAX_INTERVAL, store.lease / 4)
        self._watch = LeaseWatch(store.clock, store.grace, store.lease)
        self._deferred_writes: list[tuple[Attempt, Callable[[], object]]] = []
        self._lock = Lock()
        self._wakeup = Event()
        self._stopping = False
        self._flush_until = 0.0
        self._next_check = 0.0
        self._position = START
        self._submitted: set[str] = set()
        self._submitted_before: set[str] = set()
        self._clock_offset = inf
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
            self._watch.disconnected()
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
        self._handle_running()
        self._watch.connected()
        if lost := self._watch.take_lost():
            self._take_over(lost)
        has_backlog = self._submit_waiting()
        wait, now = self._store.next_due()
        if self._was_set_back(now) and self._store.wake_misdated():
            _logger.warning("The clock of the database was set back; operations that waited for it are due")
            wait = 0.0
        if has_backlog:
            wait = _BACKLOG_INTERVAL
        elif wait is None:
            wait = self._interval
        elif wait <= 0:  # submitted operations have not started yet
            wait = _WAITING_INTERVAL
        watch = self._watch.next()
        wait = min(wait, self._interval, self._interval if watch is None else max(0.0, watch))
        with self._lock:
            self._next_check = min(self._next_check, clock.monotonic() + wait)

    def _handle_running(self) -> None:
        """Challenge expired leases, and fail the operations that are past their deadline."""
        position, is_full = START, True
        while is_full and not self._stopping:
            page = self._store.due_running(_BATCH, position)
            expired = []
            for operation, now in page:
                position = Position.of(operation)
                if operation.is_late_at(now):
                    self._guard(self._due.fail_late, operation)
                elif not (self._heartbeat.tracks(operation.id) or self._watch.watches(operation)):
                    expired.append(operation)
            for operation in self._store.challenge_leases(expired):
                self._watch.add(operation)
            is_full = len(page) == _BATCH

    def _take_over(self, lost: Sequence[OperationRecord]) -> None:
        for start in range(0, len(lost), _BATCH):
            self._guard(self._due.take_over, lost[start : start + _BATCH])

    def _submit_waiting(self) -> bool:
        """Submit one page of the operations that wait. The next check continues behind it.

        Returns:
            Whether more operations wait that were not submitted before.
        """
        page = self._store.due_waiting(_BATCH, self._position)
        is_new = False
        for operation, now in page:
            if self._stopping:
                return False
            if operation.is_late_at(now):
                self._guard(self._due.fail_late, operation)
            elif operation.mode is Mode.BACKGROUND:
                is_new = is_new or operation.id not in self._submitted_before
                self._submitted.add(operation.id)
                self._guard(self._due.submit, operation.id)
        if len(page) == _BATCH:
            self._position = Position.of(page[-1][0])
            return is_new
        self._position = START
        self._submitted_before, self._submitted = self._submitted, set()
        return False

    def _guard(self, handle: Callable[[_T], object], due: _T) -> None:
        """Handle due operations. An error must not keep the scheduler from the others."""
        try:
            handle(due)
        except StoreUnavailable:
            raise
        except Exception:
            _logger.exception("Cannot handle due operations; will retry")

    def _was_set_back(self, now: float) -> bool:
        """Whether the database's clock was set back since the last check, or may have been before it."""
        offset = now - self._store.clock.monotonic()
        was_set_back = offset < self._clock_offset - CLOCK_TOLERANCE
        self._clock_offset = offset
        return was_set_back
