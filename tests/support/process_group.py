"""A program and its child processes, which end together, however the tests end."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]


class ProcessGroup:
    """A program that can be started again after its end.

    Args:
        log: The file for the program's output.
        environment: Additional environment variables.
        grace: Seconds to wait for the program's end after SIGTERM.
    """

    def __init__(self, log: Path, environment: Mapping[str, str], *, grace: float) -> None:
        self._log = log
        self._environment = environment
        self._grace = grace

    def start_command(self, command: Sequence[str], *, pass_fds: Sequence[int] = ()) -> None:
        """Start the program, the first time or after a kill."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=pass_fds,
                start_new_session=True,  # Ctrl-C must not reach it, and `kill` needs a group
            )
        self._guard = start_guard(self._process.pid)

    def terminate(self) -> None:
        """Send SIGTERM, and wait for the program's end for at most the grace period."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(self._grace)

    def kill(self) -> None:
        """Kill all processes of the group, as when the machine crashes."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.reap()

    def reap(self) -> None:
        """Wait for a killed program, and end its guard."""
        self._process.wait()
        self._guard.communicate()

    @property
    def has_ended(self) -> bool:
        """Whether the program has ended, for any reason."""
        return self._process.poll() is not None

    @property
    def pid(self) -> int:
        """The id of the started process, which leads the group."""
        return self._process.pid


def start_guard(leader: int) -> subprocess.Popen[bytes]:
    """Start a process that kills a process group when this process ends, even by `kill -9`."""
    return subprocess.Popen(
        ["/bin/sh", "-c", 'read -r _; kill -s KILL -- "-$1"', "guard", str(leader)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
