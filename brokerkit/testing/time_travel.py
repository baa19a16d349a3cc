"""Lets time pass for a store without waiting."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Double, bindparam, case, update

from ..admin.queries import list_operations
from ..store.models import Mode, OperationRecord, Progress
from ..store.store import Store
from ..store.tables import operations
from ..store.transitions import Step, Transition

_MANY = 500


def advance_time(store: Store, seconds: float) -> None:
    """Bring forward what operations in progress wait for: their next attempt, and their end.

    Leases stay: who runs an operation would have renewed them.
    """
    passed: Any = bindparam("passed", type_=Double())
    deadline = operations.c.deadline - passed
    wakes = case(
        (operations.c.lease_until.is_(None), operations.c.wake_at - passed),
        (operations.c.wake_at > deadline, deadline),
        else_=operations.c.wake_at,
    )
    brought_forward = (
        update(operations)
        .values(wake_at=wakes, due_at=operations.c.due_at - passed, deadline=deadline)
        .where(operations.c.state == Progress.IN_PROGRESS.value, operations.c.mode != Mode.INLINE.value)
    )
    transition = Transition(store.database.engine.dialect, Step(brought_forward))
    with store.database.writing() as connection:
        transition.run(connection, {"passed": seconds})


def waiting_operations(store: Store) -> list[tuple[OperationRecord, float]]:
    """The background operations in progress, the oldest first, and in how many seconds each is due."""
    found, _ = list_operations(store, _MANY, state=Progress.IN_PROGRESS)
    return [
        (operation, (operation.wake_at or now) - now)
        for operation, now in reversed(found)
        if operation.mode is Mode.BACKGROUND
    ]
