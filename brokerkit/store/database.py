"""Connections to the database of a store, SQLite or PostgreSQL, and the translation of its errors."""

from __future__ import annotations

import logging
import os
import sqlite3
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
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

from .._internal.clock import SYSTEM_CLOCK, Clock
from .._internal.files import create_private
from .errors import StoreError, StoreUnavailable

_logger = logging.getLogger(__name__)

_TIMEOUTS = {
    "connect_timeout": 10,  # seconds; only `tcp_user_timeout` is in milliseconds
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 15_000,
}
"""Timeouts after which an unresponsive PostgreSQL server counts as unavailable."""

_CONNECTIONS = {"sqlite": 32, "postgresql": 10}
"""The maximum number of connections of a process. Half of them stay open.

PostgreSQL's own default is 100 connections for all processes together.
"""

_LOCK_TIMEOUT = 10
"""The maximum wait for a SQLite lock of another process, in seconds."""

_RETRY_PAUSE = 0.01
"""The pause between two attempts, in seconds, for statements that do not wait for a lock."""

SQLITE_CLOCK = "brokerkit_now"
"""The name of the SQL function that returns the time on SQLite."""

_STORE_PARAMETERS = frozenset({"lease"})
_PARAM_STYLES: dict[str, Any] = {"sqlite": "named", "postgresql": "pyformat"}

DATABASE_ERRORS = (DBAPIError, PoolTimeoutError)
"""Errors that a driver or its connection pool raises."""


class Database:
    """A pool of connections to a database, each in autocommit mode.

    Args:
        url: An SQLAlchemy URL.
        options: Arguments for SQLAlchemy's `create_engine`.
        clock: The clock of SQLite. PostgreSQL has its own. Defaults to the system's.

    Raises:
        StoreError: The URL is invalid or names an unsupported database, or the driver is not installed.

    Attributes:
        settings: The parameters of the URL that are for the store, not for the driver.
        after_fork: Callbacks for the child process after a fork.
    """

    def __init__(self, url: str | URL, options: dict[str, Any], clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        parsed = _parse_url(url)
        self.settings = {name: str(parsed.query[name]) for name in _STORE_PARAMETERS & parsed.query.keys()}
        self.url = parsed.difference_update_query(_STORE_PARAMETERS)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.is_in_memory = self.is_sqlite and self.url.database in (None, "", ":memory:")
        self.engine = self._make_engine(options)
        driver = self.engine.dialect.loaded_dbapi
        self._outage_errors = (driver.OperationalError, driver.InterfaceError, driver.InternalError)
        self._make_locks()
        self.after_fork: list[Callable[[], None]] = []
        _reset_in_forked_children(self)

    def __str__(self) -> str:
        without_query = self.url.set(query={})  # the query can also contain a password
        return without_query.render_as_string(hide_password=True)

    @property
    def path(self) -> Path:
        """The path of a SQLite database's file."""
        return Path(self.url.database or "")

    def check_folder(self) -> None:
        """Check that a SQLite database can be created or written to.

        Raises:
            StoreError: The folder is missing or not writable. SQLite's own message does not name the reason.
        """
        if not self.is_sqlite or self.is_in_memory:
            return
        folder = self.path.parent
        if not folder.is_dir():
            raise StoreError(f"the folder of the store {self} does not exist; create {folder}")
        if self.path.is_dir():
            raise StoreError(
                f"the store {self} is a folder; name a file in it, such as {self.path}/broker.db"
            )
        if not os.access(folder, os.W_OK) or (self.path.exists() and not os.access(self.path, os.W_OK)):
            raise StoreError(
                f"the store {self} is not writable for the user of this process; give that user write access"
                f" to the folder {folder} and the files in it"
            )

    def reading(self) -> AbstractContextManager[DBAPIConnection]:
        """Return a driver connection to read from. SQLAlchemy's own would take longer than the read.

        Raises:
            StoreUnavailable: The database cannot be reached.
        """
        return _ConnectionContext(self, self._read_lock)

    def writing(self) -> AbstractContextManager[DBAPIConnection]:
        """Return a driver connection to write to. On SQLite, only one thread at a time has it.

        Raises:
            StoreUnavailable: The database cannot be reached, or cannot write.
        """
        return _ConnectionContext(self, self._write_lock)

    def raise_if_unavailable(self, error: BaseException) -> None:
        """Translate a driver error that means an outage. Return without an exception for any other error.

        Raises:
            StoreUnavailable: The database cannot be reached, or cannot write.
        """
        if isinstance(error, (*self._outage_errors, *_CONNECT_ERRORS)):
            if not isinstance(error, PoolTimeoutError):
                self.dispose()  # the other connections are probably broken too
            _logger.error("Store %s is unavailable: %s", self, driver_message(error))
            raise StoreUnavailable from error

    def dispose(self) -> None:
        """Close the idle connections. The next use opens new ones. A database in memory stays open."""
        if not self.is_in_memory:
            self.engine.dispose()

    def close(self) -> None:
        """Close the connections, and discard a database in memory."""
        self.engine.dispose()

    def _make_locks(self) -> None:
        # SQLite allows one writer at a time, and polls for its lock. A thread lock is faster.
        self._write_lock = Lock() if self.is_sqlite else None
        self._read_lock = self._write_lock if self.is_in_memory else None

    def _reset_after_fork(self) -> None:
        """Drop inherited connections in a forked child, which must not use or close its parent's sockets."""
        self.engine.dispose(close=False)
        self._make_locks()
        for callback in self.after_fork:
            callback()

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
                paramstyle=_PARAM_STYLES[self.url.get_backend_name()],
                isolation_level="AUTOCOMMIT",
                pool_reset_on_return=None,
                **options,
            )
        except ModuleNotFoundError:
            raise StoreError(
                f"a store on {self} needs the extra 'postgres': pip install 'osb-brokerkit[postgres]'"
            ) from None
        if self.is_sqlite:
            event.listen(engine, "connect", self._set_up_sqlite)
            if not self.is_in_memory:
                event.listen(engine, "do_connect", self._create_private_file)
        return engine

    def _create_private_file(self, *_: object) -> None:
        """Create a missing SQLite file with mode 0600, before SQLite would create it with the umask's mode.

        SQLite gives `-wal` and `-shm` files the mode of their database.
        """
        if self.path.exists():
            return
        with suppress(OSError):  # SQLite reports the cause
            create_private(self.path.resolve())  # if the path is a symbolic link, create its target

    def _set_up_sqlite(self, connection: sqlite3.Connection, _: object) -> None:
        connection.create_function(SQLITE_CLOCK, 0, self._clock.time)
        connection.execute(f"PRAGMA busy_timeout={1000 * _LOCK_TIMEOUT}")
        _enable_wal(connection)
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")


class _ConnectionContext:
    """A context manager for a pooled connection.

    A class, because a generator would make a poll 10 % slower.

    Args:
        database: The database.
        lock: A lock to hold while the connection is in use. None for no lock.
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
            self._database.raise_if_unavailable(error)
            raise
        if self._lock is not None:
            self._lock.acquire()
        assert self._pooled.dbapi_connection is not None, (
            "the pool returned a connection without a driver connection"
        )
        return self._pooled.dbapi_connection

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is not None:
            self._pooled.invalidate()  # this rolls back an open transaction
        if self._lock is not None:
            self._lock.release()
        if error is not None:
            self._database.raise_if_unavailable(error)
            return
        self._pooled.close()
        if self._database.engine.pool is not self._pool:
            self._pool.dispose()  # the pool was replaced during the use; close the connections of the old one


_CONNECT_ERRORS = (OperationalError, InterfaceError, InternalError, PoolTimeoutError)
"""Errors that SQLAlchemy raises when it connects."""


def driver_message(error: BaseException) -> str:
    """Return a driver's error message without the statement and its parameters."""
    return str(getattr(error, "orig", None) or error).strip()


def _parse_url(url: str | URL) -> URL:
    if isinstance(url, str) and url.startswith("postgres://"):  # the form that many platforms provide
        url = url.replace("postgres://", "postgresql://", 1)
    try:
        parsed = make_url(url)
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError):
        raise StoreError(
            "the store's URL is invalid; use one such as sqlite:///broker.db or"
            " postgresql+psycopg://user:password@host/database"
        ) from None
    backend = parsed.get_backend_name()
    if backend == "postgresql" and parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if backend not in ("sqlite", "postgresql") or parsed.get_driver_name() not in ("pysqlite", "psycopg"):
        raise StoreError(f"a store on {parsed.drivername} is not supported; use sqlite or postgresql+psycopg")
    if backend == "sqlite" and parsed.database not in (None, "", ":memory:"):
        parsed = parsed.set(database=str(Path(parsed.database).absolute()))
    return parsed


def _enable_wal(connection: sqlite3.Connection) -> None:
    """Switch to a write-ahead log. SQLite does not wait for another process that does the same, so retry."""
    end = monotonic() + _LOCK_TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or monotonic() > end:
                raise
            sleep(_RETRY_PAUSE)
        else:
            return


def _reset_in_forked_children(database: Database) -> None:
    if not hasattr(os, "register_at_fork"):
        return
    reference = weakref.ref(database)

    def reset() -> None:
        inherited = reference()
        if inherited is not None:
            inherited._reset_after_fork()

    os.register_at_fork(after_in_child=reset)
