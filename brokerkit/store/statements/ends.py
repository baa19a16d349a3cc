"""Ends: an operation is over, or goes on elsewhere, and its instance or binding is what it is then."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Dialect, Update, delete, func, select, update

from ...requests import Operation
from ..models import Mode, State
from ..tables import bindings, instances, operations
from ..transitions import Step, Transition
from .expressions import (
    CURRENT,
    IS_CHALLENGED,
    THE_BINDING,
    THE_INSTANCE,
    Now,
    PerResource,
    blob,
    clock,
    text,
)

_AT_REST = Step(update(instances).values(busy_bindings=instances.c.busy_bindings - 1).where(THE_INSTANCE))
_NO_BINDING = Step(delete(bindings).where(*THE_BINDING))


class EndStatements:
    """How an operation ends.

    Args:
        dialect: The database's.
    """

    def __init__(self, dialect: Dialect) -> None:
        now = clock(dialect)
        over = _over(now)
        done = Step(over.values(lease_until=None))
        abandoned = Step(over)  # by who does not run it; who does may do so still
        expired = Step(over.values(lease_until=None).where(IS_CHALLENGED, operations.c.wake_at <= now))
        self.done = _changing(dialect, done, now)
        self.abandoned = _changing(dialect, abandoned, now)
        self.expired = _changing(dialect, expired, now)
        self.gone = PerResource(
            instance=Transition(dialect, done, *_no_instance(now)),
            binding=Transition(dialect, done, _AT_REST, _NO_BINDING),
        )
        self.withdrawn = _withdrawn(dialect)
        self.accepted = _accepted(dialect, now)


def _over(now: Now) -> Update:
    return (
        update(operations)
        .values(
            state=text("o_state"),
            outcome=func.coalesce(blob("o_outcome"), operations.c.outcome),
            due_at=None,
            wake_at=None,
            updated_at=now,
        )
        .where(*CURRENT)
    )


def _changing(dialect: Dialect, over: Step, now: Now) -> PerResource:
    """The operation is over, and its instance or binding is there."""
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
        instance=Transition(dialect, over, instance), binding=Transition(dialect, over, _AT_REST, binding)
    )


def _no_instance(now: Now) -> tuple[Step, Step]:
    """The instance is deleted, and so are its bindings."""
    no_instance = Step(
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
    return no_instance, Step(delete(bindings).where(bindings.c.instance_id == text("i_id")))


def _withdrawn(dialect: Dialect) -> Mapping[Operation, Transition]:
    """All is as it was before the operation, of each kind."""
    withdrawn = Step(delete(operations).where(*CURRENT))
    never_made = Step(delete(instances).where(THE_INSTANCE, instances.c.revision == 1))
    last_before = (
        select(func.max(operations.c.id))
        .where(
            operations.c.instance_id == text("i_id"),
            operations.c.binding_id.is_(None),
            operations.c.id != text("o_id"),
        )
        .scalar_subquery()
    )
    deleted_again = Step(
        update(instances)
        .values(
            revision=instances.c.revision + 1,
            state=State.DELETED.value,
            operation=last_before,
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
        Operation.PROVISION: Transition(dialect, withdrawn, never_made, deleted_again),
        Operation.UPDATE: change,
        Operation.DEPROVISION: change,
        Operation.BIND: Transition(dialect, withdrawn, _AT_REST, _NO_BINDING),
        Operation.UNBIND: Transition(dialect, withdrawn, _AT_REST, binding),
    }


def _accepted(dialect: Dialect, now: Now) -> PerResource:
    """The work goes on elsewhere, and nobody here runs it."""
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
