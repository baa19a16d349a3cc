"""Output of the commands: the columns of their tables, and reports as a table or as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._internal import console

CATALOG = {
    "offering": "offering",
    "plan": "plan",
    "description": "description",
    "bindable": "bindable",
    "free": "free",
    "maintenance_version": "version",
    "plan_id": "plan id",
}
INSTANCES = {
    "instance_id": "instance",
    "offering": "offering",
    "plan": "plan",
    "state": "state",
    "bindings": "bindings",
    "created_at": "created",
}
INSTANCES_REVEALED = {**INSTANCES, "parameters": "parameters", "data": "data"}
BINDINGS = {
    "binding_id": "binding",
    "instance_id": "instance",
    "offering": "offering",
    "plan": "plan",
    "state": "state",
    "created_at": "created",
    "expires_at": "expires",
}
BINDINGS_REVEALED = {**BINDINGS, "parameters": "parameters", "credentials": "credentials", "data": "data"}
HISTORY = {
    "operation_id": "operation",
    "kind": "kind",
    "mode": "mode",
    "state": "state",
    "attempt": "attempt",
    "created_at": "created",
    "updated_at": "changed",
    "description": "description",
}
OPERATIONS = {
    "operation_id": "operation",
    "kind": "kind",
    "instance_id": "instance",
    "binding_id": "binding",
    "state": "state",
    "created_at": "created",
    "description": "description",
}

_TIMES = frozenset(
    {
        "created_at",
        "updated_at",
        "expires_at",
        "renew_before",
        "lease_until",
        "wake_at",
        "deadline",
    }
)


def print_reports(
    reports: Sequence[Mapping[str, Any]], as_json: bool, columns: Mapping[str, str], empty: str
) -> None:
    """Print reports as JSON or as a table.

    Args:
        reports: The reports.
        as_json: Whether to print JSON.
        columns: The fields of the table and their headings.
        empty: The text to print in place of an empty table.
    """
    if as_json:
        console.print_json(reports)
    elif not reports:
        console.print_text(empty)
    else:
        console.print_table([with_local_times(report) for report in reports], columns)


def print_details(report: Mapping[str, Any]) -> None:
    """Print a report as one line per field, followed by a table of its operations."""
    details = with_local_times(report)
    history = details.pop("operations", None)
    console.print_facts(details)
    if history:
        console.print_text("")
        console.print_table([with_local_times(operation) for operation in history], HISTORY)


def print_truncation(is_truncated: bool, limit: int) -> None:
    """Print a note on stderr if a list was truncated."""
    if is_truncated:
        console.print_note(f"There are more than {limit}; use --limit to show more.")


def with_local_times(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return a report with its times in this machine's time zone."""
    return {
        name: console.local_time(value) if name in _TIMES and value else value
        for name, value in report.items()
    }
