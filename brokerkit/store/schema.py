"""The version of a store's tables, and its upgrade.

Alembic is imported only when tables are created or upgraded.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from .errors import StoreError

VERSION_TABLE = "brokerkit_version"
NEWEST = "0003"
"""The schema version that this package works with: the revision of the newest migration."""

_LOCK = 0x62726F6B  # brokerkit's key among PostgreSQL's advisory locks


def version_of(connection: Connection) -> str | None:
    """Return the schema version of the tables, or None without tables."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    version = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608
    return None if version is None else str(version)


def require_newest(engine: Engine) -> None:
    """Check the schema version, and create the tables in an empty database.

    Raises:
        StoreError: The tables have another version.
    """
    with engine.connect() as connection:
        version = version_of(connection)
    if version is None:
        upgrade(engine)
    elif version < NEWEST:
        raise StoreError(
            f"the store has schema version {version}, and this brokerkit requires {NEWEST}; stop the broker,"
            " and run flask broker upgrade-store"
        )
    elif version > NEWEST:
        raise StoreError(
            f"the store has schema version {version}, and this brokerkit supports only versions up to"
            f" {NEWEST}; install the brokerkit version that upgraded the store, or a later one"
        )


def upgrade(engine: Engine) -> tuple[str | None, str]:
    """Upgrade the tables to the newest version. Another process that upgrades concurrently waits.

    Returns:
        The version before the upgrade (None for an empty database), and the version after it.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)  # otherwise Alembic logs each step
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": None})
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with _exclusive(engine) as connection:
        before = version_of(connection)
        if before is None or before < NEWEST:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        return before, version_of(connection) or NEWEST


@contextmanager
def _exclusive(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that excludes every other upgrade."""
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.exec_driver_sql("ROLLBACK")
                raise
            connection.exec_driver_sql("COMMIT")
    else:
        with engine.execution_options(isolation_level="READ COMMITTED").begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            yield connection
