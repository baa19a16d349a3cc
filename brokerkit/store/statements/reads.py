"""Reads: what is remembered. Of the rows that they give, `rows` makes records."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Dialect, Select, select

from ..tables import bindings, instances, operations
from ..transitions import Query
from .expressions import THE_INSTANCE, THE_OPERATION, clock, text

_LAST, _OWN = operations.alias("last"), operations.alias("own")
_LAST_OF_INSTANCE = _LAST.c.id == instances.c.operation
_LAST_OF_BINDING = _OWN.c.id == bindings.c.operation


class ReadStatements:
    """How one thing is found, with what belongs to it.

    Args:
        dialect: The database's.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.instance = Query(dialect, every_instance(dialect).where(THE_INSTANCE))
        self.binding = Query(dialect, _instance_and_binding(dialect))
        self.operation = Query(dialect, every_operation(dialect).where(THE_OPERATION))
        self.last_of_binding = Query(
            dialect,
            every_operation(dialect)
            .where(operations.c.instance_id == text("i_id"), operations.c.binding_id == text("b_id"))
            .order_by(operations.c.created_at.desc(), operations.c.id.desc())
            .limit(1),
        )
        self.bindings_of = Query(
            dialect,
            select(bindings)
            .where(bindings.c.instance_id == text("i_id"))
            .order_by(bindings.c.created_at, bindings.c.id),
        )


def every_instance(dialect: Dialect) -> Select[Any]:
    """Instances, each with its last operation and the time now."""
    return select(instances, _LAST, clock(dialect)).outerjoin_from(instances, _LAST, _LAST_OF_INSTANCE)


def every_binding(dialect: Dialect) -> Select[Any]:
    """Bindings, each behind its instance, both with their last operation; and the time now."""
    return (
        select(instances, _LAST, bindings, _OWN, clock(dialect))
        .join_from(bindings, instances, bindings.c.instance_id == instances.c.id)
        .outerjoin(_LAST, _LAST_OF_INSTANCE)
        .outerjoin(_OWN, _LAST_OF_BINDING)
    )


def every_operation(dialect: Dialect) -> Select[Any]:
    """Operations, each with the time now."""
    return select(operations, clock(dialect))


def _instance_and_binding(dialect: Dialect) -> Select[Any]:
    """As a row of :func:`every_binding`, also where there is no such binding of the instance."""
    is_it = (bindings.c.instance_id == instances.c.id) & (bindings.c.id == text("b_id"))
    return (
        select(instances, _LAST, bindings, _OWN, clock(dialect))
        .outerjoin_from(instances, _LAST, _LAST_OF_INSTANCE)
        .outerjoin(bindings, is_it)
        .outerjoin(_OWN, _LAST_OF_BINDING)
        .where(THE_INSTANCE)
    )
