"""What a process does beside its requests: it looks at what others left, and at what is due.

One thread. It is what finds, within one lease, an operation whose process died; and when what waits is due.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import inf
from threading import Event, Lock, Thread
from time import monotonic

from ..store.errors import StoreUnavailable
from ..store.models import Attempt, Mode, OperationRecord
from ..store.store import Store
from .heartbeat import Heartbeat

_logger = logging.getLogger("brokerkit")

_LONGEST_WAIT = 5.0
"""In seconds: after so long it looks whether another process left something that is due."""

_BATCH = 500
"""How many operations are looked at in one go."""


class Scheduler:
    """Hands on what is due.

    Args:
        store: The store.
        heart: Knows what runs here.
        handle_due: Called with each operation that is due and does not run here, and the time by the store's
            clock. It may raise `StoreUnavailable`.
    """

    def __init__(
        self, store: Store, heart: Heartbeat, handle_due: Callable[[OperationRecord, float], None]
    ) -> None:
        self._store = store
        self._heart = heart
        self._handle_due = handle_due
        self._every = min(_LONGEST_WAIT, store.lease / 4)
        self._pending: list[tuple[Attempt, Callable[[], object]]] = []
        self._lock = Lock()
        self._nudged = Event()
        self._stopping = False
        self._next_look = 0.0
        self._thread = Thread(target=self._run, name="brokerkit-keeper", daemon=True)

    def start(self) -> None:
        """Begin, in a process that serves."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Does its thread run?"""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End."""
        self._stopping = True
        self._nudged.set()
        self._thread.join(_LONGEST_WAIT)

    def wake_in(self, seconds: float) -> None:
        """Look for what is due in so many seconds, if not before."""
        when = monotonic() + seconds
        with self._lock:
            if when >= self._next_look:
                return
            self._next_look = when
        self._nudged.set()

    def defer_write(self, attempt: Attempt, write: Callable[[], object]) -> None:
        """Write how an attempt ended as soon as the store is there again, and let go of it then.

        Args:
            attempt: The attempt.
            write: Raises `StoreUnavailable` while it cannot.
        """
        with self._lock:
            self._pending.append((attempt, write))

    def _run(self) -> None:
        while not self._stopping:
            self._nudged.wait(max(0.0, self._next_look - monotonic()))
            self._nudged.clear()
            try:
                self._write_pending()
                self._look()
            except StoreUnavailable:
                self._next_look = monotonic() + min(1.0, self._every)
            except BaseException:
                _logger.exception("the keeper failed; it goes on")
                self._next_look = monotonic() + self._every

    def _write_pending(self) -> None:
        while self._pending:
            attempt, write = self._pending[0]
            try:
                write()
            except StoreUnavailable:
                raise
            except Exception:
                _logger.exception("how the operation %s ended is lost", attempt.operation_id)
            self._pending.pop(0)
            self._heart.remove(attempt)

    def _look(self) -> None:
        if monotonic() < self._next_look:
            return
        with self._lock:
            self._next_look = inf  # from here on, who asks for an earlier look is heard
        due, now, wait = self._store.due(_BATCH)
        for operation in due:
            if self._stopping:
                return
            is_late = operation.mode is not Mode.INLINE and operation.deadline <= now
            if self._heart.tracks(operation.id) and not is_late:
                continue
            try:
                self._handle_due(operation, now)
            except StoreUnavailable:
                raise
            except Exception:
                _logger.exception("the operation %s could not be looked at", operation.id)
        if wait is None:
            wait = self._every
        elif wait <= 0:  # what was handed on has not begun yet
            wait = 0.05 if len(due) == _BATCH else min(0.5, self._every)
        with self._lock:
            self._next_look = min(self._next_look, monotonic() + min(wait, self._every))
