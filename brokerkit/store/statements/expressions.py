"""Expressions that several statements share: parameters, the clock, the fence and other conditions.

The names of parameters begin with their subject: `o_` is an operation, `i_` an instance, `b_` a binding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Dialect,
    Double,
    Integer,
    LargeBinary,
    String,
    and_,
    bindparam,
    func,
    literal_column,
)

from ..database import SQLITE_CLOCK
from ..models import Progress
from ..tables import bindings, instances, operations
from ..transitions import Transition

Now: TypeAlias = ColumnElement[float]

_CLOCKS = {
    "postgresql": "extract(epoch from statement_timestamp())::double precision",
    "sqlite": f"{SQLITE_CLOCK}()",
}
_LESSER: dict[str, Callable[..., ColumnElement[float]]] = {"postgresql": func.least, "sqlite": func.min}
_GREATER: dict[str, Callable[..., ColumnElement[float]]] = {"postgresql": func.greatest, "sqlite": func.max}


def clock(dialect: Dialect) -> Now:
    """Return an expression for the current time, by the database's clock.

    Two uses in one statement can differ by a moment on SQLite. So do not compare values that come from them.
    """
    return literal_column(_CLOCKS[dialect.name], Double())


def lesser(dialect: Dialect, one: ColumnElement[float], other: ColumnElement[float]) -> ColumnElement[float]:
    """Return an expression for the lesser of two numbers."""
    return _LESSER[dialect.name](one, other)


def greater(dialect: Dialect, one: ColumnElement[float], other: ColumnElement[float]) -> ColumnElement[float]:
    """Return an expression for the greater of two numbers."""
    return _GREATER[dialect.name](one, other)


def text(name: str) -> BindParameter[str]:
    """Return a string parameter."""
    return bindparam(name, type_=String())


def number(name: str) -> BindParameter[int]:
    """Return an integer parameter."""
    return bindparam(name, type_=Integer())


def seconds(name: str) -> BindParameter[float]:
    """Return a parameter for a duration in seconds."""
    return bindparam(name, type_=Double())


def blob(name: str) -> BindParameter[bytes]:
    """Return a parameter for an encrypted value."""
    return bindparam(name, type_=LargeBinary())


ONE: ColumnElement[int] = literal_column("1")

THE_OPERATION = operations.c.id == text("o_id")

THE_INSTANCE = instances.c.id == text("i_id")

THE_BINDING = (bindings.c.instance_id == text("i_id"), bindings.c.id == text("b_id"))

CURRENT = (
    THE_OPERATION,
    operations.c.attempt == number("o_attempt"),
    operations.c.state == Progress.IN_PROGRESS.value,
)
"""The fence: the operation is in progress, in the attempt that writes."""

DUE: ColumnElement[float] = func.coalesce(operations.c.due_at, operations.c.wake_at)
"""The time from which the next attempt may begin. In a queue, `wake_at` is the time of the next enqueue."""

IS_RUNNING = operations.c.lease_until.is_not(None)
"""The condition that an attempt of the operation may be running.

A lease that has expired still counts. The attempt has ended when its process, or the scheduler of another
one, has removed the lease.
"""

SAME_LEASE = and_(operations.c.lease_until.is_not(None), operations.c.renewals == number("o_renewals"))
"""The condition that the attempt has not renewed the lease that the caller read."""


class PerResource(NamedTuple):
    """A pair of equivalent transitions, for operations on instances and on bindings."""

    instance: Transition
    binding: Transition

    def for_binding(self, binding_key: str | None) -> Transition:
        """Return the transition for an operation on a binding, or on the instance if the key is None."""
        return self.instance if binding_key is None else self.binding
