"""Places of encrypted values in the database."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from sqlalchemy import Column

from .._internal.text import quote_id
from .tables import bindings, instances, keys, operations


class Place(NamedTuple):
    """The place of an encrypted value: a table, the primary key of a row, and a column.

    Encryption binds a value to its place by these names. So a migration that renames one of these tables or
    columns must reencrypt its values.
    """

    table: str
    row: tuple[str | int, ...]
    column: str

    def __str__(self) -> str:
        row = ", ".join(quote_id(str(value)) for value in self.row)
        return f"column {self.column} of the row {row} in {self.table}"


def column_place(column: Column[Any], row: tuple[str | int, ...]) -> Place:
    """Return the place in a column of the row with this primary key."""
    return Place(str(column.table.name), row, str(column.name))  # its names are a subclass of str


_INSTANCES, _BINDINGS, _OPERATIONS = (str(table.name) for table in (instances, bindings, operations))

KEY_CHECK = column_place(keys.c.sealed, (1,))


def instance_place(key: str, column: Literal["attributes", "result"]) -> Place:
    """Return a place in the row of an instance."""
    return Place(_INSTANCES, (key,), column)


def binding_place(instance_key: str, key: str, column: Literal["attributes", "result"]) -> Place:
    """Return a place in the row of a binding."""
    return Place(_BINDINGS, (instance_key, key), column)


def operation_place(operation_id: str, column: Literal["request", "outcome"]) -> Place:
    """Return a place in the row of an operation."""
    return Place(_OPERATIONS, (operation_id,), column)
