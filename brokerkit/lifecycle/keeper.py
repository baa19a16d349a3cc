"""What a process does beside its requests: it says that its attempts live, and looks at what others left.

One thread. It is what finds, within one lease, an operation whose process died; and when what waits is due.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import inf
from threading import Event, Lock, Thread
from time import monotonic

from .changes import Attempt
from .errors import StoreUnavailable
from .records import Mode, OperationRecord
from .store import Store

_logger = logging.getLogger("brokerkit")

_LONGEST_WAIT = 5.0
"""In seconds: after so long it looks whether another process left something that is due."""

_BATCH = 500
"""How many operations are looked at in one go."""


class Keeper:
    """Keeps attempts alive, and hands on what is due.

    Args:
        store: The store.
        look_at: Called with each operation that is due and not in progress here. It may raise
            `StoreUnavailable`.
    """

    def __init__(self, store: Store, look_at: Callable[[OperationRecord, float], None]) -> None:
        self._store = store
        self._look_at = look_at
        self._held: dict[str, Attempt] = {}
        self._pending: list[tuple[Attempt, Callable[[], object]]] = []
        self._lock = Lock()
        self._nudged = Event()
        self._stopping = False
        self._renewed_at = 0.0
        self._next_look = 0.0
        self._trusts_leases_from = 0.0
        self._thread = Thread(target=self._run, name="brokerkit-keeper", daemon=True)

    def start(self) -> None:
        """Begin, in a process that serves."""
        self._renewed_at = monotonic()
        self._thread.start()

    def stop(self) -> None:
        """End; what is held is held no longer."""
        self._stopping = True
        self._nudged.set()
        if self._thread.is_alive():
            self._thread.join(_LONGEST_WAIT)

    def hold(self, attempt: Attempt) -> None:
        """Say from now on that an attempt lives."""
        self._held[attempt.operation_id] = attempt

    def drop(self, attempt: Attempt) -> None:
        """It is through."""
        self._held.pop(attempt.operation_id, None)

    def look_in(self, seconds: float) -> None:
        """Look for what is due in so many seconds, if not before."""
        when = monotonic() + seconds
        with self._lock:
            if when >= self._next_look:
                return
            self._next_look = when
        self._nudged.set()

    def write_later(self, attempt: Attempt, write: Callable[[], object]) -> None:
        """Write how an attempt ended as soon as the store is there again, and hold it until then.

        Args:
            attempt: The attempt.
            write: Raises `StoreUnavailable` while it cannot.
        """
        with self._lock:
            self._pending.append((attempt, write))

    def _run(self) -> None:
        while not self._stopping:
            self._nudged.wait(max(0.0, self._until_next()))
            self._nudged.clear()
            try:
                self._write_pending()
                self._renew()
                self._look()
            except StoreUnavailable:
                # Nobody could say that it lives: give all others time for it before declaring them dead.
                now = monotonic()
                pause = min(1.0, self._store.lease / 3)
                self._trusts_leases_from = now + self._store.lease
                self._renewed_at = now + pause - self._store.lease / 3
                self._next_look = now + pause
            except Exception:
                _logger.exception("the keeper failed; it goes on")
                self._next_look = monotonic() + _LONGEST_WAIT

    def _until_next(self) -> float:
        if not self._held:
            return self._next_look - monotonic()
        return min(self._renewed_at + self._store.lease / 3, self._next_look) - monotonic()

    def _write_pending(self) -> None:
        while self._pending:
            attempt, write = self._pending[0]
            write()
            self._pending.pop(0)
            self.drop(attempt)

    def _renew(self) -> None:
        now = monotonic()
        if now < self._renewed_at + self._store.lease / 3:
            return
        held = list(self._held.values())
        if held:
            for attempt in self._store.renew(held):  # lost, or through just now
                self.drop(attempt)
        self._renewed_at = now

    def _look(self) -> None:
        if monotonic() < self._next_look:
            return
        with self._lock:
            self._next_look = inf  # from here on, who asks for an earlier look is heard
        due, now, wait = self._store.due(_BATCH)
        for operation in due:
            if self._stopping:
                return
            is_late = operation.mode is not Mode.AT_ONCE and operation.deadline <= now
            if operation.id in self._held and not is_late:
                continue
            if operation.lease_until is not None and monotonic() < self._trusts_leases_from:
                continue
            try:
                self._look_at(operation, now)
            except StoreUnavailable:
                raise
            except Exception:
                _logger.exception("the operation %s could not be looked at", operation.id)
        longest = min(_LONGEST_WAIT, self._store.lease / 3)
        if wait is None:
            wait = longest
        elif wait <= 0:  # what was handed on has not begun yet
            wait = 0.05 if len(due) == _BATCH else min(0.5, longest)
        with self._lock:
            self._next_look = min(self._next_look, monotonic() + min(wait, longest))
