"""Fixtures of the client's tests: brokers of each kind, and a fake broker with scripted responses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

import pytest
from flask import Flask

from brokerkit import Accepted, Binding, Broker, Catalog, LastOperation, Provisioned
from brokerkit.client.client import BrokerClient
from brokerkit.store.store import Store

from ..support.broker import CREDENTIALS, Recorder, make_app, make_broker, make_offering
from ..support.fake_broker import FakeBroker, FakeBrokers, Responder, serve_fakes
from ..support.stateful import KEY, stop
from ..support.wsgi_adapter import WSGIAdapter

LOGIN = {"username": "platform", "password": "s3cret"}
OFFERING = make_offering()
SMALL, LARGE = OFFERING.plans


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the proxies and certificates of the developer's environment."""
    proxies = [f"{scheme}_proxy" for scheme in ("http", "https", "all", "no")]
    for name in (*proxies, *map(str.upper, proxies), "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def fakes() -> Iterator[FakeBrokers]:
    with serve_fakes() as fakes:
        yield fakes


@pytest.fixture
def fake() -> FakeBroker:
    """A fake broker in the process of the test, for :func:`make_client`."""
    return FakeBroker()


@pytest.fixture
def served_fake(fakes: FakeBrokers) -> FakeBroker:
    """A fake broker on a server, for tests that need a connection."""
    return fakes.add()


class BrokerKind(NamedTuple):
    """A kind of broker.

    Args:
        has_store: Whether the broker has a store. Defaults to False.
        is_asynchronous: Whether its handlers return `Accepted`. Defaults to False.
        has_background: Whether it runs its handlers in the background. Defaults to False.
    """

    has_store: bool = False
    is_asynchronous: bool = False
    has_background: bool = False

    @property
    def needs_polling(self) -> bool:
        return self.is_asynchronous or self.has_background


BROKER_KINDS = {
    "synchronous": BrokerKind(),
    "asynchronous": BrokerKind(is_asynchronous=True),
    "store, synchronous": BrokerKind(has_store=True),
    "store, asynchronous": BrokerKind(has_store=True, is_asynchronous=True),
    "store, background": BrokerKind(has_store=True, has_background=True),
}
CHANGES = ("provision", "update", "deprovision", "bind", "unbind")


@contextmanager
def broker_app(kind: BrokerKind, recorder: Recorder, folder: Path) -> Iterator[Flask]:
    """Create the app of a broker of a kind, and stop the broker on exit."""
    if kind.is_asynchronous:
        recorder.answers |= {name: Accepted(operation=f"job of {name}/ü%") for name in CHANGES}
        bound = LastOperation.succeeded(result=Binding(credentials={"uri": "db://secret"}))
        recorder.answers["last_binding_operation"] = lambda request: (
            bound if kind.has_store and "unbind" not in request.operation else LastOperation.succeeded()
        )
    else:
        recorder.answers["provision"] = Provisioned(dashboard_url="https://db.example.org/i1")
    if not kind.has_store:
        yield make_app(make_broker(recorder))
        return
    broker = Broker(
        Catalog([make_offering()]),
        auth=CREDENTIALS,
        store=Store(f"sqlite:///{folder / 'broker.db'}", encryption_keys=[KEY]),
    )
    for name in CHANGES:
        register = getattr(broker, name)
        (register(background=True) if kind.has_background else register)(recorder.handler(name))
    if kind.is_asynchronous:
        broker.last_operation(recorder.handler("last_operation"))
        broker.last_binding_operation(recorder.handler("last_binding_operation"))
    try:
        yield make_app(broker)
    finally:
        stop(broker)


def make_client(broker: FakeBroker | Flask | str, url: str | None = None, **options: Any) -> BrokerClient:
    """Create a client that does not sleep between polls.

    Args:
        broker: A fake broker or an app to call without a socket, or the URL of a server.
        url: Another URL of the fake broker or the app.
        options: Options of the client. By default it has a login and a timeout of ten seconds.
    """
    if url is None:
        url = broker if isinstance(broker, str) else FakeBroker().url
    client = BrokerClient(url, **{**LOGIN, "timeout": 10.0, **options})
    if not isinstance(broker, str):
        client._session.transport.open_adapter = partial(WSGIAdapter, broker)
    client._session.sleep = lambda seconds: None
    return client


@pytest.fixture
def hang() -> Iterator[Responder]:
    """A responder that holds the connection open without a response until the test is over."""
    over = Event()

    def wait(handler: BaseHTTPRequestHandler) -> None:
        over.wait(15)

    yield wait
    over.set()
