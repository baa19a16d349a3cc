"""A program and all processes that it makes, which are ended together, whatever becomes of the tests."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]


class ProcessGroup:
    """A program, which can be started again after its end.

    Args:
        log: The file that it writes to.
        environment: More variables.
        grace: For how many seconds it is waited for when it was asked to end.
    """

    def __init__(self, log: Path, environment: Mapping[str, str], *, grace: float) -> None:
        self._log = log
        self._environment = environment
        self._grace = grace

    def begin(self, command: Sequence[str], *, pass_fds: Sequence[int] = ()) -> None:
        """Start it, at first and after a kill."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=pass_fds,
                start_new_session=True,  # Ctrl-C is not for it, and all of it can be killed
            )
        self._guard = guard(self._process.pid)

    def terminate(self) -> None:
        """Ask it to end, and wait a while."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(self._grace)

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
        """Of the process that was started, which leads the others."""
        return self._process.pid


def guard(leader: int) -> subprocess.Popen[bytes]:
    """Kills a group of processes when its input ends: with this process, in whatever way that ends."""
    return subprocess.Popen(
        ["/bin/sh", "-c", 'read -r _; kill -s KILL -- "-$1"', "guard", str(leader)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
