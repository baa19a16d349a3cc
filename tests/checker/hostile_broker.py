"""Hostile brokers: arbitrary HTTP responses and catalogs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from threading import Event, Lock, Thread
from typing import Any
from urllib.parse import unquote, urlsplit

SERVICE: dict[str, Any] = {
    "id": "s-id",
    "name": "s",
    "description": "d",
    "bindable": True,
    "instances_retrievable": True,
    "bindings_retrievable": True,
    "plans": [{"id": "p-id", "name": "p", "description": "d"}],
}
CATALOG = {"services": [SERVICE]}


class Hostile:
    """A server that returns arbitrary responses, except to the catalog and to deletions.

    Args:
        play: Writes a response; None for a valid one.
        catalog: The catalog, or a function that writes it.
        tls: The certificate for HTTPS.
    """

    def __init__(
        self, play: Play | None = None, catalog: object = None, tls: SSLContext | None = None
    ) -> None:
        self.play = play
        self.catalog = CATALOG if catalog is None else catalog
        self.tls = tls
        self.there: set[str] = set()
        self.requests: list[str] = []
        self.lock = Lock()
        self.over = Event()

    def take(self, handler: Handler) -> None:
        """Respond to a request."""
        path = unquote(urlsplit(handler.path).path)
        with self.lock:
            self.requests.append(f"{handler.command} {path}")
            if handler.command == "PUT":
                self.there.add(path)
        if path.endswith("/v2/catalog"):
            if callable(self.catalog):
                self.catalog(handler)
            else:
                handler.answer(200, self.catalog)
        elif self.play is not None:
            self.play(handler)
        else:
            self.answer_well(handler)

    def answer_well(self, handler: Handler) -> None:
        """Respond like a broker that accepts everything and checks nothing."""
        path = unquote(urlsplit(handler.path).path)
        if handler.command == "DELETE":
            with self.lock:
                known = path in self.there
                self.there = {
                    existing
                    for existing in self.there
                    if existing != path and not existing.startswith(f"{path}/")
                }
            handler.answer(200 if known else 410)
        elif path.endswith("/last_operation"):
            handler.answer(200, {"state": "succeeded"})
        else:
            handler.answer(201 if handler.command == "PUT" else 200)


class Handler(BaseHTTPRequestHandler):
    """A request handler with helpers for responses."""

    protocol_version = "HTTP/1.1"
    broker: Hostile

    def handle_any(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.close_connection = True
        try:
            self.broker.take(self)
        except OSError:  # The checker closed the connection.
            return

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self.handle_any
        raise AttributeError(name)

    def answer(self, status: int, body: object = None, **headers: str) -> None:
        """Respond with JSON, or with raw bytes."""
        data = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        self.send_response_only(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None: ...


Play = Callable[[Handler], None]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore closed connections."""


@contextmanager
def serving(broker: Hostile, port: int = 0) -> Iterator[str]:
    """Serve a hostile broker on a port."""
    server = _Server(("127.0.0.1", port), type("Its", (Handler,), {"broker": broker}))
    if broker.tls is not None:
        server.socket = broker.tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http{'s' if broker.tls else ''}://127.0.0.1:{server.server_port}"
    finally:
        broker.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


# Responses


def hang(handler: Handler) -> None:
    handler.broker.over.wait(20)


def drip(handler: Handler) -> None:
    handler.send_response_only(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    while not handler.broker.over.wait(0.02):
        handler.wfile.write(b" ")


def flood(handler: Handler) -> None:
    """Send 100 MB that are valid JSON only at the end."""
    handler.send_response_only(200)
    handler.send_header("Content-Length", str(100 << 20))
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" " * (1 << 20))


def endless(handler: Handler) -> None:
    handler.send_response_only(200)
    handler.end_headers()
    handler.wfile.write(b'{"services": [')
    while not handler.broker.over.is_set():
        handler.wfile.write(json.dumps(SERVICE).encode() * 100)


def redirect(handler: Handler) -> None:
    handler.answer(302, Location="/elsewhere")


def close(handler: Handler) -> None:
    handler.connection.close()


def raw(data: bytes) -> Play:
    def play(handler: Handler) -> None:
        handler.wfile.write(data)

    return play


PLAYS: dict[str, Play] = {
    "hangs": hang,
    "drips": drip,
    "sends 100 MB": flood,
    "sends garbage": raw(b"\x00\xff\x1b[31m" * 100),
    "sends a page": lambda handler: handler.answer(
        200, b"<html><h1>It works!</h1>", Content_Type="text/html"
    ),
    "redirects": redirect,
    "hangs up": close,
    "sends half an answer": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"),
    "sends a list": lambda handler: handler.answer(200, []),
    "sends deep JSON": lambda handler: handler.answer(202, b'{"operation":' + b"[" * 100_000),
    "sends wrong types": lambda handler: handler.answer(
        202, {"operation": 7, "state": [], "credentials": 1, "parameters": [], "error": {}, "description": 0}
    ),
    "sends other statuses": lambda handler: handler.answer(299, {"operation": "x"}),
    "sends odd headers": lambda handler: handler.answer(
        200, {"state": "in progress"}, Retry_After="-99999999999999"
    ),
    "is never done": lambda handler: handler.answer(
        202 if handler.command != "GET" else 200, {"state": "in progress"}
    ),
    "sends long texts": lambda handler: handler.answer(
        500, {"error": "x" * 200_000, "description": "\x1b[2J" * 9_999}
    ),
    "requires what is none": lambda handler: handler.answer(
        201, {"syslog_drain_url": "syslog://logs", "volume_mounts": [1], "metadata": 7}
    ),
    "refuses everything": lambda handler: handler.answer(403, {"description": "no"}),
    "has no such thing": lambda handler: handler.answer(404, b"not found", Content_Type="text/plain"),
}


# Catalogs


def offering(**fields: Any) -> dict[str, Any]:
    return {**SERVICE, **fields}


def plan(**fields: Any) -> dict[str, Any]:
    return {"id": "p-id", "name": "p", "description": "d", **fields}


def with_schema(schema: object) -> dict[str, Any]:
    schemas = {"service_instance": {"create": {"parameters": schema}, "update": {"parameters": schema}}}
    return {"services": [offering(plans=[plan(schemas=schemas)])]}


NASTY = (
    "a/b",
    "..",
    ".",
    "%2e%2e",
    "a b",
    "\u0000",
    "\x1b[31mred\x1b[2J",
    "ü☃",
    "?x=1&y",
    "#",
    "x" * 10_000,
    "'; rm -rf /",
    "\ud800",
    "\u202e",
)
CATALOGS: dict[str, object] = {
    "nothing": {},
    "a list": [],
    "null": None,
    "services that are a number": {"services": 3},
    "no services": {"services": []},
    "services that are numbers": {"services": [1, None, "x", [], {}]},
    "plans that are numbers": {"services": [offering(plans=[1, None, {}, {"id": 3}, plan()])]},
    "plans that are none": {"services": [offering(plans=None)]},
    "no names": {"services": [{"id": "s-id", "plans": [{"id": "p-id"}]}]},
    "ids twice": {"services": [offering(plans=[plan(), plan()]), offering(plans=[plan()])]},
    "fields of wrong types": {
        "services": [
            offering(
                name=[],
                bindable="no",
                requires=7,
                metadata=1,
                instances_retrievable="true",
                tags={},
                plans=[
                    plan(
                        name={},
                        bindable=3,
                        maintenance_info=4,
                        maximum_polling_duration="x",
                        schemas=[],
                        free=9,
                    )
                ],
            )
        ]
    },
    "times that are none": {"services": [offering(plans=[plan(maximum_polling_duration=-5)])]},
    "a long time": {"services": [offering(plans=[plan(maximum_polling_duration=10**30)])]},
    "a time too long for a float": {"services": [offering(plans=[plan(maximum_polling_duration=10**400)])]},
    "schemas that are none": with_schema([1]),
    "a recursive schema": with_schema({"$schema": "http://json-schema.org/draft-07/schema#", "$ref": "#"}),
    "a schema too deep": with_schema(json.loads('{"a":' * 700 + "1" + "}" * 700)),
    "a large schema": with_schema({"$schema": "x" * 100_000}),
    **{
        f"ids such as {text[:9]!a}": {
            "services": [offering(id=text, name=text, plans=[plan(id=text, name=text)])]
        }
        for text in NASTY
    },
    "many findings": {"services": [{}] * 100_000},
    "endless": endless,
    "JSON too deep": lambda handler: handler.answer(200, b'{"services":' + b"[" * 200_000),
    "numbers too large": lambda handler: handler.answer(
        200, b'{"services":[{"id":1e999,"plans":[9' + b"9" * 5_000 + b"]}]}"
    ),
    "not UTF-8": lambda handler: handler.answer(200, b'{"services":["\xff"]}'),
}
