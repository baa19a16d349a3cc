"""Brokers in processes of their own, served as the README says."""

from __future__ import annotations

import http.client
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_ADDRESS = re.compile(r"Listening at: http://127\.0\.0\.1:(\d+)")


class Kind(NamedTuple):
    """A server, and how it is started.

    Args:
        command: As the README has it.
        workers: The option for the number of its processes, if it can have several.
        files: What the folder must have beside the app, by their names.
        tells_port: Does it say which port it got when it was told 0?
        hands_over_paths: Does the app see the path as it was sent?
        refuses_at_end: Is it known at once that it takes no more, when it ends?
        when_told: What it says as soon as it was asked to end; None if it says nothing.
    """

    command: str
    workers: str | None = "--workers"
    files: dict[str, str] = {}
    tells_port: bool = True
    hands_over_paths: bool = True
    refuses_at_end: bool = True
    when_told: str | None = "Handling signal: term"


SERVE = """\
# serve.py
import signal
import sys

from waitress import create_server

from broker import app

server = create_server(app, listen="127.0.0.1:8080", threads=8)
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
server.run()  # until SIGTERM
server.close()
"""

PATCHING = """\
from gevent import monkey

monkey.patch_all()
"""
"""What `gunicorn.conf.py` begins with where gevent comes with `--preload`."""

KINDS = {
    "sync": Kind("gunicorn --workers 4 --bind 127.0.0.1:8080 broker:app", refuses_at_end=False),
    "gthread": Kind(
        "gunicorn --worker-class gthread --threads 8 --workers 2 --bind 127.0.0.1:8080 broker:app"
    ),
    "gevent": Kind("gunicorn --worker-class gevent --workers 2 --bind 127.0.0.1:8080 broker:app"),
    "waitress": Kind(
        "python serve.py",
        workers=None,
        files={"serve.py": SERVE},
        tells_port=False,
        when_told=None,
    ),
    "granian": Kind(
        "granian --interface wsgi --blocking-threads 8 --workers 2 --workers-kill-timeout 30 --port 8080"
        " broker:app",
        tells_port=False,
        hands_over_paths=False,
        when_told="Shutting down granian",
    ),
}
"""All servers that the README speaks of."""


class Process:
    """A server that runs, and the processes that it made.

    Args:
        kind: Which server.
        folder: Where the app's module is, and what it works in.
        log: Where it writes what it says.
        workers: How many processes it may make.
        arguments: More for its command line.
        environment: More variables.
    """

    def __init__(
        self,
        kind: Kind,
        folder: Path,
        *arguments: str,
        log: Path,
        workers: int = 1,
        **environment: str,
    ) -> None:
        self._kind, self._log = kind, log
        port = 0 if kind.tells_port else free_port()
        for name, text in kind.files.items():
            (folder / name).write_text(text.replace("8080", str(port)))
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [*_command(kind, workers, port), *arguments],
                cwd=folder,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self.pid = self._process.pid
        try:
            self.port = self._wait_until_it_listens(port)
        except BaseException:
            self.close()
            raise

    def _wait_until_it_listens(self, port: int) -> int:
        ends = time.monotonic() + 60
        while not (port and _is_listening(port)):
            assert self._process.poll() is None, self.log
            assert time.monotonic() < ends, self.log
            time.sleep(0.01)
            if self._kind.tells_port and (found := _ADDRESS.search(self.log)):
                port = int(found[1])
        return port

    def was_asked_to_end(self) -> bool:
        """Did it say so? Of one that never does, this cannot be known."""
        return self._kind.when_told is None or self._kind.when_told in self.log

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8")

    def terminate(self) -> None:
        """Ask it to end, as platforms do."""
        self._process.terminate()

    def restart_workers(self) -> None:
        """Have gunicorn make new workers, and end the old ones."""
        self._process.send_signal(signal.SIGHUP)

    def wait(self) -> int:
        """Wait until it has ended by itself."""
        return self._process.wait(60)

    def close(self) -> None:
        """End it and what it made, in whatever way."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()


def _command(kind: Kind, workers: int, port: int) -> list[str]:
    line = kind.command
    if kind.workers is not None:
        line = re.sub(rf"{kind.workers} \d+", f"{kind.workers} {workers}", line)
    program, *arguments = shlex.split(line.replace("8080", str(port)))
    if program == "gunicorn" and _has_control_socket():
        arguments = ["--no-control-socket", *arguments]
    return [str(Path(sys.executable).with_name(program)), *arguments]


def _has_control_socket() -> bool:
    """Newer gunicorns serve one in the user's folders, unless told not to."""
    from gunicorn.config import KNOWN_SETTINGS  # type: ignore[import-untyped]

    return any(setting.name == "control_socket_disable" for setting in KNOWN_SETTINGS)


def _is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
    except ConnectionRefusedError:
        return False
    return True


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@contextmanager
def waitress(folder: Path, app: str, *arguments: str, **environment: str) -> Iterator[int]:
    """Serve an app on a free port of the loopback.

    Args:
        folder: Where its module is, and what it works in.
        app: ``"hello:app"``.
        arguments: More for waitress.
        environment: More variables.

    Yields:
        The port.
    """
    command = [sys.executable, "-m", "waitress", *(arguments or ("--listen=127.0.0.1:0",)), app]
    with subprocess.Popen(
        command, cwd=folder, env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stderr is not None
            serving = (re.search(r"Serving on http://127\.0\.0\.1:(\d+)", line) for line in server.stderr)
            yield int(next(match[1] for match in serving if match))
        finally:
            server.terminate()


@dataclass
class Gunicorn:
    """A server with its workers.

    Args:
        port: Where it listens, on the loopback.
        process: The one that the workers are children of.
        log: What all of them say.
    """

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """Kill all of them at once, as when the power goes."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def gunicorn(
    folder: Path, app: str, *arguments: str, log: Path, environment: Mapping[str, str], port: int = 0
) -> Iterator[Gunicorn]:
    """Serve an app as in production; at the end it is asked to stop, and has ten seconds for it.

    Args:
        folder: Where its module is, and what it works in.
        app: ``"broker:app"``.
        arguments: More for gunicorn.
        log: Where to write what it says, after what is there; beside it gunicorn may keep files of its own.
        environment: More variables.
        port: Where to listen on the loopback; 0 for any that is free.

    Raises:
        RuntimeError: It did not start; with what it said.
    """
    command = [sys.executable, "-m", "gunicorn", f"--bind=127.0.0.1:{port}", *arguments, app]
    with log.open("ab") as output:
        begin = output.tell()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "HOME": str(log.parent), **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is not for it, and `kill` is for all of it
        )
    server = Gunicorn(port, process, log)
    try:
        server.port = _port(process, log, begin)
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
        server.kill()


def _port(process: subprocess.Popen[bytes], log: Path, begin: int) -> int:
    """The port on which a server answers, when it does."""
    while process.poll() is None:
        listening = re.search(rb"Listening at: http://127\.0\.0\.1:(\d+)", log.read_bytes()[begin:])
        if listening and _answers(int(listening[1])):
            return int(listening[1])
        time.sleep(0.02)
    raise RuntimeError(f"the server did not start:\n{log.read_bytes()[begin:].decode()}")


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/")
        return bool(connection.getresponse().status)
    except OSError:
        return False
    finally:
        connection.close()
