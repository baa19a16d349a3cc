"""A Celery worker as a process group."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from .process_group import ProcessGroup


class CeleryWorker(ProcessGroup):
    """A worker and its child processes, running from entry to exit.

    Args:
        app: The Celery app, such as ``"tests.some.module:celery_app"``.
        options: Additional command-line options.
        log: The file for the worker's output.
        before: Words in front of the command line, such as ``nice``.
        environment: Additional environment variables.
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
        """Start the worker, the first time or after a kill."""
        self.start_command(self._command)
