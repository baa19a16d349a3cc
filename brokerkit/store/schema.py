"""Which version a store's tables have, and how they get another one.

Alembic is loaded only where tables are made or upgraded.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from .errors import StoreError

VERSION_TABLE = "brokerkit_version"
NEWEST = "0002"
"""The version that this package works with: the newest migration."""

_LOCK = 0x62726F6B  # of PostgreSQL's advisory locks, ours


def version_of(connection: Connection) -> str | None:
    """The version of the tables that there are; None if there are none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    version = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608
    return None if version is None else str(version)


def require_newest(engine: Engine) -> None:
    """Make the tables where there are none.

    Raises:
        StoreError: They are of another version.
    """
    with engine.connect() as connection:
        version = version_of(connection)
    if version is None:
        upgrade(engine)
    elif version < NEWEST:
        raise StoreError(
            f"the store has version {version}, and this brokerkit works with {NEWEST}; stop the broker, and"
            " run flask broker upgrade-store"
        )
    elif version > NEWEST:
        raise StoreError(
            f"the store has version {version}, which this brokerkit does not know (it works with {NEWEST});"
            " install the brokerkit that made it, or a later one"
        )


def upgrade(engine: Engine) -> tuple[str | None, str]:
    """Bring the tables to the newest version; others who do that at the same time wait.

    Returns:
        The version before, and the one now.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)  # its steps are of no use to anybody
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": None})
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with _alone(engine) as connection:
        before = version_of(connection)
        if before is None or before < NEWEST:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        return before, version_of(connection) or NEWEST


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """A transaction that nobody else has at the same time."""
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
