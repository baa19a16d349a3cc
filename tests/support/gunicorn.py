"""A gunicorn server that keeps its port across restarts, so that clients wait for the next process."""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from .process_group import ProcessGroup
from .servers import has_control_socket


class Gunicorn(ProcessGroup):
    """A server with `gthread` workers, running from entry to exit.

    Args:
        app: The app, such as ``"tests.some.module:make_app()"``.
        options: Additional command-line options.
        workers: The number of workers.
        threads: The number of threads per worker.
        log: The file for the server's output.
        before: Words in front of the command line, such as ``nice``.
        environment: Additional environment variables.
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
        super().__init__(log, environment, grace=20)
        self._app = app
        self._options = (f"--workers={workers}", f"--threads={threads}", *options)
        self._before = before

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.port: int = self._listener.getsockname()[1]
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._listener.close()
        self.terminate()
        self.kill()

    def start(self) -> None:
        """Start the server, the first time or after a kill. Until it accepts, connections wait."""
        listener = self._listener.fileno()
        self.start_command(
            [
                *self._before,
                *(sys.executable, "-m", "gunicorn", "--worker-class=gthread", f"--bind=fd://{listener}"),
                *("--no-control-socket",) * has_control_socket(),
                *(*self._options, self._app),
            ],
            pass_fds=[listener],
        )
