"""Brokers to try the command on: one that answers what a test tells it, and any app, on free ports."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from threading import Lock, Thread
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import msgspec
from flask import Flask
from werkzeug.serving import make_server


class Asked(NamedTuple):
    """A request that came."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


Play = Callable[[BaseHTTPRequestHandler], None]
"""Writes an answer."""


def answer(status: int = 200, body: object = None, **headers: str) -> Play:
    """An answer; `body` is bytes, or what is to be JSON (an empty object unless told)."""
    data = body if isinstance(body, bytes) else msgspec.json.encode({} if body is None else body)

    def play(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response_only(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return play


def no_answer(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection."""


class FakeBroker:
    """Answers what it is told, in that order, and the last of it ever after; notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.url = ""
        self._answers: list[Play] = [answer()]
        self._lock = Lock()

    def will(self, *answers: Play) -> None:
        self._answers = list(answers)

    def take(self, asked: Asked) -> Play:
        with self._lock:
            self.asked.append(asked)
            return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no news."""


@contextmanager
def faking(tls: SSLContext | None = None) -> Iterator[FakeBroker]:
    """A fake broker on a free port."""
    fake = FakeBroker()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 20

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.close_connection = True
            fake.take(Asked(self.command, self.path, dict(self.headers.items()), body))(self)

        do_GET = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            """Nothing."""

    server = _Quiet(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    fake.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}"
    with _running(server.serve_forever, server.shutdown):
        yield fake
    server.server_close()


@contextmanager
def serving(app: Flask) -> Iterator[str]:
    """The URL of an app, served on a free port."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    with _running(server.serve_forever, server.shutdown):
        yield f"http://127.0.0.1:{server.server_port}"
    server.server_close()


@contextmanager
def _running(serve: Callable[[float], object], end: Callable[[], object]) -> Iterator[None]:
    thread = Thread(target=serve, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        end()
        thread.join(10)
        assert not thread.is_alive()


def free_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
