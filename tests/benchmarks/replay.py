"""The SQL that the broker runs on PostgreSQL, from the server's log, and a replay without the broker."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import psycopg

from samples.postgres.databases import SESSION
from tests.samples.cluster import Cluster

_ROLE = "broker"

_STATEMENT = re.compile(r"(\d+)@(\S+) LOG:  (?:statement|execute [^:]*): (.*)", re.DOTALL)
_PARAMETERS = re.compile(r"\d+@\S+ DETAIL:  parameters: (.*)", re.DOTALL | re.IGNORECASE)
_VALUE = re.compile(r"\$(\d+) = ('(?:[^']|'')*'|NULL)")

LOGGING: dict[str, Any] = {"log_line_prefix": "%p@%d "}
"""The settings of a server whose log this module can parse."""


class Statement(NamedTuple):
    """A statement that a session executed.

    Args:
        session: The id of the session.
        database: The database of the session.
        text: The SQL with its parameters.
    """

    session: str
    database: str
    text: str

    def with_values(self, values: Mapping[str, str]) -> Statement:
        """Return the statement with literals, by the numbers of the parameters."""
        return self._replace(text=re.sub(r"\$(\d+)", lambda place: values[place[1]], self.text))

    def renamed(self, names: Mapping[str, str]) -> Statement:
        """Return the statement with other values in place of some literals."""
        database, text = self.database, self.text
        for old, new in names.items():
            database, text = database.replace(old, new), text.replace(old, new)
        return self._replace(database=database, text=text)


def issued(cluster: Cluster, act: Callable[[], object]) -> list[Statement]:
    """Return the statements that the server executes while a function runs."""
    before = len(cluster.server.log)
    cluster.execute(f"ALTER ROLE {_ROLE} SET log_statement TO 'all'")
    try:
        act()
    finally:
        cluster.execute(f"ALTER ROLE {_ROLE} RESET log_statement")
    return list(_statements(cluster.server.log[before:]))


def _statements(log: str) -> Iterator[Statement]:
    last: Statement | None = None
    for entry in re.split(r"\n(?!\t)", log):
        entry = entry.replace("\n\t", "\n")
        if match := _PARAMETERS.match(entry):
            assert last is not None, "it is the detail of a statement"
            last = last.with_values(dict(_VALUE.findall(match[1])))
            continue
        if last is not None:
            yield last
        match = _STATEMENT.match(entry)
        last = Statement(*match.groups()) if match else None
    if last is not None:
        yield last


def run(cluster: Cluster, statements: list[Statement]) -> None:
    """Execute the statements again in the same number of sessions, in the same order."""
    last = {statement.session: place for place, statement in enumerate(statements)}
    with ExitStack() as stack:
        sessions: dict[str, psycopg.Connection] = {}
        for place, (session, database, text) in enumerate(statements):
            if session not in sessions:
                sessions[session] = stack.enter_context(_connected(cluster, database))
            sessions[session].execute(text.encode())
            if last[session] == place:
                sessions[session].close()


@contextmanager
def _connected(cluster: Cluster, database: str) -> Iterator[psycopg.Connection]:
    connection = psycopg.connect(cluster.url, dbname=database, autocommit=True, options=SESSION)
    try:
        yield connection
    finally:
        connection.close()
