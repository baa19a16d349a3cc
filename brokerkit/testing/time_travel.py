"""Advancing the clock of a store's operations, without waiting."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Double, bindparam, case, update

from ..admin.queries import list_operations
from ..store.models import Mode, OperationRecord, Progress
from ..store.store import Store
from ..store.tables import operations
from ..store.transitions import Step, Transition

_LIMIT = 500


def advance_time(store: Store, seconds: float) -> None:
    """Bring forward the next attempts and the deadlines of the operations in progress.

    Leases stay unchanged, because a running worker would have renewed them.

    Args:
        store: The store.
        seconds: The time to advance by.
    """
    elapsed: Any = bindparam("elapsed", type_=Double())
    deadline = operations.c.deadline - elapsed
    wake_at = case(
        (operations.c.lease_until.is_(None), operations.c.wake_at - elapsed),
        (operations.c.wake_at > deadline, deadline),
        else_=operations.c.wake_at,
    )
    statement = (
        update(operations)
        .values(wake_at=wake_at, due_at=operations.c.due_at - elapsed, deadline=deadline)
        .where(operations.c.state == Progress.IN_PROGRESS.value, operations.c.mode != Mode.INLINE.value)
    )
    transition = Transition(store.database.engine.dialect, Step(statement))
    with store.database.writing() as connection:
        transition.run(connection, {"elapsed": seconds})


def waiting_operations(store: Store) -> list[tuple[OperationRecord, float]]:
    """Return the background operations in progress, oldest first, each with the seconds until it is due."""
    rows, _ = list_operations(store, _LIMIT, state=Progress.IN_PROGRESS)
    return [
        (operation, (operation.wake_at or now) - now)
        for operation, now in reversed(rows)
        if operation.mode is Mode.BACKGROUND
    ]
