"""The report on a terminal: progress, a table of rules, each failure, and the summary.

On a terminal the output fits its width and has colours. In a pipe each row is one line of any length, without
colours. Text from the broker is never interpreted as markup or as control sequences.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import click
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Column, Table
from rich.text import Text

from ..._internal.text import printable
from ..options import Progress
from ..report import Failure, Leftover, Level, Outcome, Report, Verdict
from . import common

SHOWN = 3
"""Failures of a rule to show by default."""

_WIDE = 1_000_000
_NARROW = 100
"""Columns below which a sentence is printed under its rule instead of beside it."""

_OUTCOMES = {Outcome.PASSED: "green", Outcome.FAILED: "bold red", Outcome.SKIPPED: "dim"}
_LEVELS = {Level.MUST: "bold red", Level.SHOULD: "yellow", Level.INTEROP: "yellow"}


class RuleRow(Protocol):
    """A row of the list of rules."""

    @property
    def key(self) -> str: ...
    @property
    def level(self) -> Level: ...
    @property
    def sentence(self) -> str: ...


@contextmanager
def progress_bar() -> Iterator[Callable[[Progress], None]]:
    """Show a transient progress bar on stderr, if stderr is a terminal.

    Returns:
        A thread-safe function that updates the bar.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    columns = (
        SpinnerColumn(),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, ratio=1)),
    )
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    with Bars(*columns, console=console, transient=True, expand=True) as bars:
        task = bars.add_task("", total=None)

        def update(progress: Progress) -> None:
            bars.update(
                task,
                completed=progress.done,
                total=progress.total or None,
                description=printable(progress.doing),
            )

        yield update


def print_report(report: Report, *, verbose: bool = False, err: bool = False) -> None:
    """Print a report.

    Args:
        report: The report.
        verbose: Whether to show all failures and response headers. Defaults to False.
        err: Whether to print to stderr. Defaults to False.
    """
    page = _Page(err)
    shown = report.verdicts
    if report.problem:  # skipped rules would bury the evaluated ones
        shown = [verdict for verdict in shown if verdict.outcome is not Outcome.SKIPPED]
    _print_table(page, shown)
    for verdict in common.failed_verdicts(report):
        _print_failures(page, verdict, verbose)
    if report.leftovers:
        _print_leftovers(page, report.leftovers)
    page.gap()
    problem = common.problem(report)
    if problem is not None:
        page.write(_text(problem, "bold red"))
    page.write(_text(common.verdict(report), _style_of(report)))


def print_rules(rules: Iterable[RuleRow]) -> None:
    """Print a list of rules.

    Args:
        rules: The rules.
    """
    page = _Page(err=False)
    rows = [_Row((_text(rule.key), _text(rule.level.value)), _text(rule.sentence)) for rule in rules]
    page.rows(rows, _widths(rows))


# The table


class _Row(NamedTuple):
    cells: tuple[Text, ...]
    text: Text


def _print_table(page: _Page, verdicts: Sequence[Verdict]) -> None:
    widths = _widths(_row(verdict) for verdict in verdicts)
    for section in common.by_section(verdicts):
        page.gap()
        page.write(_text(section.title, "bold"))
        page.rows([_row(verdict) for verdict in section.verdicts], widths)


def _row(verdict: Verdict) -> _Row:
    outcome = verdict.outcome
    text = _text(verdict.sentence)
    if outcome is Outcome.SKIPPED:
        text.stylize("dim")
        text.append(printable(f" ({common.bounded(verdict.why or 'nothing to evaluate')})"), "dim italic")
    elif len(verdict.failures) > 1:
        text.append(f" ({len(verdict.failures)} times)")
    cells = (_text(outcome.value, _OUTCOMES[outcome]), _text(verdict.key), _text(verdict.level.value))
    return _Row(cells, text)


def _widths(rows: Iterable[_Row]) -> list[int]:
    """Return the widths of the columns, equal for all sections."""
    columns = zip(*(row.cells for row in rows), strict=True)
    return [max(cell.cell_len for cell in column) for column in columns]


# Failures and leftovers


def _print_failures(page: _Page, verdict: Verdict, verbose: bool) -> None:
    page.gap()
    heading = _text(verdict.key, "bold red")
    heading.append("  ").append(_text(verdict.level.value, _LEVELS[verdict.level]))
    page.write(heading.append("  ").append(_text(verdict.sentence, "bold")))
    shown = verdict.failures if verbose else verdict.failures[:SHOWN]
    for number, failure in enumerate(shown):
        if number:
            page.gap()
        _print_failure(page, failure, verbose)
    rest = len(verdict.failures) - len(shown)
    if rest:
        page.write(_indented(_text(f"and {rest} more; --verbose shows all", "dim")))


def _print_failure(page: _Page, failure: Failure, verbose: bool) -> None:
    where = _text(f"{failure.where}: {common.bounded(failure.fault)}")
    page.write(_indented(where))
    parts = Table.grid(padding=(0, 2, 0, 0))
    parts.add_column(width=10, no_wrap=True, style="dim")
    parts.add_column(overflow="fold")
    for part in common.exchanges(failure, headers=verbose):
        parts.add_row(_indented(_text(part.label)), _text(part.text))
    page.write(parts)
    page.write(_indented(_text("repeat with:", "dim")))
    for command in common.commands(failure):
        page.write_unbroken(command)


def _print_leftovers(page: _Page, leftovers: Sequence[Leftover]) -> None:
    page.gap()
    page.write(_text("The check created these resources and could not delete them:", "bold red"))
    for leftover in leftovers:
        line = f"{common.leftover_name(leftover)}: {common.bounded(leftover.why)}"
        page.write(_indented(_text(line, "red")))
        page.write(_indented(_text("delete it with:", "dim")))
        page.write_unbroken(leftover.curl)


def _style_of(report: Report) -> str:
    if report.exit_code:
        return "bold red"
    return "bold yellow" if report.count(Outcome.FAILED) else "bold green"


# Output


class _Page:
    """A writer to stdout or stderr, on a terminal or not."""

    def __init__(self, err: bool) -> None:
        self._err = err
        stream = sys.stderr if err else sys.stdout
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        terminal = stream.isatty()
        self._console = Console(
            file=stream,
            width=None if terminal else _WIDE,
            force_terminal=terminal,
            highlight=False,
            markup=False,
            emoji=False,
        )
        self._has_output = False

    def write(self, what: RenderableType) -> None:
        """Print a renderable, wrapped to the width of a terminal."""
        with self._console.capture() as captured:
            self._console.print(what)
        for line in captured.get().splitlines():
            self._echo(line.rstrip())

    def write_unbroken(self, line: str) -> None:
        """Print a line to copy, without breaking it."""
        self._echo(printable(line))

    def gap(self) -> None:
        """Print an empty line, except at the beginning."""
        if self._has_output:
            self._echo("")

    def rows(self, rows: Sequence[_Row], widths: Sequence[int]) -> None:
        """Print rows in columns, or in blocks on a narrow terminal."""
        if self._console.width < _NARROW:
            for row in rows:
                self.write(Text("  ").join(row.cells))
                self.write(_indented(row.text, 4))
            return
        table = Table.grid(padding=(0, 2, 0, 0))
        for width in widths:
            table.add_column(min_width=width, no_wrap=True)
        for row in rows:
            table.add_row(*row.cells, row.text)
        self.write(table)

    def _echo(self, line: str) -> None:
        self._has_output = True
        click.echo(line.encode(self._encoding, "backslashreplace").decode(self._encoding), err=self._err)


def _text(text: str, style: str = "") -> Text:
    """Build a text without markup and control characters."""
    return Text(printable(text), style=style, overflow="fold")


def _indented(text: Text, by: int = 2) -> Padding:
    return Padding(text, (0, 0, 0, by), expand=False)
