"""Brokers in a thread of the test: one that answers what a test tells it, and any app, on free ports."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from threading import Event, Lock, Thread
from typing import Any, NamedTuple, cast
from urllib.parse import parse_qsl, urlsplit

import msgspec
from flask import Flask
from waitress.server import create_server  # type: ignore[import-untyped]
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
        return msgspec.json.decode(self.body) if self.body else None

    def __str__(self) -> str:
        return f"{self.method} {self.target}"


Play = Callable[[BaseHTTPRequestHandler], None]
"""Writes an answer."""


def answer(status: int = 200, body: object = None, **headers: str) -> Play:
    """An answer; `body` is bytes, or what is to be JSON (an empty object unless told)."""
    data = body if isinstance(body, bytes) else msgspec.json.encode({} if body is None else body)

    def play(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response_only(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers and "Transfer_Encoding" not in headers:
            handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return play


def raw(data: bytes) -> Play:
    """These bytes, and then the end of the connection."""
    return lambda handler: cast(None, handler.wfile.write(data))


def no_answer(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection."""


class FakeBroker:
    """Answers what it is told, in that order, and the last of it ever after; notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answers: list[Play] = []
        self.url = ""
        self._lock = Lock()

    def will(self, *answers: Play) -> FakeBroker:
        self.answers = list(answers)
        return self

    @property
    def methods(self) -> list[str]:
        return [asked.method for asked in self.asked]

    def take(self, asked: Asked) -> Play:
        with self._lock:
            self.asked.append(asked)
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Street:
    """Fake brokers on one server, each below a path of its own: a late request reaches only its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._houses: dict[str, FakeBroker] = {}

    def move_in(self) -> FakeBroker:
        fake = FakeBroker().will(answer())
        house = f"/{len(self._houses)}"
        self._houses[house] = fake
        fake.url = self.url + house
        return fake

    def find(self, target: str) -> tuple[FakeBroker, str]:
        """The broker that a request is for, and its target there."""
        house, slash, rest = target[1:].partition("/")
        return self._houses[f"/{house}"], slash + rest


class Quiet(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no news."""


@contextmanager
def faking(tls: SSLContext | None = None) -> Iterator[Street]:
    """A server of fake brokers on a free port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 20

        def __getattr__(self, name: str) -> Any:
            if name.startswith("do_"):
                return self.handle_any
            raise AttributeError(name)

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.close_connection = True
            fake, target = made.find(self.path)
            fake.take(Asked(self.command, target, dict(self.headers.items()), body))(self)

        def log_message(self, *arguments: object) -> None:
            """Nothing."""

    server = Quiet(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    made = Street(f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}")
    with running(lambda: server.serve_forever(0.02), server.shutdown):
        yield made
    server.server_close()


@contextmanager
def faking_one(tls: SSLContext | None = None) -> Iterator[FakeBroker]:
    """A server of one fake broker."""
    with faking(tls) as street:
        yield street.move_in()


@contextmanager
def running(serve: Callable[[], object], end: Callable[[], object]) -> Iterator[None]:
    thread = Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end()
        thread.join(10)
        assert not thread.is_alive()


@contextmanager
def serving(app: Flask, kind: str = "werkzeug") -> Iterator[str]:
    """The URL of an app, served on a free port."""
    if kind == "waitress":
        server, over = create_server(app, host="127.0.0.1", port=0, threads=8), Event()

        def serve() -> None:
            while not over.is_set():
                server.asyncore.loop(timeout=0.02, map=server._map, count=1)

        with running(serve, over.set):
            yield f"http://127.0.0.1:{server.effective_port}"
        server.task_dispatcher.shutdown()
        server.asyncore.close_all(server._map)
    else:
        threaded = make_server("127.0.0.1", 0, app, threaded=True)
        threaded.log_startup = lambda: None  # type: ignore[method-assign]
        with running(lambda: threaded.serve_forever(0.02), threaded.shutdown):
            yield f"http://127.0.0.1:{threaded.server_port}"
        threaded.server_close()


def free_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
