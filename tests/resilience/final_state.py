"""What is in a store when all is over."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import create_engine, text


def rows(url: str, table: str) -> list[dict[str, Any]]:
    """All of a table, as it is stored."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            found = connection.execute(text(f"SELECT * FROM brokerkit_{table}"))
            return [dict(row) for row in found.mappings()]
    finally:
        engine.dispose()


def operations(url: str) -> dict[str, dict[str, Any]]:
    """What the store has of each operation, by its id."""
    return {row["id"]: row for row in rows(url, "operations")}


def check_all_rests(url: str) -> None:
    """Nothing is in progress, and nobody who lives holds anything."""
    for operation in rows(url, "operations"):
        assert operation["state"] != "in progress", operation
        assert (operation["lease_until"] or 0) < time.time(), operation
        assert operation["wake_at"] is None, operation
    for instance in rows(url, "instances"):
        assert instance["busy_bindings"] == 0, instance
        assert instance["state"] != "creating", instance
    for binding in rows(url, "bindings"):
        assert binding["state"] != "creating", binding


def check_nothing_is_left(url: str) -> None:
    """All rests, and every instance and binding is deleted."""
    check_all_rests(url)
    assert {instance["state"] for instance in rows(url, "instances")} <= {"deleted"}
    assert rows(url, "bindings") == []


def is_at_rest(url: str) -> bool:
    """Is nothing in progress, and no lease left that has not run out?"""
    now = time.time()
    return all(
        row["state"] != "in progress" and (row["lease_until"] or 0) < now for row in rows(url, "operations")
    )
