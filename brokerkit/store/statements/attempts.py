"""Statements for attempts of background operations: begin, renew, enqueue, postpone, release and retry."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Case, ColumnElement, Dialect, case, exists, func, or_, select, update

from ..models import Mode, Progress, State
from ..tables import bindings, instances, operations
from ..transitions import Step, Transition
from .ends import UNMARK_BUSY
from .expressions import (
    CURRENT,
    DUE,
    IS_RUNNING,
    ONE,
    SAME_LEASE,
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
    """Transitions of an attempt.

    An attempt may run as long as its operation has a lease, in progress or not.

    Args:
        dialect: The SQL dialect of the database.
    """

    def __init__(self, dialect: Dialect) -> None:
        now = clock(dialect)
        self.begin = Transition(dialect, _begin(dialect, now))
        self.mark_enqueued = Transition(dialect, _mark_enqueued(dialect, now))
        self.requeue = Transition(dialect, _requeue(dialect, now))
        progress = update(operations).values(outcome=blob("o_outcome"), updated_at=now).where(*CURRENT)
        self.record_progress = Transition(dialect, Step(progress.where(IS_RUNNING)))
        self.record_poll = Transition(dialect, Step(progress.where(~IS_RUNNING)))
        postponed = (
            update(operations)
            .values(
                lease_until=None,
                due_at=None,
                wake_at=lesser(dialect, now + seconds("after"), operations.c.deadline),
                outcome=func.coalesce(blob("o_outcome"), operations.c.outcome),
                handovers=operations.c.handovers + number("o_handovers"),
                updated_at=now,
            )
            .where(*CURRENT)
        )
        self.postpone = Transition(dialect, Step(postponed))
        self.release = _release(dialect, now, IS_RUNNING)
        self.release_lost = _release(dialect, now, SAME_LEASE)
        self.challenge = Transition(dialect, _challenge(now))
        self.reclaim = Transition(dialect, _reclaim(now))
        self.renew = Transition(dialect, _renew(dialect, now))
        self.retry_failed = _retry_failed(dialect, now)


def _is_free() -> tuple[ColumnElement[bool], ...]:
    """Build the conditions that neither the operation nor its predecessor has a running attempt."""
    predecessor = operations.alias("predecessor")
    predecessor_runs = exists(
        select(ONE).where(predecessor.c.id == operations.c.follows, predecessor.c.lease_until.is_not(None))
    )
    return (
        operations.c.state == Progress.IN_PROGRESS.value,
        operations.c.mode == Mode.BACKGROUND.value,
        ~IS_RUNNING,
        ~predecessor_runs,
    )


def _begin(dialect: Dialect, now: Now) -> Step:
    return Step(
        update(operations)
        .values(
            attempt=operations.c.attempt + 1,
            lease_until=now + seconds("lease"),
            due_at=None,
            wake_at=lesser(dialect, now + seconds("lease"), operations.c.deadline),
            updated_at=now,
        )
        .where(
            THE_OPERATION,
            _THE_ATTEMPT,
            operations.c.attempts_before == number("o_attempts_before"),
            now >= DUE,
            *_is_free(),
        )
    )


def _mark_enqueued(dialect: Dialect, now: Now) -> Step:
    """Build the step that marks an operation as enqueued. It waits as long as it has waited already."""
    waited = lesser(dialect, now - DUE, seconds("longest"))
    pause = greater(dialect, waited, seconds("least"))
    return Step(
        update(operations)
        .values(
            due_at=DUE,
            wake_at=lesser(dialect, greater(dialect, now, DUE) + pause, operations.c.deadline),
        )
        .where(
            THE_OPERATION,
            operations.c.wake_at <= now + seconds("early"),
            *_is_free(),
        )
    )


def _requeue(dialect: Dialect, now: Now) -> Step:
    """Build the step for an operation that could not be enqueued."""
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


def _challenge(now: Now) -> Step:
    """Build the step that gives an attempt time to renew its lease, although the lease has expired."""
    return Step(
        update(operations)
        .values(wake_at=now + seconds("grace"), due_at=None)
        .where(THE_OPERATION, _THE_ATTEMPT, SAME_LEASE, operations.c.wake_at <= now)
    )


def _reclaim(now: Now) -> Step:
    """Build the step that removes the lease of a lost attempt, so that the next one can begin."""
    return Step(
        update(operations)
        .values(lease_until=None, wake_at=now, due_at=None, updated_at=now)
        .where(*CURRENT, operations.c.mode == Mode.BACKGROUND.value, SAME_LEASE)
    )


def _release(dialect: Dialect, now: Now, condition: ColumnElement[bool]) -> PerResource:
    """Build the transition that ends the attempt of an abandoned operation and wakes its follower.

    The follower's time begins now. It could not begin earlier.

    Args:
        dialect: The SQL dialect of the database.
        now: The current time.
        condition: The condition on the lease.
    """
    released = Step(
        update(operations)
        .values(lease_until=None, wake_at=None)
        .where(
            THE_OPERATION,
            _THE_ATTEMPT,
            operations.c.state != Progress.IN_PROGRESS.value,
            condition,
            operations.c.followed_by.is_not_distinct_from(text("o_followed_by")),
        )
    )
    followers = Step(
        update(operations)
        .values(
            wake_at=now,
            due_at=None,
            deadline=now + (operations.c.deadline - operations.c.created_at),
            updated_at=now,
        )
        .where(
            operations.c.instance_id == text("i_id"),
            operations.c.follows == text("o_id"),
            operations.c.state == Progress.IN_PROGRESS.value,
            operations.c.attempt == 0,
        )
    )
    # Change the revisions: a concurrent request that read the running attempt must read again.
    instance = Step(
        update(instances)
        .values(
            revision=instances.c.revision + 1,
            result=func.coalesce(blob("i_result"), instances.c.result),
        )
        .where(THE_INSTANCE, _belongs_to_operation(instances.c.operation))
    )
    binding = Step(
        update(bindings)
        .values(
            revision=bindings.c.revision + 1,
            result=func.coalesce(blob("b_result"), bindings.c.result),
        )
        .where(*THE_BINDING, _belongs_to_operation(bindings.c.operation))
    )
    return PerResource(
        instance=Transition(dialect, released, followers, instance),
        binding=Transition(dialect, released, followers, UNMARK_BUSY, binding),
    )


def _belongs_to_operation(last: ColumnElement[Any]) -> ColumnElement[bool]:
    """Build the condition that the last operation is the cancelled operation or its follower."""
    follower = operations.alias("follower")
    is_follower = exists(
        select(ONE).where(follower.c.id == last, follower.c.follows == text("o_id"), follower.c.attempt == 0)
    )
    return or_(last == text("o_id"), is_follower)


def _renew(dialect: Dialect, now: Now) -> Step:
    return Step(
        update(operations)
        .values(
            lease_until=now + seconds("lease"),
            renewals=operations.c.renewals + 1,
            due_at=None,
            wake_at=_wake_at(dialect, now),
        )
        .where(THE_OPERATION, _THE_ATTEMPT, IS_RUNNING)
    )


def _wake_at(dialect: Dialect, now: Now) -> Case[Any]:
    """Build the next wake-up time. Only a background attempt in progress has a deadline."""
    lease = now + seconds("lease")
    return case(
        (operations.c.state != Progress.IN_PROGRESS.value, lease),
        (operations.c.mode == Mode.INLINE.value, lease),
        else_=lesser(dialect, lease, operations.c.deadline),
    )


def _retry_failed(dialect: Dialect, now: Now) -> PerResource:
    """Build the transition that starts a failed operation again, if its resource has not changed."""
    is_retryable = exists(
        select(ONE).where(
            THE_OPERATION,
            operations.c.state == Progress.FAILED.value,
            operations.c.mode == Mode.BACKGROUND.value,
            ~IS_RUNNING,
        )
    )
    last = operations.alias("last_of_instance")
    instance_runs = exists(
        select(ONE).where(last.c.id == instances.c.operation, last.c.lease_until.is_not(None))
    )
    # First the instance: every claim changes one of these two columns. After a wait for a lock, PostgreSQL
    # checks the locked row again, but not the result of a subquery.
    unchanged = (
        update(instances)
        .where(
            THE_INSTANCE,
            instances.c.revision == number("i_revision"),
            instances.c.busy_bindings == number("i_busy"),
            is_retryable,
            ~instance_runs,
        )
        .values(revision=instances.c.revision + 1)
    )
    restarted = Step(
        update(operations)
        .values(
            state=Progress.IN_PROGRESS.value,
            attempts_before=operations.c.attempt,
            handovers=0,
            outcome=None,
            due_at=None,
            wake_at=now,
            deadline=now + seconds("o_deadline"),
            updated_at=now,
        )
        .where(THE_OPERATION, operations.c.state == Progress.FAILED.value, ~IS_RUNNING),
        required=True,
    )
    without_binding = Step(
        unchanged.values(state=func.coalesce(text("i_state"), instances.c.state)).where(
            instances.c.operation == text("o_id"),
            instances.c.busy_bindings == 0,
            instances.c.state != State.DELETED.value,
        )
    )
    is_last_of_binding = exists(select(ONE).where(*THE_BINDING, bindings.c.operation == text("o_id")))
    with_binding = Step(
        unchanged.values(busy_bindings=instances.c.busy_bindings + 1).where(is_last_of_binding)
    )
    binding = Step(
        update(bindings)
        .values(
            revision=bindings.c.revision + 1,
            state=func.coalesce(text("b_state"), bindings.c.state),
        )
        .where(*THE_BINDING)
    )
    return PerResource(
        instance=Transition(dialect, without_binding, restarted),
        binding=Transition(dialect, with_binding, restarted, binding),
    )
