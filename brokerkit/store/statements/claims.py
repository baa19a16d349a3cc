"""Statements for claims: insert an operation, if its instance and binding are unchanged."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Dialect, Insert, func, insert, literal_column, null, select, update
from sqlalchemy.dialects import postgresql, sqlite

from ..models import Progress, State
from ..tables import bindings, instances, operations
from ..transitions import Step, Transition
from .expressions import THE_BINDING, THE_INSTANCE, Now, blob, clock, number, seconds, text


class ClaimStatements:
    """Transitions that claim an operation.

    Args:
        dialect: The SQL dialect of the database.
    """

    def __init__(self, dialect: Dialect) -> None:
        now = clock(dialect)
        new_operation = Step(_insert_operation(dialect, now), required=True)
        unchanged = THE_INSTANCE & (instances.c.revision == number("i_revision"))
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
            .where(*THE_BINDING, bindings.c.revision == number("b_revision")),
            required=True,
        )
        self.new_instance = Transition(dialect, Step(_insert_instance(dialect, now)), new_operation)
        self.instance = Transition(dialect, claim_instance, new_operation)
        self.new_binding = Transition(
            dialect, mark_busy, Step(_insert_binding(now), required=True), new_operation
        )
        self.binding = Transition(dialect, mark_busy, claim_binding, new_operation)


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
    )


def _next_sequence(dialect: Dialect) -> dict[str, ColumnElement[int]]:
    """Build the value of `sequence`. On PostgreSQL, it is an identity column."""
    if dialect.name == "postgresql":
        return {}
    newest = select(operations.c.sequence).order_by(literal_column("rowid").desc()).limit(1)
    return {"sequence": func.coalesce(newest.scalar_subquery(), 0) + 1}
