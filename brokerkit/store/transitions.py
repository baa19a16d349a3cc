"""Chains of statements that happen as a whole or not at all, on PostgreSQL and on SQLite.

A transition is a chain of statements, each of which happens only where the one before it changed a row. On
PostgreSQL a chain is a single statement, with common table expressions that modify data, so that it costs one
round trip; on SQLite, where a round trip costs nothing, it is a transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import (
    CTE,
    CompoundSelect,
    Delete,
    Dialect,
    Insert,
    Select,
    Update,
    exists,
    insert,
    literal_column,
    select,
)
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor

_Statement: TypeAlias = Insert | Update | Delete
Parameters: TypeAlias = Mapping[str, Any]


class Step(NamedTuple):
    """A statement of a chain.

    Args:
        statement: An insert with values, an update or a delete.
        must: Must it change a row? If not, and it does not, the chain goes on without it.
    """

    statement: _Statement
    must: bool = False


class Transition:
    """A chain of statements that happens as a whole or not at all.

    Args:
        dialect: The database's.
        steps: The first must change a row for the others to happen. So must each other that says so.
    """

    def __init__(self, dialect: Dialect, *steps: Step) -> None:
        self._conflict: type[Exception] = dialect.loaded_dbapi.IntegrityError
        if dialect.name == "postgresql":
            self._queries = [Query(dialect, _chained(steps))]
            self._must = [True]
        else:
            self._queries = [Query(dialect, step.statement) for step in steps]
            self._must = [True, *(step.must for step in steps[1:])]

    def run(self, connection: DBAPIConnection, parameters: Parameters) -> bool:
        """Let it happen, on a connection in autocommit.

        Returns:
            Whether it did: whether the store was as the transition requires.
        """
        if len(self._queries) == 1:
            return self._changes(self._queries[0], connection, parameters)
        connection.cursor().execute("BEGIN IMMEDIATE")
        happened = self._happens(connection, parameters)
        connection.cursor().execute("COMMIT" if happened else "ROLLBACK")
        return happened

    def run_within(self, connection: DBAPIConnection, parameters: Parameters) -> bool:
        """Let it happen as a part of a transaction of SQLite's, which goes on whether it does or not."""
        if len(self._queries) == 1:
            return self._changes(self._queries[0], connection, parameters)
        cursor = connection.cursor()
        cursor.execute("SAVEPOINT transition")
        happened = self._happens(connection, parameters)
        if not happened:
            cursor.execute("ROLLBACK TO transition")
        cursor.execute("RELEASE transition")
        return happened

    def _happens(self, connection: DBAPIConnection, parameters: Parameters) -> bool:
        return all(
            self._changes(query, connection, parameters) or not must
            for query, must in zip(self._queries, self._must, strict=True)
        )

    def _changes(self, query: Query, connection: DBAPIConnection, parameters: Parameters) -> bool:
        try:
            return query.run(connection, parameters).rowcount > 0
        except self._conflict:
            return False


class Query:
    """A statement, compiled once, with its constants."""

    def __init__(self, dialect: Dialect, statement: _Statement | Select[Any] | CompoundSelect[Any]) -> None:
        compiled = statement.compile(dialect=dialect)
        self._sql = str(compiled)
        self._constants = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}

    def run(self, connection: DBAPIConnection, parameters: Parameters) -> DBAPICursor:
        """Execute it. It goes straight to the driver, as its types need no conversion there."""
        cursor = connection.cursor()
        cursor.execute(self._sql, {**self._constants, **parameters} if self._constants else parameters)
        return cursor


def _chained(steps: tuple[Step, ...]) -> Select[Any]:
    """The steps as one statement of PostgreSQL's, which gives a row if they happened.

    What the last required step refers to is executed first, the rest in its order. So whatever locks several
    rows does it in the same order: an operation, its instance, its binding.
    """
    first = _expression(steps[0].statement, 0)
    expressions, required = [first], [first]
    for number, step in enumerate(steps[1:], 1):
        expression = _expression(_after(step.statement, first, *required[1:]), number)
        expressions.append(expression)
        if step.must:
            required.append(expression)
    return select(literal_column("1")).select_from(required[-1]).add_cte(*expressions)


def _expression(statement: Any, number: int) -> CTE:
    expression: CTE = statement.returning(literal_column("1").label("done")).cte(f"step_{number}")
    return expression


def _after(statement: Any, first: CTE, *required: CTE) -> Any:
    """The statement, where the first step changed a row.

    An insert fails, and all with it, unless each required step did too: its id would be null.
    """
    happened = exists(select(literal_column("1")).select_from(first))
    if not isinstance(statement, Insert):
        return statement.where(happened)
    values: dict[Any, Any] = {
        statement.table.c[str(getattr(column, "name", column))]: value
        for column, value in (statement._values or {}).items()
    }
    for step in required:
        key = statement.table.c.id
        values[key] = select(values[key]).select_from(step).scalar_subquery()
    chosen = select(*values.values()).where(happened)
    return insert(statement.table).from_select([column.name for column in values], chosen)
