"""The databases of measured stores: SQLite and PostgreSQL on the local disk, with durable commits."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import psycopg
from sqlalchemy import make_url

from tests.support.postgres import Server, fresh_database

COMMITS = 500

ROW = "x" * 1000
"""About the size of an instance's row."""


class Database(NamedTuple):
    """A kind of database that can be created any number of times."""

    name: str
    fresh: Callable[[], AbstractContextManager[str]]
    """Creates an empty database for the duration of the context. Its value is the URL."""


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
    """Return the median seconds of one durable insert, the lower bound of every change."""
    with _bare(url) as execute:
        return median(_seconds(lambda: execute("INSERT INTO bare VALUES (?)", ROW)) for _ in range(COMMITS))


@contextmanager
def reading(url: str) -> Iterator[Callable[[], object]]:
    """Yield a function that reads one row of an otherwise empty database, the lower bound of every read."""
    with _bare(url) as execute:
        execute("INSERT INTO bare VALUES (?)", ROW)
        yield lambda: execute("SELECT x FROM bare WHERE x = ?", ROW).fetchone()


@contextmanager
def _bare(url: str) -> Iterator[Callable[[str, str], Any]]:
    """Yield a function that executes statements with the driver alone, on a database with one table."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(str(make_url(url).database), isolation_level=None)) as sqlite:
            for setting in ("journal_mode = WAL", "synchronous = FULL"):
                sqlite.execute(f"PRAGMA {setting}")
            sqlite.execute("CREATE TABLE bare (x TEXT)")
            yield lambda statement, value: sqlite.execute(statement, (value,))
    else:
        libpq_url = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        with closing(psycopg.connect(libpq_url, autocommit=True)) as postgres:
            postgres.execute("CREATE TABLE bare (x TEXT)")
            yield lambda statement, value: postgres.execute(statement.replace("?", "%s").encode(), (value,))


def _seconds(work: Callable[[], object]) -> float:
    started = perf_counter()
    work()
    return perf_counter() - started
