"""Server processes that tests start, call, pause and kill."""

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
from ..support.wait import wait_until
from .broker_app import Settings
from .process_pool import StartedProcess, StartRequest

ROOT = Path(__file__).parents[2]


class NoResponse(Exception):
    """The server closed the connection without a response, because its process died."""


class Response(msgspec.Struct, frozen=True):
    """An HTTP response.

    Args:
        status: The status code.
        body: The decoded JSON object, or `{"text": …}`.
        headers: The headers.
        sent_at: When the request was sent.
        at: When the response was complete.
    """

    status: int
    body: dict[str, Any]
    headers: dict[str, str]
    sent_at: float
    at: float

    @property
    def is_busy(self) -> bool:
        """Whether another operation of the instance is in progress."""
        return self.status == 422 and self.body.get("error") == "ConcurrencyError"


class Server:
    """A server process, or a parent process with several workers.

    Args:
        port: The loopback port.
        pid: The id of the process, or of the parent.
    """

    def __init__(self, port: int, pid: int) -> None:
        self.port, self.pid = port, pid

    def send(
        self, method: str, path: str, body: Any = None, query: str = "", *, timeout: float = 60.0
    ) -> Response:
        """Send a platform's request with its own request identity.

        Raises:
            NoResponse: The server closed the connection.
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
            raise NoResponse from error
        finally:
            connection.close()
        decoded = msgspec.json.decode(data) if data.startswith(b"{") else {"text": data.decode()}
        return Response(response.status, decoded, dict(response.getheaders()), sent_at, time.monotonic())

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        wait_until(lambda: not self.is_alive)

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)
        wait_until(lambda: not self.is_alive)

    def pause(self) -> None:
        """Stop the process, as a debugger or a virtual machine does."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    @property
    def is_alive(self) -> bool:
        return is_alive(self.pid)


class CeleryWorker:
    """A Celery worker: one process, or a parent with children.

    Args:
        pid: The id of the process that leads the group.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def kill(self) -> None:
        """Kill all processes of the worker together."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        wait_until(lambda: not self.is_alive)

    def terminate(self) -> None:
        """Request a warm shutdown: the worker finishes the running tasks first."""
        os.kill(self.pid, signal.SIGTERM)

    @property
    def is_alive(self) -> bool:
        return is_alive(self.pid)


def is_alive(pid: int) -> bool:
    """Whether there is a process with this id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class ProcessPool:
    """The program that forks server processes. It kills the remaining ones on exit."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.resilience.process_pool"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            start_new_session=True,  # Ctrl-C must not reach it
        )
        self._lock = Lock()
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.communicate()

    def serve(self, settings: Settings, *, threads: int = 8, log: str = "log") -> Server:
        """Start a process that accepts connections."""
        started = self._start(StartRequest(settings, threads, str(Path(settings.folder) / log)))
        return Server(started.port, started.pid)

    def start_worker(self, settings: Settings, *arguments: str, log: str = "worker-log") -> CeleryWorker:
        """Start a Celery worker."""
        request = StartRequest(settings, 0, str(Path(settings.folder) / log), list(arguments))
        return CeleryWorker(self._start(request).pid)

    def _start(self, request: StartRequest) -> StartedProcess:
        assert self._process.stdin is not None, "stdin is a pipe"
        assert self._process.stdout is not None, "stdout is a pipe"
        with self._lock:
            assert self._process.poll() is None, f"the process pool ended with {self._process.returncode}"
            self._process.stdin.write(msgspec.json.encode(request) + b"\n")
            self._process.stdin.flush()
            return msgspec.json.decode(self._process.stdout.readline(), type=StartedProcess)


def activate(server: Server) -> Server:
    """Send the first request about an instance: with it, a process starts its background work."""
    assert server.send("GET", "/v2/service_instances/none").status == 404
    return server


def wait_until_succeeded(server: Server, path: str, operation: str) -> None:
    """Poll an operation until it has ended, and check that it succeeded."""

    def state() -> str:
        response = server.send("GET", f"{path}/last_operation", None, f"operation={operation}")
        return str(response.body["state"])

    wait_until(lambda: state() != "in progress", pause=0.02)
    assert state() == "succeeded"


def wait_until_finished(server: Server, path: str, operation: str) -> None:
    """Poll an operation until it has succeeded, or until its deleted resource is gone (410)."""

    def has_finished() -> bool:
        response = server.send("GET", f"{path}/last_operation", None, f"operation={operation}")
        return response.status == 410 or response.body["state"] == "succeeded"

    wait_until(has_finished, pause=0.02)
