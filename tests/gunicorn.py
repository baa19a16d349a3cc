"""gunicorn on a port that stays, whatever becomes of its processes: who connects waits for the next one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[1]


class Gunicorn:
    """A server with workers of the kind `gthread`, running from entry to exit.

    Args:
        app: What it serves, such as ``"tests.some.module:make_app()"``.
        workers: How many.
        threads: Of each.
        log: The file that it writes to.
        before: Words of the command line that come before all others.
        options: More for its command line.
        environment: More variables.
    """

    def __init__(
        self,
        app: str,
        *options: str,
        workers: int,
        threads: int,
        log: Path,
        before: Sequence[str] = (),
        **environment: str,
    ) -> None:
        self._app = app
        self._options = (f"--workers={workers}", f"--threads={threads}", *options)
        self._log = log
        self._before = before
        self._environment = environment

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.port: int = self._listener.getsockname()[1]
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._listener.close()
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        self.kill()

    def start(self) -> None:
        """Start it, at first and after a kill. Until it is there, whoever connects waits."""
        listener = self._listener.fileno()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *self._before,
                    *(sys.executable, "-m", "gunicorn", "--worker-class=gthread", f"--bind=fd://{listener}"),
                    *("--no-control-socket",) * _has_control_socket(),
                    *(*self._options, self._app),
                ],
                cwd=ROOT,
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[listener],
                start_new_session=True,  # Ctrl-C is not for it, and all of it can be killed
            )
        self._guard = guard(self._process.pid)

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
        """Of the process that the workers are children of."""
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


def _has_control_socket() -> bool:
    """Newer versions serve one in the user's folders, unless told not to."""
    from gunicorn.config import KNOWN_SETTINGS  # type: ignore[import-untyped]

    return any(setting.name == "control_socket_disable" for setting in KNOWN_SETTINGS)
