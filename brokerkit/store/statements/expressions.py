"""What the chapters share: parameters, the clock, the fence and other conditions.

Names of parameters begin with what they are of: `o_` an operation, `i_` an instance, `b_` a binding.
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
    bindparam,
    func,
    literal_column,
)

from ..models import Progress
from ..tables import bindings, instances, operations
from ..transitions import Transition

Now: TypeAlias = ColumnElement[float]

_CLOCKS = {
    "postgresql": "extract(epoch from statement_timestamp())::double precision",
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
}
_LESSER: dict[str, Callable[..., ColumnElement[float]]] = {"postgresql": func.least, "sqlite": func.min}
_GREATER: dict[str, Callable[..., ColumnElement[float]]] = {"postgresql": func.greatest, "sqlite": func.max}


def clock(dialect: Dialect) -> Now:
    """The time now, by the database's clock."""
    return literal_column(_CLOCKS[dialect.name], Double())


def lesser(dialect: Dialect, one: ColumnElement[float], other: ColumnElement[float]) -> ColumnElement[float]:
    """The lesser of two numbers."""
    return _LESSER[dialect.name](one, other)


def greater(dialect: Dialect, one: ColumnElement[float], other: ColumnElement[float]) -> ColumnElement[float]:
    """The greater of two numbers."""
    return _GREATER[dialect.name](one, other)


def text(name: str) -> BindParameter[str]:
    """A string that is given."""
    return bindparam(name, type_=String())


def number(name: str) -> BindParameter[int]:
    """A whole number that is given."""
    return bindparam(name, type_=Integer())


def seconds(name: str) -> BindParameter[float]:
    """A duration that is given."""
    return bindparam(name, type_=Double())


def blob(name: str) -> BindParameter[bytes]:
    """What is given sealed."""
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
"""An operation that is in progress, in the attempt that its writer knows: the fence."""

DUE: ColumnElement[float] = func.coalesce(operations.c.due_at, operations.c.wake_at)
"""When the next attempt may begin: while it waits in a queue, `wake_at` is when it is handed on again."""

IS_CHALLENGED = operations.c.lease_until < DUE
"""Somebody noted that a lease had ended, and who may live had time to renew it. A lease ends at `wake_at`."""


class PerResource(NamedTuple):
    """The same transition for an operation on an instance, and for one on a binding."""

    instance: Transition
    binding: Transition

    def on(self, binding_key: str | None) -> Transition:
        """The one for an operation on this binding, or on none."""
        return self.instance if binding_key is None else self.binding
