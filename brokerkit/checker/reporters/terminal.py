"""A report for people, in a terminal: how far it is, a table by rule, each failure, the verdict.

On a terminal it is as wide as that, and has colours. Elsewhere each row is one whole line, however long, and
without colours. Whatever a broker says is shown as it is: nothing in it is markup, or steers the terminal.
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
from . import common as telling

SHOWN = 3
"""How many failures of a rule are shown in full, unless all are asked for."""

_WIDE = 1_000_000
_NARROW = 100
"""Below so many columns a sentence stands under its rule, and not beside it."""

_OUTCOMES = {Outcome.PASSED: "green", Outcome.FAILED: "bold red", Outcome.SKIPPED: "dim"}
_LEVELS = {Level.MUST: "bold red", Level.SHOULD: "yellow", Level.INTEROP: "yellow"}


class RuleRow(Protocol):
    """A rule as it is listed."""

    @property
    def key(self) -> str: ...
    @property
    def level(self) -> Level: ...
    @property
    def sentence(self) -> str: ...


@contextmanager
def progress_bar() -> Iterator[Callable[[Progress], None]]:
    """A bar on stderr that goes away at the end; nothing where that is no terminal.

    Returns:
        Tells it how far the check is; safe for threads.
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

        def tell(progress: Progress) -> None:
            bars.update(
                task,
                completed=progress.done,
                total=progress.total or None,
                description=printable(progress.doing),
            )

        yield tell


def print_report(report: Report, *, verbose: bool = False, err: bool = False) -> None:
    """Print a report.

    Args:
        report: What the check found.
        verbose: Show every failure in full, and the headers of answers.
        err: Print it to stderr.
    """
    page = _Page(err)
    shown = report.verdicts
    if report.trouble:  # what was not come to would bury what was
        shown = [each for each in shown if each.outcome is not Outcome.SKIPPED]
    _print_table(page, shown)
    for each in telling.broken(report):
        _print_failures(page, each, verbose)
    if report.leftovers:
        _print_leftovers(page, report.leftovers)
    page.gap()
    trouble = telling.trouble(report)
    if trouble is not None:
        page.write(_text(trouble, "bold red"))
    page.write(_text(telling.verdict(report), _style_of(report)))


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
    for chapter in telling.by_section(verdicts):
        page.gap()
        page.write(_text(chapter.title, "bold"))
        page.rows([_row(verdict) for verdict in chapter.verdicts], widths)


def _row(verdict: Verdict) -> _Row:
    outcome = verdict.outcome
    text = _text(verdict.sentence)
    if outcome is Outcome.SKIPPED:
        text.stylize("dim")
        text.append(printable(f" ({telling.shortened(verdict.why or 'nothing to judge')})"), "dim italic")
    elif len(verdict.failures) > 1:
        text.append(f" ({len(verdict.failures)} times)")
    cells = (_text(outcome.value, _OUTCOMES[outcome]), _text(verdict.key), _text(verdict.level.value))
    return _Row(cells, text)


def _widths(rows: Iterable[_Row]) -> list[int]:
    """How wide the columns are, of all chapters alike."""
    columns = zip(*(row.cells for row in rows), strict=True)
    return [max(cell.cell_len for cell in column) for column in columns]


# What went wrong


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
    where = _text(f"{failure.where}: {telling.shortened(failure.fault)}")
    page.write(_indented(where))
    parts = Table.grid(padding=(0, 2, 0, 0))
    parts.add_column(width=9, no_wrap=True, style="dim")
    parts.add_column(overflow="fold")
    for part in telling.exchanges(failure, headers=verbose):
        parts.add_row(_indented(_text(part.label)), _text(part.text))
    page.write(parts)
    page.write(_indented(_text("repeat with:", "dim")))
    for command in telling.commands(failure):
        page.whole(command)


def _print_leftovers(page: _Page, leftovers: Sequence[Leftover]) -> None:
    page.gap()
    page.write(_text("The check made this, and could not delete it:", "bold red"))
    for each in leftovers:
        told = f"{telling.leftover_name(each)}: {telling.shortened(each.why)}"
        page.write(_indented(_text(told, "red")))
        page.write(_indented(_text("delete it with:", "dim")))
        page.whole(each.curl)


def _style_of(report: Report) -> str:
    if report.exit_code:
        return "bold red"
    return "bold yellow" if report.count(Outcome.FAILED) else "bold green"


# Where it is printed


class _Page:
    """Prints to stdout or stderr, whatever that is."""

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
        self._begun = False

    def write(self, what: RenderableType) -> None:
        """Print something, in as many lines as it takes on a terminal."""
        with self._console.capture() as captured:
            self._console.print(what)
        for line in captured.get().splitlines():
            self._echo(line.rstrip())

    def whole(self, line: str) -> None:
        """Print a line that is to be copied, and so is not broken: the terminal does that if it must."""
        self._echo(printable(line))

    def gap(self) -> None:
        """Print an empty line, if it is not the first."""
        if self._begun:
            self._echo("")

    def rows(self, rows: Sequence[_Row], widths: Sequence[int]) -> None:
        """Print rules below each other, in columns or, where there is no room, in blocks."""
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
        self._begun = True
        click.echo(line.encode(self._encoding, "backslashreplace").decode(self._encoding), err=self._err)


def _text(text: str, style: str = "") -> Text:
    """A text in which nothing is markup, nor steers a terminal."""
    return Text(printable(text), style=style, overflow="fold")


def _indented(text: Text, by: int = 2) -> Padding:
    return Padding(text, (0, 0, 0, by), expand=False)
