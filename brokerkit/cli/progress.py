"""Progress of an operation on stderr: a live line on a terminal, otherwise a line for each change."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from .._internal.text import printable
from ..results import LastOperation
from .output import Output

ProgressCallback = Callable[[LastOperation], None]


@contextmanager
def progress(output: Output, label: str) -> Iterator[ProgressCallback]:
    """Show the progress of an operation.

    Args:
        output: The output of the command.
        label: The name of the operation, such as ``"Provisioning orders"``.

    Yields:
        A function to call with the result of each poll.
    """
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and find_spec("rich") is not None:
        with _live_line(output, label) as update:
            yield update
    else:
        yield _plain_lines(output, label)


@contextmanager
def _live_line(output: Output, label: str) -> Iterator[ProgressCallback]:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.table import Column

    console = Console(stderr=True, highlight=False)
    spinner = SpinnerColumn("dots" if console.encoding.startswith("utf") else "line")
    column = Column(no_wrap=True, overflow="ellipsis")
    label_column = TextColumn("{task.description}", markup=False, table_column=column)
    status_column = TextColumn("{task.fields[status]}", markup=False, table_column=column)
    line = Progress(
        spinner, label_column, TimeElapsedColumn(), status_column, console=console, transient=True
    )
    with line:
        output.console = console
        task = line.add_task(printable(label), total=None, status="")

        def update(operation: LastOperation) -> None:
            line.update(task, status=printable(operation.description or ""))

        try:
            yield update
        finally:
            output.console = None


def _plain_lines(output: Output, label: str) -> ProgressCallback:
    last_text = ""

    def update(operation: LastOperation) -> None:
        nonlocal last_text
        text = f"{label}: {operation.description or operation.state}"
        if text != last_text:
            last_text = text
            output.note(text)

    return update
