"""The observation of expired leases, before this process takes over the operations of another one.

A lease expires when its process is dead, and also when the database was unavailable or its clock was set
forward. So a process challenges an expired lease, and then watches it with its own clock. It takes over when
the lease was not renewed for a whole grace period in which this process could reach the database.
"""

from __future__ import annotations

from math import inf
from threading import Lock

from .._internal.clock import Clock
from ..store.models import OperationRecord


class LeaseWatch:
    """The leases that this process has challenged.

    Args:
        clock: The clock of this process.
        grace: The seconds that an attempt has to renew a challenged lease.
        recovery: The seconds after an outage in which no attempt counts as lost. The connections of its
            process may recover later than those of this one.
    """

    def __init__(self, clock: Clock, grace: float, recovery: float) -> None:
        self._clock = clock
        self._grace = grace
        self._recovery = recovery
        self._challenged: dict[str, tuple[OperationRecord, float]] = {}
        self._is_connected = True
        self._last_contact = clock.monotonic()
        self._not_before = -inf
        self._lock = Lock()

    def add(self, challenged: OperationRecord) -> None:
        """Watch a lease from now on."""
        with self._lock:
            self._challenged[challenged.id] = (challenged, self._clock.monotonic())

    def watches(self, expired: OperationRecord) -> bool:
        """Whether this lease is watched. A renewed lease, or the lease of a later attempt, is another one."""
        with self._lock:
            operation, since = self._challenged.get(expired.id, (None, 0.0))
            is_watched = operation is not None and _lease_of(operation) == _lease_of(expired)
            if is_watched:  # the operation may have been cancelled since
                self._challenged[expired.id] = (expired, since)
        return is_watched

    def disconnected(self) -> None:
        """Note that the database cannot be reached."""
        self._is_connected = False

    def connected(self) -> None:
        """Note that the database can be reached. After an outage, or a pause of this process, wait longer."""
        now = self._clock.monotonic()
        if not self._is_connected:
            self._not_before = now + self._recovery
        elif now - self._last_contact > self._grace:
            self._not_before = max(self._not_before, now + self._grace)
        self._is_connected, self._last_contact = True, now

    def take_lost(self) -> list[OperationRecord]:
        """Remove and return the operations whose grace period is over."""
        now = self._clock.monotonic()
        if now < self._not_before:
            return []
        with self._lock:
            lost = [operation for operation, since in self._challenged.values() if since + self._grace <= now]
            for operation in lost:
                del self._challenged[operation.id]
        return lost

    def next(self) -> float | None:
        """Return the seconds until the next grace period is over, or None without a watched lease."""
        with self._lock:
            ends = [since + self._grace for _, since in self._challenged.values()]
        return max(min(ends), self._not_before) - self._clock.monotonic() if ends else None


def _lease_of(operation: OperationRecord) -> tuple[int, int]:
    return operation.attempt, operation.renewals
