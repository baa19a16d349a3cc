"""What the lifecycle's tests share: a fresh store of each kind, and a broker that remembers in it."""

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


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database: every test of the lifecycle is run on both kinds."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'broker.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


class Answer(TestResponse):
    """An answer whose body a test looks into."""

    @property
    def json(self) -> Any:
        return super().json


class Platform(AnyPlatform):
    """A platform, whose answers have a body."""

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
    """Makes brokers on one store, as processes of a broker come and go.

    Args:
        url: Of the store.
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
        """A platform in front of a broker whose handlers are the recorder's.

        Args:
            recorder: The handlers.
            offerings: What it offers, if not `make_offering()`.
            background: The operations that are worked on in the background.
            handlers: The operations that have a handler.
            settings: Of the `Broker`; `max_attempts` is of the background handlers, `lease` of the store.
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
        """A platform in front of a broker that a test made itself; it is stopped with the others."""
        self.brokers.append(broker)
        return Platform(make_app(broker))

    def store(self) -> Store:
        return Store(self.url, encryption_keys=[KEY])

    def stop(self) -> None:
        """End all of them, as processes end that are asked to."""
        while self.brokers:
            stop(self.brokers.pop())


def stop(broker: Broker) -> None:
    """End what a broker runs, and close its connections."""
    running = broker._runtime
    assert running is not None, "it has a store"
    running.stop()
    running.store.close()


@pytest.fixture
def serve(store_url: str) -> Iterator[Serve]:
    """Brokers on a fresh store; at the end they are stopped, and none of their threads is left."""
    before = set(threading.enumerate())
    made = Serve(store_url)
    yield made
    made.stop()
    left = [thread for thread in threading.enumerate() if thread not in before and "brokerkit" in thread.name]
    assert not left


@pytest.fixture
def platform(serve: Serve, recorder: Recorder) -> Platform:
    """A platform in front of a broker that remembers, has no handlers for fetches, and works at once."""
    return serve(recorder)


def until(fact: Callable[[], Any], *, timeout: float = 15.0) -> Any:
    """Wait for a fact, and return it."""
    ends = time.monotonic() + timeout
    while not (found := fact()):
        assert time.monotonic() < ends, "it never came to that"
        time.sleep(0.005)
    return found


def last_operation(platform: Platform, path: str, operation: str | None = None) -> dict[str, Any]:
    """What a poll tells of an instance or binding."""
    query = "" if operation is None else f"operation={operation}"
    response = platform.get(f"{path}/last_operation", query=query)
    assert response.status_code == 200, response.data
    body: dict[str, Any] = response.json
    return body


def poll_until_done(platform: Platform, path: str, operation: str | None = None) -> dict[str, Any]:
    """Poll until the operation is through, and return what was told then."""

    def through() -> dict[str, Any] | None:
        told = last_operation(platform, path, operation)
        return None if told["state"] == "in progress" else told

    told: dict[str, Any] = until(through)
    return told


class Gate:
    """Holds a handler in its middle until a test lets it go on."""

    def __init__(self, answer: object = None) -> None:
        self._reached = threading.Event()
        self._opened = threading.Event()
        self.answer = answer

    def __call__(self, request: object) -> object:
        self._reached.set()
        assert self._opened.wait(15), "the test never opened the gate"
        return self.answer

    def wait_until_reached(self) -> None:
        assert self._reached.wait(15), "the handler was never asked"

    def open(self) -> None:
        self._opened.set()


class Told:
    """What the signals told, in order: name, request and result of each."""

    def __init__(self) -> None:
        self.facts: list[tuple[str, Any, Any]] = []

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.facts]

    def take(self) -> list[str]:
        """The names since the last time."""
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
def listening() -> Iterator[Told]:
    """Listen to what the brokers of a test tell."""
    told = Told()
    with ExitStack() as stack:
        for name, signal in LIFECYCLE_SIGNALS.items():

            def hear(sender: object, request: Any, result: Any, name: str = name, **extra: Any) -> None:
                told.facts.append((name, request, result))

            stack.enter_context(signal.connected_to(hear))
        yield told


@pytest.fixture
def told() -> Iterator[Told]:
    with listening() as facts:
        yield facts


def quick_offering(**fields: Any) -> ServiceOffering:
    """An offering whose plan `small` has an end to its polling after one second, and no schemas."""
    plan = ServicePlan(id="small-id", name="small", description="A small one", maximum_polling_duration=1)
    return make_offering(**{"plans": [plan], **fields})


SECRET = Binding(credentials={"uri": "db://secret"})
