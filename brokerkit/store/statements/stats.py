"""The statement that counts a store's rows. It is one query, so that all counts are consistent."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ColumnElement,
    Dialect,
    Double,
    Select,
    cast,
    func,
    literal_column,
    null,
    select,
    union_all,
)

from ..models import State
from ..tables import bindings, instances, operations
from ..transitions import Query
from .due import IN_PROGRESS
from .expressions import clock

INSTANCES, BINDINGS, OPERATIONS = "instances", "bindings", "operations"
"""Subjects of the counts, in the first column."""


class StatsStatements:
    """Statements that count. They read all instances and bindings, and the operations in progress.

    Args:
        dialect: The SQL dialect of the database.
    """

    def __init__(self, dialect: Dialect) -> None:
        plan = (instances.c.service_id, instances.c.plan_id)
        of_instance = bindings.c.instance_id == instances.c.id
        self.count = Query(
            dialect,
            union_all(
                _counts(INSTANCES, instances.c.state, *plan).where(_exists(instances.c.state)),
                _counts(BINDINGS, bindings.c.state, *plan)
                .join_from(bindings, instances, of_instance)
                .where(_exists(bindings.c.state)),
                _counts(
                    OPERATIONS,
                    operations.c.kind,
                    operations.c.service_id,
                    operations.c.plan_id,
                    oldest=clock(dialect) - func.min(operations.c.created_at),
                ).where(IN_PROGRESS),
            ),
        )


def _counts(subject: str, *by: ColumnElement[str], oldest: ColumnElement[float] | None = None) -> Select[Any]:
    """Select the subject, the columns to group by, a count, and optionally the age of the oldest row."""
    columns: list[ColumnElement[Any]] = [
        literal_column(f"'{subject}'").label("subject"),
        *by,
        func.count(),
        cast(null(), Double()) if oldest is None else oldest,
    ]
    return select(*columns).group_by(*by)


def _exists(state: ColumnElement[str]) -> ColumnElement[bool]:
    return state != State.DELETED.value
