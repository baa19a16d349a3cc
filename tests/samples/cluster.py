"""A PostgreSQL server for the broker, prepared as described in the README of `samples/postgres`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
from psycopg import conninfo
from sqlalchemy import URL

from ..support.postgres import Server
from ..support.wait import wait_until

SAMPLE = Path(__file__).parents[2] / "samples" / "postgres"
PASSWORD = "the / broker: own@"
TEMPLATE = "shop_template"

Row: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True)
class Cluster:
    """A prepared PostgreSQL server and its URLs.

    Args:
        server: The server process.
    """

    server: Server

    @property
    def url(self) -> str:
        """The URL of the broker, over TCP and without superuser privileges."""
        return conninfo.make_conninfo(self.login("postgres", "broker", PASSWORD))

    @property
    def store(self) -> str:
        """The SQLAlchemy URL of the broker's store."""
        url = URL.create(
            "postgresql+psycopg", "broker", PASSWORD, "127.0.0.1", self.server.port, database="broker"
        )
        return url.render_as_string(hide_password=False)

    def login(self, database: str, user: str, password: str) -> str:
        """Return the connection string of a user."""
        return conninfo.make_conninfo(
            host="127.0.0.1", port=self.server.port, dbname=database, user=user, password=password
        )

    def execute(self, statement: str, *values: object, database: str = "postgres") -> list[Row]:
        """Execute a statement as superuser and return its rows.

        Wait until the session has left the database: only a superuser could terminate it.
        """
        with psycopg.connect(self.server.conninfo, dbname=database, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values or None)
            rows = cursor.fetchall() if cursor.description is not None else []
        if database != "postgres":
            sessions = "SELECT FROM pg_stat_activity WHERE datname = %s AND usename = 'postgres'"
            wait_until(lambda: not self.execute(sessions, database))
        return rows

    def names(self) -> set[str]:
        """Return the names of all databases and roles, and all role dependencies outside of the store."""
        rows = self.execute(
            "SELECT datname FROM pg_database UNION ALL SELECT rolname FROM pg_roles UNION ALL"
            " SELECT format('%s of %s', classid::regclass, refobjid) FROM pg_shdepend"
            " WHERE dbid <> (SELECT oid FROM pg_database WHERE datname = 'broker')"
        )
        return {name for (name,) in rows}


@contextmanager
def prepared(*, under: Path | None = None, **settings: str) -> Iterator[Cluster]:
    """Start a server and prepare it for the broker.

    Args:
        under: The parent folder of the data. Defaults to the folder for temporary files.
        settings: Settings of PostgreSQL.
    """
    with Server(under=under, tcp=True, **settings) as server:
        cluster = Cluster(server)
        server.psql(server.conninfo, (SAMPLE / "prepare.sql").read_text())
        with psycopg.connect(server.conninfo) as connection:  # the same as psql's \password
            connection.pgconn.change_password(b"broker", PASSWORD.encode())
        server.psql(cluster.url, (SAMPLE / "template.sql").read_text())
        yield cluster
