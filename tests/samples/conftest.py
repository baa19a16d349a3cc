"""A PostgreSQL that a broker may use, prepared as the sample's README says, and people who look into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from uuid import uuid4

import psycopg
import pytest
from psycopg import conninfo

from samples.postgres.databases import Databases, Limits

from ..postgres import Server
from ..postgres_fixtures import _memory

SAMPLE = Path(__file__).parents[2] / "samples" / "postgres"
PASSWORD = "the / broker: own@"
TEMPLATE = "shop_template"

Row: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True)
class Cluster:
    """A server, and how to come to it.

    Args:
        server: Its process.
    """

    server: Server

    @property
    def url(self) -> str:
        """How the broker logs in: over TCP, as no superuser."""
        return conninfo.make_conninfo(self.login("postgres", "broker", PASSWORD))

    def login(self, database: str, user: str, password: str) -> str:
        return conninfo.make_conninfo(
            host="127.0.0.1", port=self.server.port, dbname=database, user=user, password=password
        )

    def ask(self, statement: str, *values: object, database: str = "postgres") -> list[Row]:
        """What a superuser is answered."""
        with psycopg.connect(self.server.conninfo, dbname=database, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description is not None else []

    def names(self) -> set[str]:
        """Of all databases and roles, and of what roles are entangled in outside of the store."""
        found = self.ask(
            "SELECT datname FROM pg_database UNION ALL SELECT rolname FROM pg_roles UNION ALL"
            " SELECT format('%s of %s', classid::regclass, refobjid) FROM pg_shdepend"
            " WHERE dbid <> (SELECT oid FROM pg_database WHERE datname = 'broker')"
        )
        return {name for (name,) in found}


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One for all tests, each of which has names of its own."""
    with Server(under=_memory(), tcp=True, fsync="off", log_statement="all") as server:
        cluster = Cluster(server)
        server.psql(server.conninfo, (SAMPLE / "prepare.sql").read_text())
        with psycopg.connect(server.conninfo) as connection:  # as psql's \\password does it
            connection.pgconn.change_password(b"broker", PASSWORD.encode())
        server.psql(cluster.url, (SAMPLE / "template.sql").read_text())
        yield cluster


@pytest.fixture
def databases(cluster: Cluster) -> Databases:
    return Databases(cluster.url)


LIMITS = Limits(connections=5, statement_timeout="30s", databases=100)


@pytest.fixture
def new_name(databases: Databases) -> Iterator[Callable[[], str]]:
    """Makes names of databases, which are gone after the test."""
    names: list[str] = []

    def new() -> str:
        names.append(f"db_{uuid4().hex}")
        return names[-1]

    yield new
    for name in names:
        databases.drop(name)


@pytest.fixture
def name(new_name: Callable[[], str]) -> str:
    """Of a database."""
    return new_name()
