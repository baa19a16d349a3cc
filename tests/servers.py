"""Brokers in a process of their own, served as the README says."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path


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
