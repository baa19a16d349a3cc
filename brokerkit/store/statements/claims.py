"""Statements for claims: insert an operation, if its instance and binding are unchanged."""

from __future__ import annotations

from sqlalchemy import (
    ColumnElement,
    Dialect,
    Insert,
    and_,
    exists,
    func,
    insert,
    literal_column,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from ..models import Progress, State
from ..tables import bindings, instances, operations
from ..transitions import Step, Transition
from .expressions import ONE, THE_BINDING, THE_INSTANCE, Now, blob, clock, number, seconds, text


class ClaimStatements:
    """Transitions that claim an operation.

    A claim fails while an attempt of the last operation may be running, unless the new operation follows that
    operation. The revisions fence this condition: the last operation of a resource gets a lease only while it
    is in progress, and each end changes the revision.

    Args:
        dialect: The SQL dialect of the database.
    """

    def __init__(self, dialect: Dialect) -> None:
        now = clock(dialect)
        new_operation = Step(_insert_operation(dialect, now), required=True)
        unchanged = and_(
            THE_INSTANCE,
            instances.c.revision == number("i_revision"),
            # A purge and a new instance with the same id can lead to the same revision again.
            instances.c.operation.is_not_distinct_from(text("i_operation")),
            ~_is_busy(instances.c.operation),
        )
        claim_instance = Step(
            update(instances)
            .values(revision=instances.c.revision + 1, operation=text("o_id"))
            .where(unchanged, instances.c.busy_bindings == 0)
        )
        mark_busy = Step(
            update(instances).values(busy_bindings=instances.c.busy_bindings + 1).where(unchanged)
        )
        claim_binding = Step(
            update(bindings)
            .values(revision=bindings.c.revision + 1, operation=text("o_id"))
            .where(
                *THE_BINDING,
                bindings.c.revision == number("b_revision"),
                bindings.c.operation.is_not_distinct_from(text("b_operation")),
                ~_is_busy(bindings.c.operation),
            ),
            required=True,
        )
        self.new_instance = Transition(dialect, Step(_insert_instance(dialect, now)), new_operation)
        follow = _follow()
        self.instance = Transition(dialect, claim_instance, new_operation)
        self.instance_after_attempt = Transition(
            dialect, follow, claim_instance._replace(required=True), new_operation
        )
        insert_binding = Step(_insert_binding(now), required=True)
        self.new_binding = Transition(dialect, mark_busy, insert_binding, new_operation)
        self.successor = Transition(dialect, mark_busy, _lock_predecessor(), insert_binding, new_operation)
        self.binding = Transition(dialect, mark_busy, claim_binding, new_operation)
        self.binding_after_attempt = Transition(
            dialect, follow, mark_busy._replace(required=True), claim_binding, new_operation
        )


def _is_busy(last: ColumnElement[str]) -> ColumnElement[bool]:
    """Build the condition that an attempt of an operation, or of the one it follows, may be running.

    The attempt that the new operation follows does not count.
    """
    own, followed = operations.alias("last_operation"), operations.alias("followed_operation")
    follows = func.coalesce(text("o_follows"), "")
    return exists(
        select(ONE)
        .select_from(own.outerjoin(followed, followed.c.id == own.c.follows))
        .where(
            own.c.id == last,
            or_(
                and_(own.c.lease_until.is_not(None), own.c.id != follows),
                and_(followed.c.lease_until.is_not(None), followed.c.id != follows),
            ),
        )
    )


def _follow() -> Step:
    """Build the step that marks the operation that the new one waits for, if its attempt may be running.

    On PostgreSQL, a concurrent release would not see the new operation. It sees the mark.
    """
    return Step(
        update(operations)
        .values(followed_by=text("o_id"))
        .where(operations.c.id == text("o_follows"), operations.c.lease_until.is_not(None))
    )


def _lock_predecessor() -> Step:
    """Build the step that fails if the predecessor of a new binding has changed, and locks it otherwise.

    On PostgreSQL, a condition with a subquery would not see a concurrent claim.
    """
    return Step(
        update(bindings)
        .values(revision=bindings.c.revision)
        .where(
            bindings.c.instance_id == text("i_id"),
            bindings.c.id == text("p_id"),
            bindings.c.revision == number("p_revision"),
            bindings.c.operation.is_not_distinct_from(text("p_operation")),
        ),
        required=True,
    )


def _insert_instance(dialect: Dialect, now: Now) -> Insert:
    """Build the insert of a new instance. It overwrites a deleted instance with the same id."""
    values = {
        "revision": 1,
        "state": State.CREATING.value,
        "service_id": text("o_service_id"),
        "plan_id": text("o_plan_id"),
        "busy_bindings": 0,
        "operation": text("o_id"),
        "attributes": blob("i_attributes"),
        "result": null(),
        "created_at": now,
        "updated_at": now,
    }
    upsert = (postgresql if dialect.name == "postgresql" else sqlite).insert(instances)
    recreated = {**values, "revision": instances.c.revision + 1}
    inserted: Insert = upsert.values(id=text("i_id"), **values).on_conflict_do_update(
        index_elements=["id"], set_=recreated, where=instances.c.state == State.DELETED.value
    )
    return inserted


def _insert_binding(now: Now) -> Insert:
    return insert(bindings).values(
        instance_id=text("i_id"),
        id=text("b_id"),
        revision=1,
        state=State.CREATING.value,
        operation=text("o_id"),
        attributes=blob("b_attributes"),
        created_at=now,
        updated_at=now,
    )


def _insert_operation(dialect: Dialect, now: Now) -> Insert:
    return insert(operations).values(
        **_next_sequence(dialect),
        id=text("o_id"),
        instance_id=text("i_id"),
        binding_id=text("b_id"),
        kind=text("o_kind"),
        mode=text("o_mode"),
        state=Progress.IN_PROGRESS.value,
        service_id=text("o_service_id"),
        plan_id=text("o_plan_id"),
        attempt=number("o_attempt"),
        attempts_before=0,
        lease_until=now + seconds("o_lease"),
        wake_at=now + seconds("o_wake"),
        deadline=now + seconds("o_deadline"),
        follows=text("o_follows"),
        created_at=now,
        updated_at=now,
        request=blob("o_request"),
        handovers=0,
        renewals=0,
    )


def _next_sequence(dialect: Dialect) -> dict[str, ColumnElement[int]]:
    """Build the value of `sequence`. On PostgreSQL, it is an identity column."""
    if dialect.name == "postgresql":
        return {}
    newest = select(operations.c.sequence).order_by(literal_column("rowid").desc()).limit(1)
    return {"sequence": func.coalesce(newest.scalar_subquery(), 0) + 1}
