"""A worker of Celery's in processes of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from .gunicorn import ROOT, guard


class CeleryWorker:
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
        self._command = [*before, sys.executable, "-m", "celery", f"--app={app}", "worker", *options]
        self._log = log
        self._environment = environment

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.terminate()
        self.kill()

    def start(self) -> None:
        """Start it, at first and after a kill."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is not for it, and all of it can be killed
            )
        self._guard = guard(self._process.pid)

    def terminate(self) -> None:
        """Ask it to end; it finishes what runs."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(30)

    def kill(self) -> None:
        """Kill all of its processes, as when the machine dies."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.bury()

    def bury(self) -> None:
        """After its death."""
        self._process.wait()
        self._guard.communicate()

    @property
    def has_ended(self) -> bool:
        """By itself, or in any other way."""
        return self._process.poll() is not None

    @property
    def pid(self) -> int:
        """Of the process that was started, which leads the group."""
        return self._process.pid
