"""Fixtures and helpers for tests of brokers with a store: fresh stores, brokers and gates."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from blinker import NamedSignal
from werkzeug.test import TestResponse

from brokerkit import Binding, Broker, Catalog, ServiceOffering, ServicePlan, signals
from brokerkit.store.store import Store

from ..support.broker import CREDENTIALS, DELETE_QUERY, INSTANCE, Recorder, make_app, make_offering
from ..support.broker import Platform as AnyPlatform

KEY = "cGxlYXNlIGRvIG5vdCB1c2UgdGhpcyBrZXkgaGVyZSE="
"""A key for stores that are thrown away."""

CAN_POLL = "accepts_incomplete=true"
DELETE_AND_POLL = f"{DELETE_QUERY}&{CAN_POLL}"
LAST = f"{INSTANCE}/last_operation"

CHANGING = ("provision", "update", "deprovision", "bind", "unbind")
POLLED = ("last_operation", "last_binding_operation")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database. Each test runs with SQLite and with PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'broker.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


class Answer(TestResponse):
    """A response with a JSON body."""

    @property
    def json(self) -> Any:
        return super().json


class Platform(AnyPlatform):
    """A platform that returns responses with a JSON body."""

    def send(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        return cast("Answer", super().send(method, path, body, **more))

    def get(self, path: str, **more: Any) -> Answer:
        return self.send("GET", path, **more)

    def put(self, path: str, body: Any = None, **more: Any) -> Answer:
        return self.send("PUT", path, body, **more)

    def patch(self, path: str, body: Any = None, **more: Any) -> Answer:
        return self.send("PATCH", path, body, **more)

    def delete(self, path: str, **more: Any) -> Answer:
        return self.send("DELETE", path, **more)


class Serve:
    """A factory of brokers with one store, which act as processes of one broker.

    Args:
        url: The URL of the store.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.brokers: list[Broker] = []

    def __call__(
        self,
        recorder: Recorder,
        *offerings: ServiceOffering,
        background: Sequence[str] = (),
        handlers: Sequence[str] = (*CHANGING, *POLLED),
        **settings: Any,
    ) -> Platform:
        """Return a platform for a new broker with the recorder's handlers.

        Args:
            recorder: The handlers.
            offerings: The offerings of the catalog. Defaults to `make_offering()`.
            background: The operations with background handlers.
            handlers: The operations with handlers.
            settings: Arguments of `Broker`, `max_attempts` of background handlers, and `lease` of the store.
        """
        catalog = settings.pop("catalog", None) or Catalog(offerings or [make_offering()])
        max_attempts = settings.pop("max_attempts", None)
        store = Store(self.url, encryption_keys=[KEY], lease=settings.pop("lease", 30.0))
        broker = Broker(catalog, **{"auth": CREDENTIALS, "store": store, **settings})
        self.brokers.append(broker)
        for operation in handlers:
            register = getattr(broker, operation)
            if operation in background:
                register = register(background=True, max_attempts=max_attempts)
            register(recorder.handler(operation))
        return Platform(make_app(broker))

    def attach(self, broker: Broker) -> Platform:
        """Return a platform for an existing broker, which is stopped with the others."""
        self.brokers.append(broker)
        return Platform(make_app(broker))

    def store(self) -> Store:
        return Store(self.url, encryption_keys=[KEY])

    def stop(self) -> None:
        """Stop all brokers, as at a normal exit of their processes."""
        while self.brokers:
            stop(self.brokers.pop())


def stop(broker: Broker) -> None:
    """Stop the background work of a broker and close its connections."""
    runtime = broker._runtime
    assert runtime is not None, "the broker has a store"
    runtime.stop()
    runtime.store.close()


@pytest.fixture
def serve(store_url: str) -> Iterator[Serve]:
    """Return a factory of brokers with a fresh store. Afterwards none of their threads is running."""
    before = set(threading.enumerate())
    factory = Serve(store_url)
    yield factory
    factory.stop()
    left = [thread for thread in threading.enumerate() if thread not in before and "brokerkit" in thread.name]
    assert not left


@pytest.fixture
def platform(serve: Serve, recorder: Recorder) -> Platform:
    """Return a platform for a broker with a store, with synchronous handlers and without fetch handlers."""
    return serve(recorder)


def until(fact: Callable[[], Any], *, timeout: float = 15.0) -> Any:
    """Wait until a function returns a true value, and return the value."""
    ends = time.monotonic() + timeout
    while not (value := fact()):
        assert time.monotonic() < ends, "the condition was not met in time"
        time.sleep(0.005)
    return value


def last_operation(platform: Platform, path: str, operation: str | None = None) -> dict[str, Any]:
    """Poll an operation and return the body of the response."""
    query = "" if operation is None else f"operation={operation}"
    response = platform.get(f"{path}/last_operation", query=query)
    assert response.status_code == 200, response.data
    body: dict[str, Any] = response.json
    return body


def poll_until_done(platform: Platform, path: str, operation: str | None = None) -> dict[str, Any]:
    """Poll until the operation has ended, and return the last body."""

    def final() -> dict[str, Any] | None:
        body = last_operation(platform, path, operation)
        return None if body["state"] == "in progress" else body

    body: dict[str, Any] = until(final)
    return body


class Gate:
    """A handler that blocks until a test opens the gate."""

    def __init__(self, answer: object = None) -> None:
        self._reached = threading.Event()
        self._opened = threading.Event()
        self.answer = answer

    def __call__(self, request: object) -> object:
        self._reached.set()
        assert self._opened.wait(15), "the test never opened the gate"
        return self.answer

    def wait_until_reached(self) -> None:
        assert self._reached.wait(15), "the handler was not called"

    def open(self) -> None:
        self._opened.set()


class SentSignals:
    """The signals that were sent, in order, as tuples of name, request and result."""

    def __init__(self) -> None:
        self.facts: list[tuple[str, Any, Any]] = []

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.facts]

    def take(self) -> list[str]:
        """Return the names since the last call."""
        names = self.names
        self.facts.clear()
        return names


LIFECYCLE_SIGNALS: dict[str, NamedSignal] = {
    name: getattr(signals, name)
    for name in (
        "provisioned",
        "updated",
        "deprovisioned",
        "bound",
        "unbound",
        "operation_started",
        "operation_progressed",
        "operation_failed",
    )
}


@contextmanager
def listening() -> Iterator[SentSignals]:
    """Collect the signals of all brokers."""
    sent = SentSignals()
    with ExitStack() as stack:
        for name, signal in LIFECYCLE_SIGNALS.items():

            def receive(sender: object, request: Any, result: Any, name: str = name, **extra: Any) -> None:
                sent.facts.append((name, request, result))

            stack.enter_context(signal.connected_to(receive))
        yield sent


@pytest.fixture
def sent_signals() -> Iterator[SentSignals]:
    with listening() as facts:
        yield facts


def quick_offering(**fields: Any) -> ServiceOffering:
    """Return an offering without schemas whose plan `small` has a polling duration of one second."""
    plan = ServicePlan(id="small-id", name="small", description="A small one", maximum_polling_duration=1)
    return make_offering(**{"plans": [plan], **fields})


SECRET = Binding(credentials={"uri": "db://secret"})
