"""Sweeps: what must be looked at, and who may run it still."""

from __future__ import annotations

from sqlalchemy import Dialect, Select, case, func, literal_column, or_, select, update

from ..models import Progress
from ..tables import operations
from ..transitions import Query, Step, Transition
from .expressions import DUE, THE_OPERATION, Now, clock, number, seconds
from .reads import every_operation

# Written out, not a parameter: only so does a planner know that the partial index will do.
IN_PROGRESS = operations.c.state == literal_column(f"'{Progress.IN_PROGRESS.value}'")


class DueStatements:
    """How a keeper finds what to do.

    Args:
        dialect: The database's.
    """

    def __init__(self, dialect: Dialect) -> None:
        now = clock(dialect)
        self.due = Query(
            dialect,
            every_operation(dialect)
            .where(IN_PROGRESS, operations.c.wake_at <= now)
            .order_by(operations.c.wake_at)
            .limit(number("limit")),
        )
        next_due: Select[tuple[float]] = select(func.min(operations.c.wake_at) - now).where(IN_PROGRESS)
        self.next_due = Query(dialect, next_due)
        self.call_out = Transition(dialect, _called_out(now))


def _called_out(now: Now) -> Step:
    """Who may run the operation, or the one that it follows, is given time to say that it lives."""
    before = operations.alias("before")
    lease_before = select(before.c.lease_until).where(before.c.id == operations.c.follows).scalar_subquery()
    return Step(
        update(operations)
        .values(wake_at=case((lease_before > now, lease_before), else_=now + seconds("grace")), due_at=None)
        .where(
            THE_OPERATION,
            IN_PROGRESS,
            operations.c.wake_at <= now,
            or_(
                operations.c.lease_until >= DUE,
                lease_before >= DUE,
            ),
        )
    )
