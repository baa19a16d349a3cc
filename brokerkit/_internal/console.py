"""What commands print: JSON for programs, tables for people."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from textwrap import indent
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

_STYLES = {"failed": "red"} | dict.fromkeys(("in progress", "creating", "updating", "deleting"), "yellow")
_NARROW = frozenset(
    {
        "operation_id",
        "operation",
        "state",
        "kind",
        "mode",
        "attempt",
        "bindings",
        "took",
        "created_at",
        "updated_at",
        "expires_at",
    }
)
_WIDE = 1_000_000


def print_json(value: object) -> None:
    """Print JSON that is ASCII alone, whatever the terminal makes of other characters."""
    click.echo(json.dumps(value, indent=2))


def print_json_each(values: Iterable[object]) -> None:
    """Print a list as :func:`print_json` does, each value as it comes, however many there are."""
    before = "[\n"
    for value in values:
        click.echo(before + indent(json.dumps(value, indent=2), "  "), nl=False)
        before = ",\n"
    click.echo("[]" if before == "[\n" else "\n]")


def print_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """Print a row for each object.

    Args:
        rows: The objects.
        columns: The heading of each of the fields that are shown.
    """
    rich = _rich()
    table = rich.Table(box=None, pad_edge=False, header_style="bold")
    for name, heading in columns.items():
        table.add_column(heading, overflow="fold", min_width=len(heading), no_wrap=name in _NARROW)
    for row in rows:
        table.add_row(*(rich.text(row[name]) for name in columns))
    _print(table)


def fits_width(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> bool:
    """Does each row of a table stand on one line? Where no terminal is written to, always."""
    if not _is_terminal():
        return True
    rich = _rich()
    widths = (
        max(len(heading), *(rich.text(row[name]).cell_len for row in rows))
        for name, heading in columns.items()
    )
    return sum(widths) + 2 * (len(columns) - 1) <= rich.Console().width


def print_facts(facts: Mapping[str, Any], *, exact: bool = False) -> None:
    """Print the fields of an object, one below the other.

    Args:
        facts: The fields.
        exact: Are their names to be shown as they are?
    """
    rich = _rich()
    table = rich.Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(rich.name(name if exact else name.replace("_", " ")), rich.text(value))
    _print(table)


def print_text(text: str, *, colour: str | None = None) -> None:
    """Print a sentence, on a terminal in a colour."""
    _echo(_encodable(printable(text)), colour, err=False)


def print_note(text: str) -> None:
    """Print a sentence beside the output."""
    click.echo(printable(text), err=True)


def print_error(text: str) -> None:
    """Print beside the output what is wrong, on a terminal in red."""
    _echo(printable(text), "red", err=True)


def printable(text: str) -> str:
    """A text on one line, without what would steer a terminal or deceive a reader."""
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def local_time(moment: str) -> str:
    """A time in RFC 3339, as ISO 8601 in the zone of this machine."""
    return datetime.fromisoformat(moment).astimezone().isoformat(timespec="seconds")


def duration(seconds: float) -> str:
    """A duration in its two greatest units, such as ``35 ms``, ``2.4 s``, ``5 min 12 s`` or ``2 d 4 h``."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{int(seconds)} s"
    minutes, hours, days = (int(seconds) // size for size in (60, 3600, 86400))
    if hours == 0:
        return f"{minutes} min {int(seconds) % 60} s"
    return f"{hours} h {minutes % 60} min" if days == 0 else f"{days} d {hours % 24} h"


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _shown(value: Any) -> str:
    if value is None or value in ({}, [], ""):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping | list | tuple):
        return printable(json.dumps(value, ensure_ascii=False))
    return printable(str(value))


class JSONLines(tuple[str, ...]):
    """Several values in one cell, one below the other."""

    __slots__ = ()


class _Rich:
    """What there is of rich, which is loaded only where a table is printed."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        self.Console, self.Table, self._text = Console, Table, Text

    def text(self, value: Any) -> Text:
        """A value as it stands in a cell; nothing in it is markup."""
        if isinstance(value, JSONLines):
            return self._text("\n").join(self.text(each) for each in value)
        shown = _shown(value)
        return self._text(shown, style=_STYLES.get(shown, ""))

    def name(self, name: str) -> RenderableType:
        """The name of a fact; nothing in it is markup."""
        return self._text(printable(name))


def _rich() -> _Rich:
    try:
        return _Rich()
    except ModuleNotFoundError as error:
        raise click.ClickException(f"tables need {error.name}: pip install rich; or use --json") from None


def _echo(text: str, colour: str | None, *, err: bool) -> None:
    coloured = colour is not None and not os.environ.get("NO_COLOR")
    click.echo(click.style(text, fg=colour) if coloured else text, err=err)


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _print(table: RenderableType) -> None:
    """Print a table: to a terminal in its width, else each row on a line, however long that is."""
    console: Console = _rich().Console(width=None if _is_terminal() else _WIDE, highlight=False)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        click.echo(_encodable(line.rstrip()))


def _encodable(line: str) -> str:
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return line.encode(encoding, "backslashreplace").decode(encoding)
