"""Statements that read records. The module `rows` converts their rows."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Dialect, Select, select

from ..models import Mode, Progress
from ..tables import bindings, instances, operations
from ..transitions import Query
from .expressions import THE_INSTANCE, THE_OPERATION, clock, number, seconds, text

_LAST, _BINDING_LAST = operations.alias("last"), operations.alias("own")
_LAST_OF_INSTANCE = _LAST.c.id == instances.c.operation
_LAST_OF_BINDING = _BINDING_LAST.c.id == bindings.c.operation


class ReadStatements:
    """Queries for one record and its related rows.

    Args:
        dialect: The SQL dialect of the database.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.instance = Query(dialect, select_instances(dialect).where(THE_INSTANCE))
        self.binding = Query(dialect, _instance_and_binding(dialect))
        self.operation = Query(dialect, select_operations(dialect).where(THE_OPERATION))
        self.last_of_binding = Query(
            dialect,
            select_operations(dialect)
            .where(operations.c.instance_id == text("i_id"), operations.c.binding_id == text("b_id"))
            .order_by(operations.c.sequence.desc())
            .limit(1),
        )
        self.quiet_bindings = Query(
            dialect,
            select_bindings(dialect)
            .where(
                THE_INSTANCE,
                _BINDING_LAST.c.state == Progress.IN_PROGRESS.value,
                _BINDING_LAST.c.mode == Mode.POLLED.value,
                _BINDING_LAST.c.updated_at <= clock(dialect) - seconds("quiet"),
            )
            .order_by(_BINDING_LAST.c.sequence)
            .limit(number("limit")),
        )
        self.bindings_of = Query(
            dialect,
            select(bindings)
            .where(bindings.c.instance_id == text("i_id"))
            .order_by(bindings.c.created_at, bindings.c.id),
        )


def select_instances(dialect: Dialect) -> Select[Any]:
    """Select instances, with their last operation and the current time."""
    return select(instances, _LAST, clock(dialect)).outerjoin_from(instances, _LAST, _LAST_OF_INSTANCE)


def select_bindings(dialect: Dialect) -> Select[Any]:
    """Select instances followed by bindings, each with its last operation, and the current time."""
    return (
        select(instances, _LAST, bindings, _BINDING_LAST, clock(dialect))
        .join_from(bindings, instances, bindings.c.instance_id == instances.c.id)
        .outerjoin(_LAST, _LAST_OF_INSTANCE)
        .outerjoin(_BINDING_LAST, _LAST_OF_BINDING)
    )


def select_operations(dialect: Dialect) -> Select[Any]:
    """Select operations with the current time."""
    return select(operations, clock(dialect))


def _instance_and_binding(dialect: Dialect) -> Select[Any]:
    """Select an instance with one of its bindings. Those columns are null if the binding does not exist."""
    matches = (bindings.c.instance_id == instances.c.id) & (bindings.c.id == text("b_id"))
    return (
        select(instances, _LAST, bindings, _BINDING_LAST, clock(dialect))
        .outerjoin_from(instances, _LAST, _LAST_OF_INSTANCE)
        .outerjoin(bindings, matches)
        .outerjoin(_BINDING_LAST, _LAST_OF_BINDING)
        .where(THE_INSTANCE)
    )
