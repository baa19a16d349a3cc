"""Statements that find due operations and challenge their leases."""

from __future__ import annotations

from sqlalchemy import Dialect, Select, case, func, literal_column, or_, select, update

from ..models import Progress
from ..tables import operations
from ..transitions import Query, Step, Transition
from .expressions import DUE, THE_OPERATION, Now, clock, number, seconds
from .reads import select_operations

# A literal instead of a parameter, so that the query planner can use the partial index.
IN_PROGRESS = operations.c.state == literal_column(f"'{Progress.IN_PROGRESS.value}'")


class DueStatements:
    """Statements for the scheduler.

    Args:
        dialect: The SQL dialect of the database.
    """

    def __init__(self, dialect: Dialect) -> None:
        now = clock(dialect)
        self.operations = Query(
            dialect,
            select_operations(dialect)
            .where(IN_PROGRESS, operations.c.wake_at <= now)
            .order_by(operations.c.wake_at)
            .limit(number("limit")),
        )
        next_due: Select[tuple[float]] = select(func.min(operations.c.wake_at) - now).where(IN_PROGRESS)
        self.next_due = Query(dialect, next_due)
        self.challenge_lease = Transition(dialect, _challenge_lease(now))


def _challenge_lease(now: Now) -> Step:
    """Build the step that gives an attempt, of the operation or its predecessor, time to renew its lease."""
    predecessor = operations.alias("predecessor")
    predecessor_lease = (
        select(predecessor.c.lease_until).where(predecessor.c.id == operations.c.follows).scalar_subquery()
    )
    return Step(
        update(operations)
        .values(
            wake_at=case((predecessor_lease > now, predecessor_lease), else_=now + seconds("grace")),
            due_at=None,
        )
        .where(
            THE_OPERATION,
            IN_PROGRESS,
            operations.c.wake_at <= now,
            or_(
                operations.c.lease_until >= DUE,
                predecessor_lease >= DUE,
            ),
        )
    )
