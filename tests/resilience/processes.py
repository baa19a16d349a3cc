"""Server processes, as tests see them: started, killed, stopped for a while, and asked."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any, Self
from uuid import uuid4

import msgspec

from ..support.broker import basic
from .broker_app import Setting
from .process_pool import Born, Wanted
from .wait import until

ROOT = Path(__file__).parents[2]


class Gone(Exception):
    """The process did not answer: it is dead, or died meanwhile."""


class Answer(msgspec.Struct, frozen=True):
    """A status, a body and what the headers say.

    Args:
        sent_at: When the request was sent.
        at: When the answer was there.
    """

    status: int
    body: dict[str, Any]
    headers: dict[str, str]
    sent_at: float
    at: float

    @property
    def is_busy(self) -> bool:
        return self.status == 422 and self.body.get("error") == "ConcurrencyError"


class Server:
    """What listens on a port: one process, or several.

    Args:
        port: The port, of this machine.
        pid: The process, or the one that the others are children of.
    """

    def __init__(self, port: int, pid: int) -> None:
        self.port, self.pid = port, pid

    def send(
        self, method: str, path: str, body: Any = None, query: str = "", *, timeout: float = 60.0
    ) -> Answer:
        """Send what a platform sends, under an identity of its own.

        Raises:
            Gone: There was no answer.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        headers = {
            "Authorization": basic("platform", "s3cret"),
            "X-Broker-API-Version": "2.17",
            "X-Broker-API-Request-Identity": str(uuid4()),
            "X-Broker-API-Originating-Identity": "cloudfoundry eyJ1c2VyX2lkIjogInUxIn0=",
            "Content-Type": "application/json",
        }
        sent_at = time.monotonic()
        try:
            connection.request(
                method,
                f"{path}?{query}" if query else path,
                None if body is None else msgspec.json.encode(body),
                headers,
            )
            response = connection.getresponse()
            data = response.read()
        except (ConnectionError, http.client.HTTPException) as error:
            raise Gone from error
        finally:
            connection.close()
        decoded = msgspec.json.decode(data) if data.startswith(b"{") else {"text": data.decode()}
        return Answer(response.status, decoded, dict(response.getheaders()), sent_at, time.monotonic())

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        until(lambda: not self.is_alive)

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)
        until(lambda: not self.is_alive)

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    @property
    def is_alive(self) -> bool:
        return _is_alive(self.pid)


class CeleryWorker:
    """A worker of Celery's: one process, or one and its children.

    Args:
        pid: The one process; it leads the group.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def kill(self) -> None:
        """End all of it at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        until(lambda: not self.is_alive)

    def terminate(self) -> None:
        """Ask it to end; it finishes what runs."""
        os.kill(self.pid, signal.SIGTERM)

    @property
    def is_alive(self) -> bool:
        return _is_alive(self.pid)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Nursery:
    """Where server processes come from; those that are left end with it."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.resilience.process_pool"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            start_new_session=True,  # Ctrl-C is not for it
        )
        self._lock = Lock()
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.communicate()

    def serve(self, setting: Setting, *, threads: int = 8, log: str = "log") -> Server:
        """A process that takes connections."""
        born = self._born(Wanted(setting, threads, str(Path(setting.folder) / log)))
        return Server(born.port, born.pid)

    def work(self, setting: Setting, *arguments: str, log: str = "worker-log") -> CeleryWorker:
        """A worker of Celery's."""
        wanted = Wanted(setting, 0, str(Path(setting.folder) / log), list(arguments))
        return CeleryWorker(self._born(wanted).pid)

    def _born(self, wanted: Wanted) -> Born:
        assert self._process.stdin is not None, "it is a pipe"
        assert self._process.stdout is not None, "it is a pipe"
        with self._lock:
            assert self._process.poll() is None, f"the nursery ended with {self._process.returncode}"
            self._process.stdin.write(msgspec.json.encode(wanted) + b"\n")
            self._process.stdin.flush()
            return msgspec.json.decode(self._process.stdout.readline(), type=Born)


def started(server: Server) -> Server:
    """A process begins to look at what others left with the first request about an instance."""
    assert server.send("GET", "/v2/service_instances/none").status == 404
    return server


def until_it_succeeded(server: Server, path: str, operation: str) -> None:
    def state() -> str:
        told: str = server.send("GET", f"{path}/last_operation", None, f"operation={operation}").body["state"]
        return told

    until(lambda: state() != "in progress", pause=0.02)
    assert state() == "succeeded"


def until_it_ended(server: Server, path: str, operation: str) -> None:
    """Until it succeeded, or the platform is told that what was to be deleted is gone."""

    def has_ended() -> bool:
        answer = server.send("GET", f"{path}/last_operation", None, f"operation={operation}")
        return answer.status == 410 or answer.body["state"] == "succeeded"

    until(has_ended, pause=0.02)
