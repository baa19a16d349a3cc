"""Writing what must not be lost, though the store is away."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

from .errors import StoreUnavailable
from .models import Attempt, Outcome, Progress
from .store import Store


def persist(
    store: Store,
    attempt: Attempt,
    write: Callable[[], bool],
    stopping: Event,
    *,
    leads_to: Progress,
    outcome: Outcome | None = None,
    patience: float | None = None,
) -> bool:
    """Write how an attempt ended, again and again while the store is away.

    Args:
        store: The store.
        attempt: Who writes.
        write: Returns whether the store was as it must be.
        stopping: Is set when the process is about to end.
        leads_to: The state that the operation then has.
        outcome: Of a failure, what is written of it: by that it is told from one that others noted.
        patience: For how many seconds; None for as long as the process lives.

    Returns:
        Whether it is written. If not, the operation was given up or taken over.

    Raises:
        StoreUnavailable: The store was away for too long.
    """
    waited, pause = 0.0, 0.05
    while True:
        try:
            return write() or (waited > 0 and is_written(store, attempt, leads_to, outcome))
        except StoreUnavailable:
            if stopping.is_set() or (patience is not None and waited >= patience):
                raise
            stopping.wait(pause)
            waited, pause = waited + pause, min(pause * 2, 2.0)


def follower_of(store: Store, attempt: Attempt) -> str | None:
    """The operation that waits for an attempt to end, if there is one."""
    known = store.find_by_key(attempt.instance_key, attempt.binding_key)
    subject = known.instance if attempt.binding_key is None else known.binding
    operation = subject.operation if subject else None
    return operation.id if operation and operation.follows == attempt.operation_id else None


def is_written(store: Store, attempt: Attempt, leads_to: Progress, outcome: Outcome | None) -> bool:
    """A commit whose answer was lost may have happened all the same."""
    found = store.find_operation(attempt.operation_id)
    if found is None:
        return False
    operation, _ = found
    return (
        operation.attempt == attempt.number
        and operation.state is leads_to
        and operation.lease_until is None
        and (outcome is None or store.outcome_of(operation) == outcome)
    )
