"""The database of a store: SQLite or PostgreSQL, its connections, and what to say when it is away."""

from __future__ import annotations

import logging
import os
import sqlite3
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Lock
from time import monotonic, sleep
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    InternalError,
    NoSuchModuleError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import StaticPool

from .errors import StoreError, StoreUnavailable

_logger = logging.getLogger("brokerkit")

_TIMEOUTS = {
    "connect_timeout": 10,  # in seconds, as all but the last
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 15_000,
}
"""After which a PostgreSQL that does not answer is away."""

_CONNECTIONS = {"sqlite": 32, "postgresql": 10}
"""How many a process has at most, and keeps half of. PostgreSQL allows 100 to all together, unless told."""

_PATIENCE = 10
"""For how many seconds a process waits for another one that holds a lock of SQLite's."""

_PAUSE = 0.01
"""In seconds, between two tries where SQLite itself does not wait."""

_SETTINGS = frozenset({"lease"})
_STYLES: dict[str, Any] = {"sqlite": "named", "postgresql": "pyformat"}

FAULTS = (DBAPIError, PoolTimeoutError)
"""What a driver or its pool raises."""


class Database:
    """Connections to a database, each in autocommit.

    Args:
        url: An SQLAlchemy URL.
        options: For SQLAlchemy's `create_engine`.

    Raises:
        StoreError: The URL is none that a store can be on, or its driver is not installed.

    :attr:`settings` has what the URL says to the store, and not to the driver. In the child of a fork, what
    :attr:`after_fork` holds is called.
    """

    def __init__(self, url: str | URL, options: dict[str, Any]) -> None:
        parsed = _url(url)
        self.settings = {name: str(parsed.query[name]) for name in _SETTINGS & parsed.query.keys()}
        self.url = parsed.difference_update_query(_SETTINGS)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.is_in_memory = self.is_sqlite and self.url.database in (None, "", ":memory:")
        self.engine = self._make_engine(options)
        driver = self.engine.dialect.loaded_dbapi
        self._away = (driver.OperationalError, driver.InterfaceError, driver.InternalError)
        self._make_locks()
        self.after_fork: list[Callable[[], None]] = []
        _forget_in_children(self)

    def __str__(self) -> str:
        return self.url.set(query={}).render_as_string(hide_password=True)  # a query may have one too

    @property
    def path(self) -> Path:
        """The file of a SQLite database."""
        return Path(self.url.database or "")

    def check_folder(self) -> None:
        """Make sure that a database of SQLite's can be where it is to be.

        Raises:
            StoreError: It cannot, which SQLite tells in no more than five words.
        """
        if not self.is_sqlite or self.is_in_memory:
            return
        folder = self.path.parent
        if not folder.is_dir():
            raise StoreError(f"the folder of the store {self} does not exist; make {folder}")
        if self.path.is_dir():
            raise StoreError(
                f"the store {self} is a folder; give a file in it, such as {self.path}/broker.db"
            )
        if not os.access(folder, os.W_OK) or (self.path.exists() and not os.access(self.path, os.W_OK)):
            raise StoreError(
                f"the store {self} cannot be written by the user of this process; give that user the rights"
                f" to the folder {folder} and the files in it"
            )

    def reading(self) -> AbstractContextManager[DBAPIConnection]:
        """A connection of the driver's own, to read from; SQLAlchemy's own costs more than the reading.

        Raises:
            StoreUnavailable: The database is away.
        """
        return _Use(self, self._one_reader)

    def writing(self) -> AbstractContextManager[DBAPIConnection]:
        """A connection to write to, likewise.

        Raises:
            StoreUnavailable: The database is away, or cannot write.
        """
        return _Use(self, self._one_writer)

    def failed(self, error: BaseException) -> None:
        """What to raise instead of an error of the driver's.

        Raises:
            StoreUnavailable: The database is away, or cannot write.
        """
        if isinstance(error, (*self._away, *_AWAY)):
            if not isinstance(error, PoolTimeoutError):
                self.dispose()  # the other connections are likely to be of no use either
            _logger.error("the store is not available: %s", reason(error))
            raise StoreUnavailable from error

    def dispose(self) -> None:
        """Close the connections; the next use opens new ones. What is in memory stays."""
        if not self.is_in_memory:
            self.engine.dispose()

    def close(self) -> None:
        """Close the connections, for good."""
        self.engine.dispose()

    def _make_locks(self) -> None:
        # SQLite has one writer at a time: waiting for it here is quicker than asking it again and again.
        self._one_writer = Lock() if self.is_sqlite else None
        self._one_reader = self._one_writer if self.is_in_memory else None

    def _forget(self) -> None:
        """A child of a fork has its parent's sockets; it must not speak on them, nor close them."""
        self.engine.dispose(close=False)
        self._make_locks()
        for begin_anew in self.after_fork:
            begin_anew()

    def _make_engine(self, options: dict[str, Any]) -> Engine:
        if self.is_in_memory:
            options = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}, **options}
        else:
            half = _CONNECTIONS[self.url.get_backend_name()] // 2
            options = {"pool_size": half, "max_overflow": half, "pool_timeout": 10, **options}
        if not self.is_sqlite:
            options["connect_args"] = {**_TIMEOUTS, **options.get("connect_args", {})}
        try:
            engine = create_engine(
                self.url,
                paramstyle=_STYLES[self.url.get_backend_name()],
                isolation_level="AUTOCOMMIT",
                pool_reset_on_return=None,
                **options,
            )
        except ModuleNotFoundError as error:
            raise StoreError(
                f"a store on {self} needs {error.name}: pip install '{error.name}[binary]'"
            ) from None
        if self.is_sqlite:
            event.listen(engine, "connect", _set_up_sqlite)
        return engine


class _Use:
    """A connection in use. A class, as a generator would cost a poll a tenth of its time.

    Args:
        database: Whose connection.
        lock: What is held meanwhile, if anything.
    """

    __slots__ = ("_database", "_lock", "_pool", "_pooled")

    def __init__(self, database: Database, lock: Lock | None) -> None:
        self._database = database
        self._lock = lock

    def __enter__(self) -> DBAPIConnection:
        self._pool = self._database.engine.pool
        try:
            self._pooled = self._pool.connect()
        except Exception as error:
            self._database.failed(error)
            raise
        if self._lock is not None:
            self._lock.acquire()
        assert self._pooled.dbapi_connection is not None, "it was taken from the pool just now"
        return self._pooled.dbapi_connection

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is not None:
            self._pooled.invalidate()  # whatever was begun on it is undone
        if self._lock is not None:
            self._lock.release()
        if error is not None:
            self._database.failed(error)
            return
        self._pooled.close()
        if self._database.engine.pool is not self._pool:
            self._pool.dispose()  # it was done with meanwhile, and nobody would close what it gets back


_AWAY = (OperationalError, InterfaceError, InternalError, PoolTimeoutError)
"""What SQLAlchemy raises where it connects."""


def reason(error: BaseException) -> str:
    """What a driver said, without the statement and its parameters."""
    return str(getattr(error, "orig", None) or error).strip()


def _url(url: str | URL) -> URL:
    if isinstance(url, str) and url.startswith("postgres://"):  # as many platforms hand it out
        url = url.replace("postgres://", "postgresql://", 1)
    try:
        parsed = make_url(url)
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError):
        raise StoreError(
            "the store's URL cannot be read; give one such as sqlite:///broker.db or"
            " postgresql+psycopg://user:password@host/database"
        ) from None
    backend = parsed.get_backend_name()
    if backend == "postgresql" and parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if backend not in ("sqlite", "postgresql") or parsed.get_driver_name() not in ("pysqlite", "psycopg"):
        raise StoreError(f"the store cannot be on {parsed.drivername}; use sqlite or postgresql+psycopg")
    if backend == "sqlite" and parsed.database not in (None, "", ":memory:"):
        parsed = parsed.set(database=str(Path(parsed.database).absolute()))
    return parsed


def _set_up_sqlite(connection: sqlite3.Connection, _: object) -> None:
    connection.execute(f"PRAGMA busy_timeout={1000 * _PATIENCE}")
    _write_ahead(connection)
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Use a write-ahead log. SQLite does not wait for others who may be beginning to do so too."""
    until = monotonic() + _PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or monotonic() > until:
                raise
            sleep(_PAUSE)
        else:
            return


def _forget_in_children(database: Database) -> None:
    if not hasattr(os, "register_at_fork"):
        return
    known = weakref.ref(database)

    def forget() -> None:
        forked = known()
        if forked is not None:
            forked._forget()

    os.register_at_fork(after_in_child=forget)
