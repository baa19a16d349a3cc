"""The audit trail for people: a line for each change, or a few where the terminal is too narrow for that."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, TypeAlias

from .._internal import console as display
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
_STACKED = {"when": "when", "change": "change", "what": "what, and by whom"}
_MAY_LACK = frozenset({"who", "binding_id", "description"})
_IN_ONE_TABLE = 500


def print_changes(records: Iterator[AuditRecord], none: str) -> None:
    """Print records as a table, or as several: to be aligned, all that is in one must be known before.

    Args:
        records: The records, in their order.
        none: What to say if there are none.
    """
    nothing = True
    while rows := [_who_did_what(record) for record in islice(records, _IN_ONE_TABLE)]:
        nothing = False
        lacking = {name for name in _MAY_LACK if not any(row[name] for row in rows)}
        columns = {name: heading for name, heading in _COLUMNS.items() if name not in lacking}
        if display.fits_width(rows, columns):
            display.print_table(rows, columns)
        else:
            display.print_table([_stacked(row) for row in rows], _STACKED)
    if nothing:
        display.print_text(none)


def _who_did_what(record: AuditRecord) -> _Cells:
    """A record for people."""
    identity = record.originating_identity
    who = (record.username, None if identity is None else identity.user or identity.platform)
    is_moved = record.previous_plan is not None and record.previous_plan_id != record.plan_id
    plan = f"{record.previous_plan} → {record.plan}" if is_moved else record.plan
    took = None if record.ended_at is None else (record.ended_at - record.asked_at).total_seconds()
    return {
        "asked_at": display.local_time(record.asked_at.isoformat()),
        "who": " / ".join(filter(None, who)),
        "operation": record.operation.value,
        "instance_id": record.instance_id,
        "binding_id": record.binding_id,
        "plan": f"{record.offering}/{plan}",
        "state": record.state,
        "took": None if took is None else format_duration(max(0.0, took)),
        "description": record.description,
    }


def _stacked(row: _Cells) -> _Cells:
    """A record for a terminal that is too narrow for all of it on one line."""
    names = {"who": "by ", "instance_id": "instance ", "binding_id": "binding ", "description": ""}
    told = (f"{word}{row[name]}" for name, word in names.items() if row[name])
    return {
        "when": display.JSONLines(row["asked_at"].split("T")),
        "change": display.JSONLines(filter(None, (row["operation"], row["state"], row["took"]))),
        "what": display.JSONLines((row["plan"], *told)),
    }
