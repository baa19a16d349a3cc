"""The broker under test: its handlers record events and behave as the parameters of a request say.

An environment variable has the other settings, so that gunicorn can serve it too.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from flask import Flask, url_for
from sqlalchemy import event
from werkzeug.middleware.proxy_fix import ProxyFix

import brokerkit as osb
from brokerkit import signals
from brokerkit.store.store import Store

from .events import Events

if TYPE_CHECKING:
    from celery import Celery

KEY = "cGxlYXNlIGRvIG5vdCB1c2UgdGhpcyBrZXkgaGVyZSE="
LEASE = 1.0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a process.

    Args:
        url: The URL of the store.
        folder: The folder of events, and of the files that control handlers and connections.
        lease: The store's lease in seconds.
        kill_at: The kill point at which the process kills itself, counted from 0. None for no kill.
        key: The store's key. None for the key file.
        busy_timeout: Milliseconds for which SQLite waits for a lock.
        log_level: The lowest level that is logged.
        prefix: The URL prefix of the blueprints.
        is_behind_a_proxy: Whether to trust the headers of a proxy.
        redis: The URL of the Redis of Celery workers. Defaults to background work in threads.
    """

    url: str
    folder: str
    lease: float = LEASE
    kill_at: int | None = None
    key: str | None = KEY
    busy_timeout: int | None = None
    log_level: str = "INFO"
    prefix: str = ""
    is_behind_a_proxy: bool = False
    redis: str | None = None


SETTINGS_VARIABLE = "BROKERKIT_TEST_SETTINGS"


class HandlerOptions(msgspec.Struct, frozen=True):
    """The behaviour of a handler, from the parameters of a request.

    Args:
        seconds: How long the handler sleeps.
        gate: A file that the handler waits for.
        attempts: The number of first attempts that wait for the gate.
        later: A file that a generator waits for between its two steps.
        data: Stored with the resource, and returned as credentials.
        fails: The description of an error to raise.
        steps: A file. A generator yields until it exists.
        retries: The number of first attempts that raise `Retry`.
        after: The delay of these retries in seconds.
    """

    seconds: float = 0.0
    gate: str | None = None
    attempts: int = 1000
    later: str | None = None
    data: str = ""
    fails: str | None = None
    steps: str | None = None
    retries: int = 0
    after: float = 0.0


# msgspec inspects a struct on first use, which is not thread-safe: do it at import time.
_PREPARED = msgspec.json.Decoder(HandlerOptions)


class KillPoints:
    """A counter of the points where a process may die, which kills the process at one of them."""

    def __init__(self, events: Events, kill_at: int | None) -> None:
        self._events, self._kill_at = events, kill_at
        self._count = 0
        self._lock = Lock()

    def reach(self, name: str) -> None:
        """Count a point, and kill the process if it is the chosen one."""
        if self._kill_at is None:
            return
        with self._lock:
            if self._count == self._kill_at:
                self._events.record("killed", name)
                os.kill(os.getpid(), signal.SIGKILL)
            self._count += 1

    def watch(self, store: Store) -> None:
        """Add points before and after each transition of a store."""
        apply = store._apply

        def counted(transition: Any, parameters: Any) -> bool:
            self.reach("before a transition")
            applied: bool = apply(transition, parameters)
            self.reach("after a transition")
            return applied

        store._apply = counted  # type: ignore[method-assign]


class Handlers:
    """The common part of the handlers of all plans."""

    def __init__(self, folder: Path, events: Events, kill_points: KillPoints) -> None:
        self._folder, self._events, self._kill_points = folder, events, kill_points

    @contextmanager
    def handling(self, name: str, request: Any) -> Iterator[HandlerOptions]:
        """Record begin and end of a handler, and apply the options that all handlers have."""
        with self._events.handling(name, request):
            self._kill_points.reach(f"in {name}")
            options = _handler_options(request)
            time.sleep(options.seconds)
            if options.gate is not None and request.attempt <= options.attempts:
                self.wait_for(options.gate)
            if request.attempt <= options.retries:
                raise osb.Retry(after=options.after)
            if options.fails is not None:
                raise osb.BrokerError(options.fails, status=500)
            yield options

    def wait_for(self, gate: str) -> None:
        while not self.is_open(gate):
            time.sleep(0.005)

    def is_open(self, gate: str) -> bool:
        return (self._folder / gate).exists()


def _handler_options(request: Any) -> HandlerOptions:
    """Return the options of a request. A deletion has no parameters, so it has the defaults."""
    return msgspec.convert(getattr(request, "parameters", {}), HandlerOptions)


def _result(name: str, options: HandlerOptions) -> Any:
    data = {"pid": os.getpid(), "data": options.data}
    if name == "bind":
        return osb.Binding(credentials=data, data=data)
    if name == "provision":
        return osb.Provisioned(dashboard_url=f"http://{os.getpid()}", data=data)
    return osb.Updated(data=data) if name == "update" else None


_Handler = TypeVar("_Handler", bound=Callable[[Any], Any])

OPERATIONS = ("provision", "update", "deprovision", "bind", "unbind")


def make_executor(redis: str) -> osb.Executor:
    from brokerkit.celery import CeleryExecutor

    return CeleryExecutor(make_celery(redis))


@cache
def make_celery(redis: str) -> Celery:
    """Return the Celery app, which the broker and a worker share."""
    from celery import Celery

    app: Celery = Celery("resilience", broker=redis)
    app.conf.update(
        broker_connection_retry_on_startup=True,
        broker_transport_options={"socket_connect_timeout": 2, "socket_timeout": 5},
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
    )
    return app


def make_broker(settings: Settings) -> osb.Broker:
    plans = [
        osb.ServicePlan(id=name, name=name, description=name)
        for name in ("synchronous", "polled", "background", "function")
    ]
    offering = osb.ServiceOffering(
        id="db",
        name="db",
        description="Databases",
        bindable=True,
        instances_retrievable=True,
        bindings_retrievable=True,
        plan_updateable=True,
        plans=plans,
    )
    keys = None if settings.key is None else [settings.key]
    store = Store(settings.url, encryption_keys=keys, lease=settings.lease)
    broker = osb.Broker(
        osb.Catalog([offering]),
        auth=osb.BasicAuth("platform", "s3cret"),
        store=store,
        executor=None if settings.redis is None else make_executor(settings.redis),
    )
    folder = Path(settings.folder)
    events = Events(folder / "events")
    kill_points = KillPoints(events, settings.kill_at)
    kill_points.watch(store)
    _set_up_connections(store, settings, folder)
    handlers = Handlers(folder, events, kill_points)
    for operation in OPERATIONS:
        _register(broker, handlers, kill_points, operation)
    _register_polls(broker)
    _record_signals(broker, events)
    return broker


def _register(broker: osb.Broker, handlers: Handlers, kill_points: KillPoints, name: str) -> None:
    register: Callable[..., Callable[[_Handler], _Handler]] = getattr(broker, name)

    @register(plan="synchronous")
    def synchronous(request: Any) -> Any:
        with handlers.handling(name, request) as options:
            return _result(name, options)

    @register(plan="polled")
    def polled(request: Any) -> osb.Accepted:
        with handlers.handling(name, request):
            return osb.Accepted(operation=f"job of {name}")

    @register(plan="background", background=True)
    def background(request: Any) -> Generator[str, None, Any]:
        with handlers.handling(name, request) as options:
            yield "first"
            kill_points.reach("after the first step")
            while options.steps is not None and not handlers.is_open(options.steps):
                yield "a step"
                time.sleep(0.02)
            if options.later is not None:
                handlers.wait_for(options.later)
            yield "second"
            kill_points.reach("after the second step")
            return _result(name, options)

    @register(plan="function", background=True)
    def function(request: Any) -> Any:
        with handlers.handling(name, request) as options:
            return _result(name, options)


def _register_polls(broker: osb.Broker) -> None:
    @broker.last_operation
    def last_operation(request: osb.LastOperationRequest) -> osb.LastOperation:
        return osb.LastOperation.succeeded("Done elsewhere")

    @broker.last_binding_operation
    def last_binding_operation(request: osb.LastBindingOperationRequest) -> osb.LastOperation:
        result = osb.Binding(credentials={"user": "u"}) if request.operation == "job of bind" else None
        return osb.LastOperation.succeeded("Done elsewhere", result=result)


def _record_signals(broker: osb.Broker, events: Events) -> None:
    for name in ("provisioned", "updated", "deprovisioned", "bound", "unbound", "operation_failed"):

        def record(sender: object, request: Any, result: Any, name: str = name, **extra: Any) -> None:
            events.record(
                "signal", name, instance=request.instance_id, binding=getattr(request, "binding_id", None)
            )

        getattr(signals, name).connect(record, sender=broker, weak=False)


FULL = "full"
"""The name of a file. While it exists, SQLite cannot allocate pages."""


def _set_up_connections(store: Store, settings: Settings, folder: Path) -> None:
    engine = store.database.engine
    if engine.dialect.name != "sqlite":
        return
    if settings.busy_timeout is not None:

        @event.listens_for(engine, "connect")
        def connect(connection: Any, record: object) -> None:
            connection.execute(f"PRAGMA busy_timeout={settings.busy_timeout}")

    @event.listens_for(engine, "checkout")
    def checkout(connection: Any, record: object, proxy: object) -> None:
        pages = 1 if (folder / FULL).exists() else 1 << 30  # SQLite never sets it below the current size
        connection.execute(f"PRAGMA max_page_count={pages}")


def make_app(settings: Settings | None = None) -> Flask:
    """Return the app. Settings default to those in the environment."""
    settings = settings or msgspec.json.decode(os.environ[SETTINGS_VARIABLE], type=Settings)
    logging.basicConfig(
        level=settings.log_level,
        stream=sys.stderr,
        format="%(asctime)s %(process)d %(threadName)s %(name)s %(levelname)s %(message)s",
    )
    broker = make_broker(settings)
    app = Flask("resilience")
    if settings.is_behind_a_proxy:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_prefix=1)  # type: ignore[method-assign]
    for blueprint in (broker.blueprint, broker.health):
        app.register_blueprint(blueprint, url_prefix=settings.prefix or None)

    @app.get("/pid")
    def pid() -> str:
        return str(os.getpid())

    @app.get("/here")
    def here() -> str:
        return url_for("here")

    return app
