"""The audit trail as a table: one line for each change, or several lines on a narrow terminal."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, TypeAlias

from .._internal import console
from .._internal.text import format_duration
from ..audit import AuditRecord

_Cells: TypeAlias = dict[str, Any]

_COLUMNS = {
    "asked_at": "when",
    "who": "who",
    "operation": "change",
    "instance_id": "instance",
    "binding_id": "binding",
    "plan": "plan",
    "state": "outcome",
    "took": "took",
    "description": "description",
}
_STACKED = {"when": "when", "change": "change", "subject": "resource and user"}
_OPTIONAL = frozenset({"who", "binding_id", "description"})
_TABLE_SIZE = 500


def print_changes(records: Iterator[AuditRecord], empty: str) -> None:
    """Print records as tables. Long lists are split, because a table needs all rows to align its columns.

    Args:
        records: The records, in the order of the table.
        empty: The text to print in place of an empty table.
    """
    is_empty = True
    while rows := [_cells(record) for record in islice(records, _TABLE_SIZE)]:
        is_empty = False
        omitted = {name for name in _OPTIONAL if not any(row[name] for row in rows)}
        columns = {name: heading for name, heading in _COLUMNS.items() if name not in omitted}
        if console.fits_width(rows, columns):
            console.print_table(rows, columns)
        else:
            console.print_table([_stacked(row) for row in rows], _STACKED)
    if is_empty:
        console.print_text(empty)


def _cells(record: AuditRecord) -> _Cells:
    """Build the cells of a record."""
    identity = record.originating_identity
    users = (record.username, None if identity is None else identity.user or identity.platform)
    plan_changed = record.previous_plan is not None and record.previous_plan_id != record.plan_id
    plan = f"{record.previous_plan} → {record.plan}" if plan_changed else record.plan
    duration = None if record.ended_at is None else (record.ended_at - record.asked_at).total_seconds()
    return {
        "asked_at": console.local_time(record.asked_at.isoformat()),
        "who": " / ".join(filter(None, users)),
        "operation": record.operation.value,
        "instance_id": record.instance_id,
        "binding_id": record.binding_id,
        "plan": f"{record.offering}/{plan}",
        "state": record.state,
        "took": None if duration is None else format_duration(max(0.0, duration)),
        "description": record.description,
    }


def _stacked(row: _Cells) -> _Cells:
    """Combine the cells for a terminal that is too narrow for one line per change."""
    prefixes = {"who": "by ", "instance_id": "instance ", "binding_id": "binding ", "description": ""}
    details = (f"{prefix}{row[name]}" for name, prefix in prefixes.items() if row[name])
    return {
        "when": console.JSONLines(row["asked_at"].split("T")),
        "change": console.JSONLines(filter(None, (row["operation"], row["state"], row["took"]))),
        "subject": console.JSONLines((row["plan"], *details)),
    }
