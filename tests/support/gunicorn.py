"""gunicorn on a port that stays, whatever becomes of its processes: who connects waits for the next one."""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from .process_group import ProcessGroup


class Gunicorn(ProcessGroup):
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
        """Start it, at first and after a kill. Until it is there, whoever connects waits."""
        listener = self._listener.fileno()
        self.begin(
            [
                *self._before,
                *(sys.executable, "-m", "gunicorn", "--worker-class=gthread", f"--bind=fd://{listener}"),
                *("--no-control-socket",) * _has_control_socket(),
                *(*self._options, self._app),
            ],
            pass_fds=[listener],
        )


def _has_control_socket() -> bool:
    """Newer versions serve one in the user's folders, unless told not to."""
    from gunicorn.config import KNOWN_SETTINGS  # type: ignore[import-untyped]

    return any(setting.name == "control_socket_disable" for setting in KNOWN_SETTINGS)
