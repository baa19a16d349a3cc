"""What one sees while an operation is polled: a line that is kept up to date, or a line for each change."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from .._internal.text import printable
from ..results import LastOperation
from .output import Output

ProgressState = Callable[[LastOperation], None]


@contextmanager
def progress(talk: Output, doing: str) -> Iterator[ProgressState]:
    """Tell how far an operation is.

    Args:
        talk: To whom.
        doing: What is done: ``"Making orders"``.

    Yields:
        What is to be called with the answer to each poll.
    """
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and find_spec("rich") is not None:
        with _live_line(talk, doing) as told:
            yield told
    else:
        yield _lines(talk, doing)


@contextmanager
def _live_line(talk: Output, doing: str) -> Iterator[ProgressState]:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.table import Column

    console = Console(stderr=True, highlight=False)
    spinner = SpinnerColumn("dots" if console.encoding.startswith("utf") else "line")
    column = Column(no_wrap=True, overflow="ellipsis")
    what = TextColumn("{task.description}", markup=False, table_column=column)
    how_far = TextColumn("{task.fields[told]}", markup=False, table_column=column)
    line = Progress(spinner, what, TimeElapsedColumn(), how_far, console=console, transient=True)
    with line:
        talk.live = console
        task = line.add_task(printable(doing), total=None, told="")

        def told(found: LastOperation) -> None:
            line.update(task, told=printable(found.description or ""))

        try:
            yield told
        finally:
            talk.live = None


def _lines(talk: Output, doing: str) -> ProgressState:
    last = [""]

    def told(found: LastOperation) -> None:
        text = f"{doing}: {found.description or found.state}"
        if text != last[0]:
            last[0] = text
            talk.note(text)

    return told
