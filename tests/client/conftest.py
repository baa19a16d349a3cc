"""What the tests of the client share: brokers that are right, and one that answers what a test tells it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from ssl import SSLContext
from threading import Event, Lock, Thread
from typing import Any, NamedTuple, cast
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest
from flask import Flask
from waitress.server import create_server  # type: ignore[import-untyped]
from werkzeug.serving import make_server

from brokerkit import Accepted, Binding, Broker, Catalog, LastOperation, Provisioned
from brokerkit.client import BrokerClient
from brokerkit.lifecycle.store import Store

from ..conftest import CREDENTIALS, Recorder, make_app, make_broker, make_offering
from ..lifecycle.conftest import KEY, stop

LOGIN = {"username": "platform", "password": "s3cret"}
OFFERING = make_offering()
SMALL, LARGE = OFFERING.plans


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


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxies and no certificates of whoever runs the tests."""
    proxies = [f"{each}_proxy" for each in ("http", "https", "all", "no")]
    for name in (*proxies, *map(str.upper, proxies), "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def street() -> Iterator[Street]:
    with faking() as made:
        yield made


@pytest.fixture
def fake(street: Street) -> FakeBroker:
    return street.move_in()


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


class Way(NamedTuple):
    """How a broker works.

    Args:
        store: Does it remember?
        polled: Does it answer `Accepted`, to be asked how it goes?
        background: Do its handlers work in the background?
    """

    store: bool = False
    polled: bool = False
    background: bool = False

    @property
    def waits(self) -> bool:
        return self.polled or self.background


WAYS = {
    "at once": Way(),
    "polled": Way(polled=True),
    "store, at once": Way(store=True),
    "store, polled": Way(store=True, polled=True),
    "store, background": Way(store=True, background=True),
}
CHANGING = ("provision", "update", "deprovision", "bind", "unbind")


@contextmanager
def right_broker(way: Way, recorder: Recorder, folder: Path) -> Iterator[Flask]:
    """A broker that works in this way."""
    if way.polled:
        recorder.answers |= {name: Accepted(operation=f"job of {name}/ü%") for name in CHANGING}
        bound = LastOperation.succeeded(result=Binding(credentials={"uri": "db://secret"}))
        recorder.answers["last_binding_operation"] = lambda request: (
            bound if way.store and "unbind" not in request.operation else LastOperation.succeeded()
        )
    else:
        recorder.answers["provision"] = Provisioned(dashboard_url="https://db.example.org/i1")
    if not way.store:
        yield make_app(make_broker(recorder))
        return
    broker = Broker(
        Catalog([make_offering()]),
        auth=CREDENTIALS,
        store=Store(f"sqlite:///{folder / 'broker.db'}", encryption_keys=[KEY]),
    )
    for name in CHANGING:
        register = getattr(broker, name)
        (register(background=True) if way.background else register)(recorder.handler(name))
    if way.polled:
        broker.last_operation(recorder.handler("last_operation"))
        broker.last_binding_operation(recorder.handler("last_binding_operation"))
    try:
        yield make_app(broker)
    finally:
        stop(broker)


def client_of(url: str, **options: Any) -> BrokerClient:
    """A client that does not really wait."""
    client = BrokerClient(url, **{**LOGIN, "timeout": 10.0, **options})
    client._talk.sleep = lambda seconds: None
    return client


def free_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def patience() -> Iterator[Play]:
    """An answer that comes when the test is over."""
    over = Event()

    def play(handler: BaseHTTPRequestHandler) -> None:
        over.wait(15)

    yield play
    over.set()
