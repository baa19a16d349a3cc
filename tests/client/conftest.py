"""What the tests of the client share: brokers that are right, and one that answers what a test tells it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
from ..support.fake_broker import FakeBroker, Play, Street, faking
from ..support.stateful import KEY, stop

LOGIN = {"username": "platform", "password": "s3cret"}
OFFERING = make_offering()
SMALL, LARGE = OFFERING.plans


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
    client._session.sleep = lambda seconds: None
    return client


@pytest.fixture
def patience() -> Iterator[Play]:
    """An answer that comes when the test is over."""
    over = Event()

    def play(handler: BaseHTTPRequestHandler) -> None:
        over.wait(15)

    yield play
    over.set()
