"""A PostgreSQL that a broker may use, prepared as the README of `samples/postgres` says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
from psycopg import conninfo
from sqlalchemy import URL

from ..resilience.wait import until
from ..support.postgres import Server

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

    @property
    def store(self) -> str:
        """Where the broker remembers, for SQLAlchemy."""
        url = URL.create(
            "postgresql+psycopg", "broker", PASSWORD, "127.0.0.1", self.server.port, database="broker"
        )
        return url.render_as_string(hide_password=False)

    def login(self, database: str, user: str, password: str) -> str:
        return conninfo.make_conninfo(
            host="127.0.0.1", port=self.server.port, dbname=database, user=user, password=password
        )

    def ask(self, statement: str, *values: object, database: str = "postgres") -> list[Row]:
        """What a superuser is answered, who has left the database then: only another could make it leave."""
        with psycopg.connect(self.server.conninfo, dbname=database, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values or None)
            found = cursor.fetchall() if cursor.description is not None else []
        if database != "postgres":
            gone = "SELECT FROM pg_stat_activity WHERE datname = %s AND usename = 'postgres'"
            until(lambda: not self.ask(gone, database))
        return found

    def names(self) -> set[str]:
        """Of all databases and roles, and of what roles are entangled in outside of the store."""
        found = self.ask(
            "SELECT datname FROM pg_database UNION ALL SELECT rolname FROM pg_roles UNION ALL"
            " SELECT format('%s of %s', classid::regclass, refobjid) FROM pg_shdepend"
            " WHERE dbid <> (SELECT oid FROM pg_database WHERE datname = 'broker')"
        )
        return {name for (name,) in found}


@contextmanager
def prepared(*, under: Path | None = None, **settings: str) -> Iterator[Cluster]:
    """A server of one's own.

    Args:
        under: Where to keep the data, if not with the other temporary files.
        settings: Of PostgreSQL.
    """
    with Server(under=under, tcp=True, **settings) as server:
        cluster = Cluster(server)
        server.psql(server.conninfo, (SAMPLE / "prepare.sql").read_text())
        with psycopg.connect(server.conninfo) as connection:  # as psql's \password does it
            connection.pgconn.change_password(b"broker", PASSWORD.encode())
        server.psql(cluster.url, (SAMPLE / "template.sql").read_text())
        yield cluster
