"""Attempts: a background operation is begun, lives, waits, is given up, and begins once more."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Case, ColumnElement, Dialect, and_, case, exists, func, null, or_, select, update

from ..models import Mode, Progress, State
from ..tables import bindings, instances, operations
from ..transitions import Step, Transition
from .expressions import (
    CURRENT,
    DUE,
    IS_CHALLENGED,
    ONE,
    THE_BINDING,
    THE_INSTANCE,
    THE_OPERATION,
    Now,
    PerResource,
    blob,
    clock,
    greater,
    lesser,
    number,
    seconds,
    text,
)

_THE_ATTEMPT = operations.c.attempt == number("o_attempt")


class AttemptStatements:
    """How an attempt goes.

    Args:
        dialect: The database's.
    """

    def __init__(self, dialect: Dialect) -> None:
        now = clock(dialect)
        self.begin = Transition(dialect, _begun(dialect, now))
        self.hand_on = Transition(dialect, _handed_on(dialect, now))
        self.take_back = Transition(dialect, _taken_back(dialect, now))
        told = (
            update(operations)
            .values(outcome=blob("o_outcome"), updated_at=now)
            .where(*CURRENT, operations.c.deadline > now)
        )
        self.tell = Transition(dialect, Step(told))
        postponed = (
            update(operations)
            .values(
                lease_until=None,
                due_at=None,
                wake_at=lesser(dialect, now + seconds("after"), operations.c.deadline),
                outcome=func.coalesce(blob("o_outcome"), operations.c.outcome),
                updated_at=now,
            )
            .where(*CURRENT)
        )
        self.postpone = Transition(dialect, Step(postponed))
        self.leave = _left(dialect, now)
        self.renew = Transition(dialect, _renewed(dialect, now))
        self.repeat = _repeated(dialect, now)


def _is_free() -> tuple[ColumnElement[bool], ...]:
    """Nobody works on the background operation, nor on the one that it follows."""
    before = operations.alias("before")
    may_run_before = exists(
        select(ONE).where(before.c.id == operations.c.follows, before.c.lease_until >= DUE)
    )
    return (
        operations.c.state == Progress.IN_PROGRESS.value,
        operations.c.mode == Mode.BACKGROUND.value,
        or_(operations.c.lease_until.is_(None), IS_CHALLENGED),
        ~may_run_before,
    )


def _begun(dialect: Dialect, now: Now) -> Step:
    return Step(
        update(operations)
        .values(
            attempt=operations.c.attempt + 1,
            lease_until=now + seconds("lease"),
            due_at=None,
            wake_at=lesser(dialect, now + seconds("lease"), operations.c.deadline),
            updated_at=now,
        )
        .where(THE_OPERATION, _THE_ATTEMPT, now >= DUE, *_is_free())
    )


def _handed_on(dialect: Dialect, now: Now) -> Step:
    """It is put into a queue, and nobody does that again for a while: each time twice as long."""
    waited = lesser(dialect, now - DUE, seconds("longest"))
    pause = greater(dialect, waited, seconds("least"))
    has_no_call_to_wait_for = or_(operations.c.follows.is_(None), operations.c.attempt > 0)
    return Step(
        update(operations)
        .values(
            due_at=DUE,
            wake_at=lesser(dialect, greater(dialect, now, DUE) + pause, operations.c.deadline),
        )
        .where(
            THE_OPERATION,
            or_(
                operations.c.wake_at <= now,
                and_(operations.c.wake_at <= now + seconds("ahead"), has_no_call_to_wait_for),
            ),
            *_is_free(),
        )
    )


def _taken_back(dialect: Dialect, now: Now) -> Step:
    """It could not be put into the queue."""
    return Step(
        update(operations)
        .values(
            wake_at=lesser(
                dialect,
                greater(dialect, now + seconds("after"), operations.c.due_at),
                operations.c.deadline,
            )
        )
        .where(THE_OPERATION, operations.c.due_at.is_not(None), *_is_free())
    )


def _left(dialect: Dialect, now: Now) -> PerResource:
    """The attempt of an operation that was given up is through, and what follows it can begin."""
    left = Step(
        update(operations)
        .values(lease_until=None)
        .where(THE_OPERATION, _THE_ATTEMPT, operations.c.lease_until > now)
    )
    followers = Step(
        update(operations)
        .values(wake_at=now, due_at=None)
        .where(
            operations.c.instance_id == text("i_id"),
            operations.c.follows == text("o_id"),
            operations.c.state == Progress.IN_PROGRESS.value,
        )
    )
    # The revisions, so that who is about to follow looks anew, and sees that it need not wait.
    instance = Step(
        update(instances)
        .values(
            revision=instances.c.revision + 1,
            result=func.coalesce(blob("i_result"), instances.c.result),
        )
        .where(THE_INSTANCE, _is_ours(instances.c.operation))
    )
    binding = Step(
        update(bindings)
        .values(
            revision=bindings.c.revision + 1,
            result=func.coalesce(blob("b_result"), bindings.c.result),
        )
        .where(*THE_BINDING, _is_ours(bindings.c.operation))
    )
    return PerResource(
        instance=Transition(dialect, left, followers, instance),
        binding=Transition(dialect, left, followers, binding),
    )


def _is_ours(last: ColumnElement[Any]) -> ColumnElement[bool]:
    """The last operation is the one that was given up, or one that waits for it."""
    after = operations.alias("after")
    waits = exists(
        select(ONE).where(after.c.id == last, after.c.follows == text("o_id"), after.c.attempt == 0)
    )
    return or_(last == text("o_id"), waits)


def _renewed(dialect: Dialect, now: Now) -> Step:
    return Step(
        update(operations)
        .values(lease_until=now + seconds("lease"), due_at=None, wake_at=_waking(dialect, now))
        .where(
            THE_OPERATION,
            _THE_ATTEMPT,
            operations.c.lease_until.is_not(None),
            # Of what was given up, a lease that has ended stays so: what follows may have begun.
            or_(operations.c.state == Progress.IN_PROGRESS.value, operations.c.lease_until > now),
        )
    )


def _waking(dialect: Dialect, now: Now) -> Case[Any]:
    """Who runs at once has no deadline; who works in the background has, and then its end is looked at."""
    lease = now + seconds("lease")
    return case(
        (operations.c.state != Progress.IN_PROGRESS.value, null()),
        (operations.c.mode == Mode.INLINE.value, lease),
        else_=lesser(dialect, lease, operations.c.deadline),
    )


def _repeated(dialect: Dialect, now: Now) -> PerResource:
    """An operation that failed begins once more, if nothing has happened since."""
    can_be_repeated = exists(
        select(ONE).where(
            THE_OPERATION,
            operations.c.state == Progress.FAILED.value,
            operations.c.mode == Mode.BACKGROUND.value,
            or_(operations.c.lease_until.is_(None), operations.c.lease_until < now),
        )
    )
    # First the instance: every claim changes one of these two, and PostgreSQL looks at the row that it
    # waited for anew, but not at what a subquery found.
    as_seen = (
        update(instances)
        .where(
            THE_INSTANCE,
            instances.c.revision == number("i_revision"),
            instances.c.busy_bindings == number("i_busy"),
            can_be_repeated,
        )
        .values(revision=instances.c.revision + 1)
    )
    again = Step(
        update(operations)
        .values(
            state=Progress.IN_PROGRESS.value,
            attempts_before=operations.c.attempt,
            outcome=None,
            due_at=None,
            wake_at=now,
            deadline=now + seconds("o_deadline"),
            updated_at=now,
        )
        .where(THE_OPERATION, operations.c.state == Progress.FAILED.value),
        must=True,
    )
    idle = Step(
        as_seen.values(state=func.coalesce(text("i_state"), instances.c.state)).where(
            instances.c.operation == text("o_id"),
            instances.c.busy_bindings == 0,
            instances.c.state != State.DELETED.value,
        )
    )
    is_last_of_binding = exists(select(ONE).where(*THE_BINDING, bindings.c.operation == text("o_id")))
    busy = Step(as_seen.values(busy_bindings=instances.c.busy_bindings + 1).where(is_last_of_binding))
    binding = Step(
        update(bindings)
        .values(
            revision=bindings.c.revision + 1,
            state=func.coalesce(text("b_state"), bindings.c.state),
        )
        .where(*THE_BINDING)
    )
    return PerResource(
        instance=Transition(dialect, idle, again), binding=Transition(dialect, busy, again, binding)
    )
