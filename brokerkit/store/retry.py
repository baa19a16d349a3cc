"""Retries of writes that must not be lost when the store is unavailable."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

from .errors import StoreUnavailable
from .models import Attempt, Outcome, Progress
from .store import Store

_NEVER = Event()
"""An event that is never set, for a wait of a fixed duration."""


def persist(
    store: Store,
    attempt: Attempt,
    write: Callable[[], bool],
    stopping: Event,
    *,
    leads_to: Progress | None,
    outcome: Outcome | None = None,
    patience: float | None = None,
    grace: float = 0.0,
) -> bool:
    """Write the end of an attempt, and retry while the store is unavailable.

    Args:
        store: The store.
        attempt: The attempt that writes.
        write: Writes the end. Returns False if the store did not have the expected state.
        stopping: The event that is set when the process shuts down.
        leads_to: The state of the operation after the write. None if the write deletes the operation.
        outcome: The outcome of a failure. It distinguishes this write from a write by another process.
            Defaults to None.
        patience: The maximum number of seconds to retry, also during a shutdown. Defaults to None: retry
            until the process shuts down, and then for the grace period.
        grace: The number of seconds to retry during a shutdown. Defaults to 0.

    Returns:
        Whether the end is stored. If not, the operation was cancelled, or another process took it over.

    Raises:
        StoreUnavailable: The store stayed unavailable.
    """
    clock, pause, is_retry = store.clock, 0.05, False
    ends_at = None if patience is None else clock.monotonic() + patience
    while True:
        try:
            return write() or (is_retry and is_written(store, attempt, leads_to, outcome))
        except StoreUnavailable:
            is_retry = True
            if ends_at is None and stopping.is_set():
                ends_at = clock.monotonic() + grace
            if ends_at is None:
                clock.wait(stopping, pause)
            else:
                left = ends_at - clock.monotonic()
                if left <= 0:
                    raise
                clock.wait(_NEVER, min(pause, left))
            pause = min(pause * 2, 2.0)


def follower_of(store: Store, attempt: Attempt) -> str | None:
    """Return the id of the operation that waits for the end of an attempt, or None."""
    snapshot = store.find_by_key(attempt.instance_key, attempt.binding_key)
    resource = snapshot.instance if attempt.binding_key is None else snapshot.binding
    operation = resource.operation if resource else None
    return operation.id if operation and operation.follows == attempt.operation_id else None


def is_written(store: Store, attempt: Attempt, leads_to: Progress | None, outcome: Outcome | None) -> bool:
    """Whether the end of an attempt is in the store. A commit can succeed although its response is lost."""
    result = store.find_operation(attempt.operation_id)
    if result is None or leads_to is None:
        return result is None and leads_to is None
    operation, _ = result
    return (
        operation.attempt == attempt.number
        and operation.state is leads_to
        and operation.lease_until is None
        and (outcome is None or store.outcome_of(operation) == outcome)
    )
