"""Statements that end an attempt: its operation ends or is polled, and its instance or binding changes."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Dialect, Update, delete, func, select, update

from ...requests import Operation
from ..models import Mode, State
from ..tables import bindings, instances, operations
from ..transitions import Step, Transition
from .expressions import (
    CURRENT,
    IS_RUNNING,
    SAME_LEASE,
    THE_BINDING,
    THE_INSTANCE,
    Now,
    PerResource,
    blob,
    clock,
    text,
)

UNMARK_BUSY = Step(update(instances).values(busy_bindings=instances.c.busy_bindings - 1).where(THE_INSTANCE))
_DELETE_BINDING = Step(delete(bindings).where(*THE_BINDING))


class EndStatements:
    """Transitions that end an operation, undo its claim, or continue it outside of the broker.

    Args:
        dialect: The SQL dialect of the database.
    """

    def __init__(self, dialect: Dialect) -> None:
        now = clock(dialect)
        ended = _end(now)
        done = Step(ended.values(lease_until=None, wake_at=None))
        expired = Step(ended.values(lease_until=None, wake_at=None).where(SAME_LEASE))
        # The attempt still runs. The scheduler of any process checks its lease when it expires.
        abandoned = Step(ended.values(wake_at=operations.c.lease_until).where(IS_RUNNING))
        cancelled = Step(ended.values(wake_at=None).where(~IS_RUNNING))
        self.done = _with_resource(dialect, done, now)
        self.expired = _with_resource(dialect, expired, now)
        self.abandoned = _with_resource(dialect, abandoned, now, unmark_busy=False)
        self.cancelled = _with_resource(dialect, cancelled, now)
        self.deleted = PerResource(
            instance=Transition(dialect, done, *_delete_instance(now)),
            binding=Transition(dialect, done, UNMARK_BUSY, _DELETE_BINDING),
        )
        self.withdrawn = _withdraw(dialect)
        self.accepted = _accept(dialect, now)


def _end(now: Now) -> Update:
    return (
        update(operations)
        .values(
            state=text("o_state"),
            outcome=func.coalesce(blob("o_outcome"), operations.c.outcome),
            due_at=None,
            updated_at=now,
        )
        .where(*CURRENT)
    )


def _with_resource(dialect: Dialect, ended: Step, now: Now, *, unmark_busy: bool = True) -> PerResource:
    """Build the transition that ends an operation and updates its instance or binding.

    Args:
        dialect: The SQL dialect of the database.
        ended: The step that ends the operation.
        now: The current time.
        unmark_busy: Whether the instance is no longer busy with the operation. Defaults to True.
    """
    instance = Step(
        update(instances)
        .values(
            revision=instances.c.revision + 1,
            state=func.coalesce(text("i_state"), instances.c.state),
            plan_id=func.coalesce(text("i_plan_id"), instances.c.plan_id),
            attributes=func.coalesce(blob("i_attributes"), instances.c.attributes),
            result=func.coalesce(blob("i_result"), instances.c.result),
            updated_at=now,
        )
        .where(THE_INSTANCE)
    )
    binding = Step(
        update(bindings)
        .values(
            revision=bindings.c.revision + 1,
            state=func.coalesce(text("b_state"), bindings.c.state),
            result=func.coalesce(blob("b_result"), bindings.c.result),
            updated_at=now,
        )
        .where(*THE_BINDING)
    )
    return PerResource(
        instance=Transition(dialect, ended, instance),
        binding=Transition(dialect, ended, *([UNMARK_BUSY] if unmark_busy else []), binding),
    )


def _delete_instance(now: Now) -> tuple[Step, Step]:
    """Build the steps that delete an instance and its bindings."""
    tombstone = Step(
        update(instances)
        .values(
            revision=instances.c.revision + 1,
            state=State.DELETED.value,
            attributes=b"",
            result=None,
            updated_at=now,
        )
        .where(THE_INSTANCE)
    )
    return tombstone, Step(delete(bindings).where(bindings.c.instance_id == text("i_id")))


def _withdraw(dialect: Dialect) -> Mapping[Operation, Transition]:
    """Build the transitions that undo a claim, for each kind of operation."""
    withdrawn = Step(delete(operations).where(*CURRENT))
    delete_new = Step(delete(instances).where(THE_INSTANCE, instances.c.revision == 1))
    previous_operation = (
        select(operations.c.id)
        .where(
            operations.c.instance_id == text("i_id"),
            operations.c.binding_id.is_(None),
            operations.c.id != text("o_id"),
        )
        .order_by(operations.c.sequence.desc())
        .limit(1)
        .scalar_subquery()
    )
    restore_tombstone = Step(
        update(instances)
        .values(
            revision=instances.c.revision + 1,
            state=State.DELETED.value,
            operation=previous_operation,
            attributes=b"",
        )
        .where(THE_INSTANCE, instances.c.revision > 1)
    )
    instance = Step(
        update(instances)
        .values(revision=instances.c.revision + 1, operation=text("o_previous"))
        .where(THE_INSTANCE)
    )
    binding = Step(
        update(bindings)
        .values(revision=bindings.c.revision + 1, operation=text("o_previous"))
        .where(*THE_BINDING)
    )
    change = Transition(dialect, withdrawn, instance)
    return {
        Operation.PROVISION: Transition(dialect, withdrawn, delete_new, restore_tombstone),
        Operation.UPDATE: change,
        Operation.DEPROVISION: change,
        Operation.BIND: Transition(dialect, withdrawn, UNMARK_BUSY, _DELETE_BINDING),
        Operation.UNBIND: Transition(dialect, withdrawn, UNMARK_BUSY, binding),
    }


def _accept(dialect: Dialect, now: Now) -> PerResource:
    """Build the transition for an operation that continues outside of the broker, without an attempt."""
    accepted = Step(
        update(operations)
        .values(
            mode=Mode.POLLED.value,
            request=blob("o_request"),
            outcome=blob("o_outcome"),
            lease_until=None,
            wake_at=operations.c.deadline,
            updated_at=now,
        )
        .where(*CURRENT)
    )
    instance = Step(
        update(instances)
        .values(result=func.coalesce(blob("i_result"), instances.c.result))
        .where(THE_INSTANCE)
    )
    binding = Step(
        update(bindings).values(result=func.coalesce(blob("b_result"), bindings.c.result)).where(*THE_BINDING)
    )
    return PerResource(
        instance=Transition(dialect, accepted, instance), binding=Transition(dialect, accepted, binding)
    )
