"""A fake broker with scripted responses, and servers for tests in threads of the test process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from threading import Event, Lock, Thread
from typing import Any, NamedTuple, cast
from urllib.parse import parse_qsl, urlsplit
from wsgiref.types import StartResponse, WSGIEnvironment

import msgspec
from flask import Flask
from requests.structures import CaseInsensitiveDict
from waitress.server import create_server  # type: ignore[import-untyped]
from werkzeug.datastructures import EnvironHeaders
from werkzeug.serving import make_server


class ReceivedRequest(NamedTuple):
    """A request that a fake broker received."""

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


Responder = Callable[[BaseHTTPRequestHandler], None]
"""A function that writes a response to the connection of a request."""


@dataclass(frozen=True)
class Response:
    """A responder that also works in process, without a connection."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response_only(self.status)
        for name, value in self.headers:
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(self.body)


def respond(status: int = 200, body: object = None, **headers: str) -> Response:
    """Create a response.

    Args:
        status: The status code. Defaults to 200.
        body: Bytes, or a value to encode as JSON. Defaults to an empty object.
        headers: Additional headers. Underscores in the names stand for hyphens.
    """
    data = body if isinstance(body, bytes) else msgspec.json.encode({} if body is None else body)
    if "Transfer_Encoding" not in headers:
        headers.setdefault("Content_Length", str(len(data)))
    merged = {"Content-Type": "application/json"}
    merged |= {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, list(merged.items()), data)


def respond_raw(data: bytes) -> Responder:
    """Create a responder that writes bytes and closes the connection."""
    return lambda handler: cast(None, handler.wfile.write(data))


def close_connection(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection without a response."""


class FakeBroker:
    """A broker that records its requests and returns scripted responses.

    The responses are returned in order. The last one is repeated. A fake broker is a WSGI app, which can only
    return responses of :func:`respond`. :func:`serve_fakes` serves fake brokers with any responders.
    """

    def __init__(self, url: str = "http://broker.example") -> None:
        self.requests: list[ReceivedRequest] = []
        self.url = url
        self._responders: list[Responder] = [respond()]
        self._lock = Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        headers = CaseInsensitiveDict(EnvironHeaders(environ).items())
        body = environ["wsgi.input"].read()
        request = ReceivedRequest(environ["REQUEST_METHOD"], environ["REQUEST_URI"], headers, body)
        response = self.receive(request)
        assert isinstance(response, Response), "the responder needs a connection: use a served fake broker"
        start_response(f"{response.status} Scripted", response.headers)
        return [response.body]

    def script(self, *responders: Responder) -> None:
        """Set the next responses."""
        self._responders = list(responders)

    @property
    def methods(self) -> list[str]:
        return [request.method for request in self.requests]

    def receive(self, request: ReceivedRequest) -> Responder:
        """Record a request and return its responder."""
        with self._lock:
            self.requests.append(request)
            return self._responders.pop(0) if len(self._responders) > 1 else self._responders[0]


class FakeBrokers:
    """The fake brokers of one server. Each has its own path, so that late requests reach no other broker."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._brokers: dict[str, FakeBroker] = {}

    def add(self) -> FakeBroker:
        """Add a fake broker with a new path."""
        prefix = f"/{len(self._brokers)}"
        fake = self._brokers[prefix] = FakeBroker(self.url + prefix)
        return fake

    def route(self, target: str) -> tuple[FakeBroker, str]:
        """Return the broker of a request and the request's target without the broker's path."""
        prefix, slash, rest = target[1:].partition("/")
        return self._brokers[f"/{prefix}"], slash + rest


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that close their connections."""


@contextmanager
def serve_fakes(tls: SSLContext | None = None) -> Iterator[FakeBrokers]:
    """Serve fake brokers on a free port."""

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
            fake, target = fakes.route(self.path)
            fake.receive(ReceivedRequest(self.command, target, dict(self.headers.items()), body))(self)

        def log_message(self, *arguments: object) -> None:
            """Log nothing."""

    server = _Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    fakes = FakeBrokers(f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}")
    with _run_in_thread(lambda: server.serve_forever(0.02), server.shutdown):
        yield fakes
    server.server_close()


@contextmanager
def serve_fake(tls: SSLContext | None = None) -> Iterator[FakeBroker]:
    """Serve one fake broker on a free port."""
    with serve_fakes(tls) as fakes:
        yield fakes.add()


@contextmanager
def serve_app(app: Flask, server_name: str = "werkzeug") -> Iterator[str]:
    """Serve an app on a free port.

    Args:
        app: The app.
        server_name: ``"werkzeug"`` or ``"waitress"``. Defaults to ``"werkzeug"``.

    Yields:
        The app's URL.
    """
    if server_name == "waitress":
        server, stopping = create_server(app, host="127.0.0.1", port=0, threads=8), Event()

        def serve() -> None:
            while not stopping.is_set():
                server.asyncore.loop(timeout=0.02, map=server._map, count=1)

        with _run_in_thread(serve, stopping.set):
            yield f"http://127.0.0.1:{server.effective_port}"
        server.task_dispatcher.shutdown()
        server.asyncore.close_all(server._map)
    else:
        threaded = make_server("127.0.0.1", 0, app, threaded=True)
        threaded.log_startup = lambda: None  # type: ignore[method-assign]
        with _run_in_thread(lambda: threaded.serve_forever(0.02), threaded.shutdown):
            yield f"http://127.0.0.1:{threaded.server_port}"
        threaded.server_close()


@contextmanager
def _run_in_thread(serve: Callable[[], object], stop: Callable[[], object]) -> Iterator[None]:
    thread = Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop()
        thread.join(10)
        assert not thread.is_alive(), "the server did not stop within 10 seconds"
