"""Output of commands: JSON for programs, tables for people."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from textwrap import indent
from typing import TYPE_CHECKING, Any

import click

from .text import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

_STYLES = {"failed": "red"} | dict.fromkeys(("in progress", "creating", "updating", "deleting"), "yellow")
_NO_WRAP_COLUMNS = frozenset(
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
_UNLIMITED_WIDTH = 1_000_000


def print_json(value: object) -> None:
    """Print a value as JSON in ASCII, so that it is readable in every terminal encoding."""
    click.echo(json.dumps(value, indent=2))


def print_json_each(values: Iterable[object]) -> None:
    """Print values as a JSON array like :func:`print_json`, one at a time, in constant memory."""
    separator = "[\n"
    for value in values:
        click.echo(separator + indent(json.dumps(value, indent=2), "  "), nl=False)
        separator = ",\n"
    click.echo("[]" if separator == "[\n" else "\n]")


def print_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """Print a table with a row for each object.

    Args:
        rows: The objects.
        columns: The heading of each field to print.
    """
    rich = _rich()
    table = rich.Table(box=None, pad_edge=False, header_style="bold")
    for name, heading in columns.items():
        table.add_column(heading, overflow="fold", min_width=len(heading), no_wrap=name in _NO_WRAP_COLUMNS)
    for row in rows:
        table.add_row(*(rich.text(row[name]) for name in columns))
    _print(table)


def fits_width(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> bool:
    """Whether each row of a table fits on one line of the terminal. Without a terminal, always True."""
    if not _is_terminal():
        return True
    rich = _rich()
    widths = (
        max(len(heading), *(rich.text(row[name]).cell_len for row in rows))
        for name, heading in columns.items()
    )
    return sum(widths) + 2 * (len(columns) - 1) <= rich.Console().width


def print_facts(facts: Mapping[str, Any], *, exact: bool = False) -> None:
    """Print the fields of an object, one per line.

    Args:
        facts: The fields.
        exact: Whether to print underscores in the names as they are. Defaults to False: as spaces.
    """
    rich = _rich()
    table = rich.Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(rich.name(name if exact else name.replace("_", " ")), rich.text(value))
    _print(table)


def print_text(text: str, *, colour: str | None = None) -> None:
    """Print a sentence; in a colour if the output is a terminal."""
    _echo(_encodable(printable(text)), colour, err=False)


def print_note(text: str) -> None:
    """Print a sentence to standard error."""
    click.echo(printable(text), err=True)


def print_error(text: str) -> None:
    """Print an error message to standard error; in red if that is a terminal."""
    _echo(printable(text), "red", err=True)


def local_time(moment: str) -> str:
    """Convert an RFC 3339 time to ISO 8601 in the local time zone."""
    return datetime.fromisoformat(moment).astimezone().isoformat(timespec="seconds")


def _cell_text(value: Any) -> str:
    if value is None or value in ({}, [], ""):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping | list | tuple):
        return printable(json.dumps(value, ensure_ascii=False))
    return printable(str(value))


class JSONLines(tuple[str, ...]):
    """Several values in one table cell, one per line."""

    __slots__ = ()


class _Rich:
    """The needed parts of rich, which is imported only to print a table."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        self.Console, self.Table, self._text = Console, Table, Text

    def text(self, value: Any) -> Text:
        """Convert a value to the text of a table cell, without markup."""
        if isinstance(value, JSONLines):
            return self._text("\n").join(self.text(line) for line in value)
        text = _cell_text(value)
        return self._text(text, style=_STYLES.get(text, ""))

    def name(self, name: str) -> RenderableType:
        """Convert a field name to a text without markup."""
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
    """Print a table in the width of the terminal; without a terminal, each row on one line."""
    console: Console = _rich().Console(width=None if _is_terminal() else _UNLIMITED_WIDTH, highlight=False)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        click.echo(_encodable(line.rstrip()))


def _encodable(line: str) -> str:
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return line.encode(encoding, "backslashreplace").decode(encoding)
