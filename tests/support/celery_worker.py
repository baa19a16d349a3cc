"""A worker of Celery's in processes of its own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from .process_group import ProcessGroup


class CeleryWorker(ProcessGroup):
    """A worker, with the processes that it makes, running from entry to exit.

    Args:
        app: Where its Celery app is, such as ``"tests.some.module:celery_app"``.
        log: The file that it writes to.
        before: Words of the command line that come before all others.
        options: More for its command line.
        environment: More variables.
    """

    def __init__(
        self, app: str, *options: str, log: Path, before: Sequence[str] = (), **environment: str
    ) -> None:
        super().__init__(log, environment, grace=30)
        self._command = [*before, sys.executable, "-m", "celery", f"--app={app}", "worker", *options]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.terminate()
        self.kill()

    def start(self) -> None:
        """Start it, at first and after a kill."""
        self.begin(self._command)
