"""Tests of the connections to a store's database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine.interfaces import DBAPIConnection

from brokerkit.store.database import Database
from brokerkit.store.errors import StoreUnavailable


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    is_sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'broker.db'}" if is_sqlite else request.getfixturevalue("postgres_url")
    database = Database(url, {})
    yield database
    database.close()


def is_open(connection: DBAPIConnection) -> bool:
    try:
        connection.cursor().execute("SELECT 1")
    except (sqlite3.ProgrammingError, psycopg.OperationalError):
        return False
    return True


def test_connection_in_use_is_closed_on_release(
    database: Database,
) -> None:
    """After the store was closed, a connection in use stays open until its user releases it."""
    with database.reading() as connection:
        database.close()
        assert is_open(connection), "a connection in use was closed"
    assert not is_open(connection)


def test_connection_is_reused(database: Database) -> None:
    with database.reading() as first:
        pass
    with database.writing() as second:
        assert second is first
    assert is_open(first)


@pytest.mark.integration
def test_outage_closes_all_earlier_connections(postgres_url: str) -> None:
    """After StoreUnavailable in one connection, the others are closed on release."""
    database = Database(postgres_url, {})
    with database.reading() as one:
        with pytest.raises(StoreUnavailable), database.reading():
            raise psycopg.OperationalError("the server is gone")
        assert is_open(one)
    assert not is_open(one)
    database.close()
