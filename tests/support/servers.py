"""Brokers in separate processes, served by the commands of the README."""

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
    """A kind of server and its properties.

    Args:
        command: The command line in the README.
        workers: The option for the number of processes. None if the server has only one process.
        files: Additional files for the app's folder: name -> text.
        logs_port: Whether port 0 lets the system choose the port, and the log names it.
        keeps_raw_paths: Whether the app gets the path without decoding.
        closes_listener: Whether the server refuses connections as soon as it shuts down.
        shutdown_message: The log record of a received SIGTERM. None if there is none.
    """

    command: str
    workers: str | None = "--workers"
    files: dict[str, str] = {}
    logs_port: bool = True
    keeps_raw_paths: bool = True
    closes_listener: bool = True
    shutdown_message: str | None = "Handling signal: term"


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
"""The beginning of `gunicorn.conf.py` for gevent workers with `--preload`."""

KINDS = {
    "sync": Kind("gunicorn --workers 4 --bind 127.0.0.1:8080 broker:app", closes_listener=False),
    "gthread": Kind(
        "gunicorn --worker-class gthread --threads 8 --workers 2 --bind 127.0.0.1:8080 broker:app"
    ),
    "gevent": Kind("gunicorn --worker-class gevent --workers 2 --bind 127.0.0.1:8080 broker:app"),
    "waitress": Kind(
        "python serve.py",
        workers=None,
        files={"serve.py": SERVE},
        logs_port=False,
        shutdown_message=None,
    ),
    "granian": Kind(
        "granian --interface wsgi --blocking-threads 8 --workers 2 --workers-kill-timeout 30 --port 8080"
        " broker:app",
        logs_port=False,
        keeps_raw_paths=False,
        shutdown_message="Shutting down granian",
    ),
}
"""The servers in the README, by name."""


class Process:
    """A running server with its worker processes.

    Args:
        kind: The kind of server.
        folder: The working directory with the app's module.
        arguments: Additional command-line arguments.
        log: The file for the server's output.
        workers: The number of worker processes. Defaults to 1.
        environment: Additional environment variables.
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
        port = 0 if kind.logs_port else free_port()
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
            self.port = self._wait_until_listening(port)
        except BaseException:
            self.close()
            raise

    def _wait_until_listening(self, port: int) -> int:
        deadline = time.monotonic() + 60
        while not (port and _is_listening(port)):
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.01)
            if self._kind.logs_port and (address := _ADDRESS.search(self.log)):
                port = int(address[1])
        return port

    def is_shutting_down(self) -> bool:
        """Whether the server logged that it received SIGTERM. True for a server that does not log this."""
        return self._kind.shutdown_message is None or self._kind.shutdown_message in self.log

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8")

    def terminate(self) -> None:
        """Send SIGTERM, as platforms do."""
        self._process.terminate()

    def restart_workers(self) -> None:
        """Let gunicorn start new workers and end the old ones."""
        self._process.send_signal(signal.SIGHUP)

    def wait(self) -> int:
        """Wait for the server's end and return its exit code."""
        return self._process.wait(60)

    def close(self) -> None:
        """Kill the server and its workers, if they still run."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()


def _command(kind: Kind, workers: int, port: int) -> list[str]:
    line = kind.command
    if kind.workers is not None:
        line = re.sub(rf"{kind.workers} \d+", f"{kind.workers} {workers}", line)
    program, *arguments = shlex.split(line.replace("8080", str(port)))
    if program == "gunicorn" and has_control_socket():
        arguments = ["--no-control-socket", *arguments]
    return [str(Path(sys.executable).with_name(program)), *arguments]


def has_control_socket() -> bool:
    """Whether this version of gunicorn opens a control socket in the user's folders by default."""
    from gunicorn.config import KNOWN_SETTINGS  # type: ignore[import-untyped]

    return any(setting.name == "control_socket_disable" for setting in KNOWN_SETTINGS)


def _is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
    except ConnectionRefusedError:
        return False
    return True


def free_port() -> int:
    """Return a loopback port that no process listens on now. Another process may take it at any time."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@contextmanager
def waitress(folder: Path, app: str, *arguments: str, **environment: str) -> Iterator[int]:
    """Serve an app on a free loopback port.

    Args:
        folder: The working directory with the app's module.
        app: The app, such as ``"hello:app"``.
        arguments: Arguments for waitress. Defaults to a free port.
        environment: Additional environment variables.

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
        port: The loopback port.
        process: The parent process of the workers.
        log: The file for the output of all processes.
    """

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """Kill all processes together, as in a power failure."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def gunicorn(
    folder: Path, app: str, *arguments: str, log: Path, environment: Mapping[str, str], port: int = 0
) -> Iterator[Gunicorn]:
    """Serve an app as in production. On exit, the server has ten seconds to shut down.

    Args:
        folder: The working directory with the app's module.
        app: The app, such as ``"broker:app"``.
        arguments: Additional arguments for gunicorn.
        log: The file to which the server's output is appended. gunicorn may keep other files beside it.
        environment: Additional environment variables.
        port: The loopback port. Defaults to 0, a free port.

    Raises:
        RuntimeError: The server did not start. The message has its output.
    """
    command = [sys.executable, "-m", "gunicorn", f"--bind=127.0.0.1:{port}", *arguments, app]
    with log.open("ab") as output:
        offset = output.tell()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "HOME": str(log.parent), **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C must not reach it, and `kill` needs a group
        )
    server = Gunicorn(port, process, log)
    try:
        server.port = _wait_for_port(process, log, offset)
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
        server.kill()


def _wait_for_port(process: subprocess.Popen[bytes], log: Path, offset: int) -> int:
    """Wait until the server responds and return its port."""
    while process.poll() is None:
        listening = re.search(rb"Listening at: http://127\.0\.0\.1:(\d+)", log.read_bytes()[offset:])
        if listening and _responds(int(listening[1])):
            return int(listening[1])
        time.sleep(0.02)
    raise RuntimeError(f"the server did not start:\n{log.read_bytes()[offset:].decode()}")


def _responds(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/")
        return bool(connection.getresponse().status)
    except OSError:
        return False
    finally:
        connection.close()
