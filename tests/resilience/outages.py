"""Outages of databases: unreachable, hanging or not writable for a while."""

from __future__ import annotations

import sqlite3
from typing import Protocol

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy import make_url

from ..support.postgres import Server


class Outage(Protocol):
    """A fault of a database that lasts from `begin` to `end`."""

    def begin(self) -> None: ...

    def end(self) -> None: ...


class LockedDatabase:
    """A SQLite database that another connection keeps locked."""

    def __init__(self, url: str) -> None:
        self._path = make_url(url).database or ""

    def begin(self) -> None:
        self._connection = sqlite3.connect(self._path, timeout=30, isolation_level=None)
        self._connection.execute("BEGIN EXCLUSIVE")

    def end(self) -> None:
        self._connection.execute("ROLLBACK")
        self._connection.close()


class StoppedServer:
    """A PostgreSQL server that crashes and is started again."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def begin(self) -> None:
        self._server.stop("immediate")

    def end(self) -> None:
        self._server.start()


class HangingWrites:
    """A PostgreSQL database where every write waits for a lock."""

    def __init__(self, url: str) -> None:
        self._url = _libpq(url)

    def begin(self) -> None:
        self._connection = psycopg.connect(self._url)
        self._connection.execute("LOCK TABLE brokerkit_operations, brokerkit_instances IN EXCLUSIVE MODE")

    def end(self) -> None:
        self._connection.rollback()
        self._connection.close()


class ReadOnlyDatabase:
    """A PostgreSQL database that refuses writes, like a replica that is not the primary yet."""

    def __init__(self, url: str) -> None:
        self._url = _libpq(url)

    def begin(self) -> None:
        self._set("on")

    def end(self) -> None:
        self._set("off")

    def _set(self, value: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            name = Identifier(connection.info.dbname)
            connection.execute(
                SQL("ALTER DATABASE {} SET default_transaction_read_only = {}").format(name, SQL(value))
            )
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


def _libpq(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
