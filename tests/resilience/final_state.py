"""Checks of a store after all operations have ended."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import create_engine, text


def rows(url: str, table: str) -> list[dict[str, Any]]:
    """Return all rows of a table as stored."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            result = connection.execute(text(f"SELECT * FROM brokerkit_{table}"))
            return [dict(row) for row in result.mappings()]
    finally:
        engine.dispose()


def operations(url: str) -> dict[str, dict[str, Any]]:
    """Return the rows of all operations by id."""
    return {row["id"]: row for row in rows(url, "operations")}


def check_nothing_in_progress(url: str) -> None:
    """Check that nothing is in progress and no valid lease is left."""
    for operation in rows(url, "operations"):
        assert operation["state"] != "in progress", operation
        assert (operation["lease_until"] or 0) < time.time(), operation
        assert operation["wake_at"] is None, operation
    for instance in rows(url, "instances"):
        assert instance["busy_bindings"] == 0, instance
        assert instance["state"] != "creating", instance
    for binding in rows(url, "bindings"):
        assert binding["state"] != "creating", binding


def check_everything_deleted(url: str) -> None:
    """Check that nothing is in progress and every instance and binding is deleted."""
    check_nothing_in_progress(url)
    assert {instance["state"] for instance in rows(url, "instances")} <= {"deleted"}
    assert rows(url, "bindings") == []


def is_idle(url: str) -> bool:
    """Whether nothing is in progress and no valid lease is left."""
    now = time.time()
    return all(
        row["state"] != "in progress" and (row["lease_until"] or 0) < now for row in rows(url, "operations")
    )
