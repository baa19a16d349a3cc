"""Statements that find due operations."""

from __future__ import annotations

from sqlalchemy import (
    ColumnElement,
    Dialect,
    and_,
    case,
    func,
    literal_column,
    or_,
    select,
    union_all,
    update,
)

from ..models import Mode, Progress
from ..tables import operations
from ..transitions import Query, Step, Transition
from .expressions import IS_RUNNING, Now, clock, number, seconds, text
from .reads import select_operations

# Literals instead of parameters, so that the query planner can use the partial index.
IN_PROGRESS = operations.c.state == literal_column(f"'{Progress.IN_PROGRESS.value}'")


class DueStatements:
    """Statements for the scheduler.

    Args:
        dialect: The SQL dialect of the database.
    """

    def __init__(self, dialect: Dialect) -> None:
        now = clock(dialect)
        self.running = _page(dialect, now, IS_RUNNING)
        self.waiting = _page(dialect, now, and_(IN_PROGRESS, ~IS_RUNNING))
        next_of_all = union_all(
            *(
                select(func.min(operations.c.wake_at).label("wake_at")).where(kind)
                for kind in (IN_PROGRESS, IS_RUNNING)
            )
        ).subquery()
        self.next_due = Query(dialect, select(func.min(next_of_all.c.wake_at) - now, now))
        self.wake_misdated = Transition(dialect, _wake_misdated(now))


def _page(dialect: Dialect, now: Now, condition: ColumnElement[bool]) -> Query:
    """Build a query for the due operations after a position, in the order of their times."""
    position = or_(
        operations.c.wake_at > seconds("after"),
        and_(operations.c.wake_at == seconds("after"), operations.c.id > text("after_id")),
    )
    return Query(
        dialect,
        select_operations(dialect)
        .where(condition, operations.c.wake_at <= now, operations.c.wake_at >= seconds("after"), position)
        .order_by(operations.c.wake_at, operations.c.id)
        .limit(number("limit")),
    )


def _wake_misdated(now: Now) -> Step:
    """Build the step for a clock that was set back: whatever waits longer than it ever should is due.

    Deadlines stay unchanged.
    """
    longest = case(
        (IS_RUNNING, seconds("lease")),
        (operations.c.due_at.is_not(None), seconds("longest_in_queue")),
        # A planned attempt: the operation was changed when its time was set.
        else_=operations.c.wake_at - operations.c.updated_at,
    )
    return Step(
        update(operations)
        .values(wake_at=now, due_at=None, updated_at=now)
        .where(
            or_(IN_PROGRESS, IS_RUNNING),
            operations.c.mode != literal_column(f"'{Mode.POLLED.value}'"),
            operations.c.wake_at > now + longest + seconds("tolerance"),
        )
    )
