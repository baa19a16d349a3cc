"""Where stores are measured: SQLite and PostgreSQL, on the disk of this machine, each commit durable."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from statistics import median
from time import perf_counter
from typing import NamedTuple

import psycopg
from sqlalchemy import make_url

from tests.postgres import Server, fresh_database

COMMITS = 500

ROW = "x" * 1000
"""About what a store keeps of an instance."""


class Database(NamedTuple):
    """A kind of database, of which there may be any number."""

    name: str
    fresh: Callable[[], AbstractContextManager[str]]
    """The URL of an empty one, for as long as the context lasts."""


@contextmanager
def databases() -> Iterator[list[Database]]:
    with Server() as server:
        yield [
            Database("SQLite", _fresh_sqlite),
            Database("PostgreSQL", partial(fresh_database, server.url)),
        ]


@contextmanager
def _fresh_sqlite() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="sqlite-") as folder:
        yield f"sqlite:///{folder}/store.db"


def commit_seconds(url: str) -> float:
    """What writing one row durably takes by itself: no store can tell of a change sooner."""
    commit = _sqlite_commit(url) if url.startswith("sqlite") else _postgres_commit(url)
    return median(_seconds(commit) for _ in range(COMMITS))


def _sqlite_commit(url: str) -> Callable[[], object]:
    connection = sqlite3.connect(str(make_url(url).database), isolation_level=None)
    for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "CREATE TABLE bare (x TEXT)"):
        connection.execute(statement)
    return lambda: connection.execute("INSERT INTO bare VALUES (?)", (ROW,))


def _postgres_commit(url: str) -> Callable[[], object]:
    libpq_url = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = psycopg.connect(libpq_url, autocommit=True)
    connection.execute("CREATE TABLE bare (x TEXT)")
    return lambda: connection.execute("INSERT INTO bare VALUES (%s)", (ROW,))


def _seconds(work: Callable[[], object]) -> float:
    started = perf_counter()
    work()
    return perf_counter() - started
