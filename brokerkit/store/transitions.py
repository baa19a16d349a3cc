"""Atomic chains of statements, on PostgreSQL and on SQLite.

A transition is a chain of statements. If a required statement changes no row, the transition has no effect.
On PostgreSQL, a chain is a single statement with data-modifying common table expressions. So it needs one
round trip. On SQLite, a chain is a transaction, because round trips cost nothing.
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
    """A statement in a chain.

    Args:
        statement: An insert with values, an update or a delete.
        required: Whether the transition fails if this statement changes no row. Defaults to False.
    """

    statement: _Statement
    required: bool = False


class Transition:
    """An atomic chain of statements.

    Args:
        dialect: The SQL dialect of the database.
        steps: The statements. The first statement is always required to change a row.
    """

    def __init__(self, dialect: Dialect, *steps: Step) -> None:
        self._conflict: type[Exception] = dialect.loaded_dbapi.IntegrityError
        if dialect.name == "postgresql":
            self._queries = [Query(dialect, _chained(steps))]
            self._required = [True]
        else:
            self._queries = [Query(dialect, step.statement) for step in steps]
            self._required = [True, *(step.required for step in steps[1:])]

    def run(self, connection: DBAPIConnection, parameters: Parameters) -> bool:
        """Run the transition on a connection in autocommit mode.

        Returns:
            Whether it was applied, because the store had the state that the transition requires.
        """
        if len(self._queries) == 1:
            return self._execute(self._queries[0], connection, parameters)
        connection.cursor().execute("BEGIN IMMEDIATE")
        applied = self._apply(connection, parameters)
        connection.cursor().execute("COMMIT" if applied else "ROLLBACK")
        return applied

    def run_within(self, connection: DBAPIConnection, parameters: Parameters) -> bool:
        """Run the transition inside a SQLite transaction. The transaction continues in either case."""
        if len(self._queries) == 1:
            return self._execute(self._queries[0], connection, parameters)
        cursor = connection.cursor()
        cursor.execute("SAVEPOINT transition")
        applied = self._apply(connection, parameters)
        if not applied:
            cursor.execute("ROLLBACK TO transition")
        cursor.execute("RELEASE transition")
        return applied

    def _apply(self, connection: DBAPIConnection, parameters: Parameters) -> bool:
        return all(
            self._execute(query, connection, parameters) or not required
            for query, required in zip(self._queries, self._required, strict=True)
        )

    def _execute(self, query: Query, connection: DBAPIConnection, parameters: Parameters) -> bool:
        try:
            return query.run(connection, parameters).rowcount > 0
        except self._conflict:
            return False


class Query:
    """A statement with its constants, compiled once."""

    def __init__(self, dialect: Dialect, statement: _Statement | Select[Any] | CompoundSelect[Any]) -> None:
        compiled = statement.compile(dialect=dialect)
        self._sql = str(compiled)
        self._constants = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}

    def run(self, connection: DBAPIConnection, parameters: Parameters) -> DBAPICursor:
        """Execute the statement with the driver directly, because the types need no conversion."""
        cursor = connection.cursor()
        cursor.execute(self._sql, {**self._constants, **parameters} if self._constants else parameters)
        return cursor


def _chained(steps: tuple[Step, ...]) -> Select[Any]:
    """Combine the steps into a PostgreSQL statement. It returns a row if all required steps changed a row.

    PostgreSQL first executes the steps that the last required step refers to, then the other steps from the
    last to the first. So those are written in reverse, and every statement locks rows in the same order: an
    operation, its instance, its binding.
    """
    first = _expression(steps[0].statement, 0)
    required: list[CTE] = [first]
    others: list[CTE] = []
    for number, step in enumerate(steps[1:], 1):
        expression = _expression(_after(step.statement, first, *required[1:]), number)
        (required if step.required else others).append(expression)
    return select(literal_column("1")).select_from(required[-1]).add_cte(*required, *reversed(others))


def _expression(statement: Any, number: int) -> CTE:
    expression: CTE = statement.returning(literal_column("1").label("done")).cte(f"step_{number}")
    return expression


def _after(statement: Any, first: CTE, *required: CTE) -> Any:
    """Restrict a statement: it must have no effect unless the first step changed a row.

    If a required step changed no row, the id of an insert is null. The insert fails, and with it the chain.
    """
    applied = exists(select(literal_column("1")).select_from(first))
    if not isinstance(statement, Insert):
        return statement.where(applied)
    values: dict[Any, Any] = {
        statement.table.c[str(getattr(column, "name", column))]: value
        for column, value in (statement._values or {}).items()
    }
    for step in reversed(required):  # the outermost step runs first
        key = statement.table.c.id
        values[key] = select(values[key]).select_from(step).scalar_subquery()
    chosen = select(*values.values()).where(applied)
    return insert(statement.table).from_select([column.name for column in values], chosen)
