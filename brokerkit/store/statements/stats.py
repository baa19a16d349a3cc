"""The census: how much there is of each, counted in one statement, so that all of it is of one moment."""

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
"""What a row counts, as its first column says."""


class StatsStatements:
    """How a store is counted. It reads all instances and bindings, and of operations those in progress.

    Args:
        dialect: The database's.
    """

    def __init__(self, dialect: Dialect) -> None:
        offered = (instances.c.service_id, instances.c.plan_id)
        belongs = bindings.c.instance_id == instances.c.id
        self.count = Query(
            dialect,
            union_all(
                _counted(INSTANCES, instances.c.state, *offered).where(_is_there(instances.c.state)),
                _counted(BINDINGS, bindings.c.state, *offered)
                .join_from(bindings, instances, belongs)
                .where(_is_there(bindings.c.state)),
                _counted(
                    OPERATIONS,
                    operations.c.kind,
                    operations.c.service_id,
                    operations.c.plan_id,
                    oldest=clock(dialect) - func.min(operations.c.created_at),
                ).where(IN_PROGRESS),
            ),
        )


def _counted(what: str, *by: ColumnElement[str], oldest: ColumnElement[float] | None = None) -> Select[Any]:
    """Rows of: what is counted, by what, how many, and the age of the oldest where that is asked."""
    columns: list[ColumnElement[Any]] = [
        literal_column(f"'{what}'").label("what"),
        *by,
        func.count(),
        cast(null(), Double()) if oldest is None else oldest,
    ]
    return select(*columns).group_by(*by)


def _is_there(state: ColumnElement[str]) -> ColumnElement[bool]:
    return state != State.DELETED.value
