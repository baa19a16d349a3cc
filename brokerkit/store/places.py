"""Places of encrypted values in the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from sqlalchemy import Column, Table

from .._internal.text import quote_id
from .tables import bindings, instances, keys, operations

RowIdentity: TypeAlias = tuple[str | int | None, ...]


class Place(NamedTuple):
    """The place of an encrypted value: a table, the identity of a row, and a column.

    Encryption binds a value to its place by these names. So a migration that renames one of these tables or
    columns must reencrypt its values.
    """

    table: str
    row: RowIdentity
    column: str

    def __str__(self) -> str:
        row = ", ".join(quote_id(str(value)) for value in self.row if value is not None)
        return f"column {self.column} of the row {row} in {self.table}"


IDENTITY: Mapping[Table, Sequence[Column[Any]]] = {
    instances: (instances.c.id,),
    bindings: (bindings.c.instance_id, bindings.c.id),
    operations: (operations.c.id, operations.c.instance_id, operations.c.binding_id),
    keys: (keys.c.id,),
}
"""The columns that identify a row of each table. They begin with the primary key, and never change.

An operation is also identified by its instance and binding, so that it cannot be given to others.
"""


def column_place(column: Column[Any], row: RowIdentity) -> Place:
    """Return the place in a column of the row with this identity."""
    return Place(str(column.table.name), row, str(column.name))  # its names are a subclass of str


_INSTANCES, _BINDINGS, _OPERATIONS = (str(table.name) for table in (instances, bindings, operations))

KEY_CHECK = column_place(keys.c.sealed, (1,))


def instance_place(key: str, column: Literal["attributes", "result", "operation"]) -> Place:
    """Return a place in the row of an instance."""
    return Place(_INSTANCES, (key,), column)


def binding_place(instance_key: str, key: str, column: Literal["attributes", "result", "operation"]) -> Place:
    """Return a place in the row of a binding."""
    return Place(_BINDINGS, (instance_key, key), column)


def operation_place(
    operation_id: str, instance_key: str, binding_key: str | None, column: Literal["request", "outcome"]
) -> Place:
    """Return a place in the row of an operation."""
    return Place(_OPERATIONS, (operation_id, instance_key, binding_key), column)
