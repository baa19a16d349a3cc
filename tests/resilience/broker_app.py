"""The broker that is shot at: handlers that note what they do, and do as the parameters of a request say.

Environment variables say the rest, so that gunicorn can serve it too.
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


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """How to serve.

    Args:
        url: The store's.
        folder: Where events are noted, and files found that tell handlers and connections what to do.
        lease: The store's.
        kill_at: The process kills itself at this point, counted from 0.
        key: The store's key; None for that of the key file.
        busy_timeout: For how many milliseconds SQLite waits for a lock.
        log_level: What is logged, of everything.
        prefix: What the paths of the blueprints begin with.
        is_behind_a_proxy: Whether a proxy's headers are believed.
        redis: Celery's workers do the background work, by this Redis; None for threads.
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


VARIABLE = "BROKERKIT_ENDURANCE_SETTING"


class Steering(msgspec.Struct, frozen=True):
    """What a request's parameters make a handler do.

    Args:
        seconds: How long it takes.
        gate: It waits until there is a file of this name.
        attempts: Only in so many first attempts does it wait for the gate.
        later: Between its steps it waits until there is a file of this name.
        data: Is remembered, and given out as credentials.
        fails: It raises an error with this description.
        steps: Of a generator: it yields until there is a file of this name.
        retries: In so many first attempts it asks to be asked again.
        after: In so many seconds.
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


# msgspec finds out what a struct is when it first needs it, which no two threads may do at once.
_FOUND_OUT = msgspec.json.Decoder(Steering)


class Points:
    """Counts the points where a process may die, and dies at one of them."""

    def __init__(self, events: Events, kill_at: int | None) -> None:
        self._events, self._kill_at = events, kill_at
        self._passed = 0
        self._lock = Lock()

    def passed(self, name: str) -> None:
        if self._kill_at is None:
            return
        with self._lock:
            if self._passed == self._kill_at:
                self._events.note("killed", name)
                os.kill(os.getpid(), signal.SIGKILL)
            self._passed += 1

    def watch(self, store: Store) -> None:
        """Before and after each transition of a store is a point."""
        apply = store._apply

        def counted(transition: Any, parameters: Any) -> bool:
            self.passed("before a transition")
            applied: bool = apply(transition, parameters)
            self.passed("after a transition")
            return applied

        store._apply = counted  # type: ignore[method-assign]


class Handlers:
    """What the handlers of all plans have in common."""

    def __init__(self, folder: Path, events: Events, points: Points) -> None:
        self._folder, self._events, self._points = folder, events, points

    @contextmanager
    def working(self, name: str, request: Any) -> Iterator[Steering]:
        """Note begin and end of a handler, and do what all of them do."""
        with self._events.handling(name, request):
            self._points.passed(f"in {name}")
            steering = _steering(request)
            time.sleep(steering.seconds)
            if steering.gate is not None and request.attempt <= steering.attempts:
                self.wait_for(steering.gate)
            if request.attempt <= steering.retries:
                raise osb.Retry(after=steering.after)
            if steering.fails is not None:
                raise osb.BrokerError(steering.fails, status=500)
            yield steering

    def wait_for(self, gate: str) -> None:
        while not self.is_open(gate):
            time.sleep(0.005)

    def is_open(self, gate: str) -> bool:
        return (self._folder / gate).exists()


def _steering(request: Any) -> Steering:
    """A request without parameters deletes, and has nothing to wait for."""
    return msgspec.convert(getattr(request, "parameters", {}), Steering)


def _answer(name: str, steering: Steering) -> Any:
    data = {"pid": os.getpid(), "data": steering.data}
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
    """The same for the broker and for a worker."""
    from celery import Celery

    made: Celery = Celery("endurance", broker=redis)
    made.conf.update(
        broker_connection_retry_on_startup=True,
        broker_transport_options={"socket_connect_timeout": 2, "socket_timeout": 5},
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
    )
    return made


def make_broker(setting: Setting) -> osb.Broker:
    plans = [
        osb.ServicePlan(id=name, name=name, description=name)
        for name in ("at-once", "polled", "background", "single")
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
    keys = None if setting.key is None else [setting.key]
    store = Store(setting.url, encryption_keys=keys, lease=setting.lease)
    broker = osb.Broker(
        osb.Catalog([offering]),
        auth=osb.BasicAuth("platform", "s3cret"),
        store=store,
        executor=None if setting.redis is None else make_executor(setting.redis),
    )
    folder = Path(setting.folder)
    events = Events(folder / "events")
    points = Points(events, setting.kill_at)
    points.watch(store)
    _set_up_connections(store, setting, folder)
    handlers = Handlers(folder, events, points)
    for operation in OPERATIONS:
        _register(broker, handlers, points, operation)
    _register_polls(broker)
    _note_signals(broker, events)
    return broker


def _register(broker: osb.Broker, handlers: Handlers, points: Points, name: str) -> None:
    register: Callable[..., Callable[[_Handler], _Handler]] = getattr(broker, name)

    @register(plan="at-once")
    def at_once(request: Any) -> Any:
        with handlers.working(name, request) as steering:
            return _answer(name, steering)

    @register(plan="polled")
    def polled(request: Any) -> osb.Accepted:
        with handlers.working(name, request):
            return osb.Accepted(operation=f"job of {name}")

    @register(plan="background", background=True)
    def background(request: Any) -> Generator[str, None, Any]:
        with handlers.working(name, request) as steering:
            yield "first"
            points.passed("after the first step")
            while steering.steps is not None and not handlers.is_open(steering.steps):
                yield "a step"
                time.sleep(0.02)
            if steering.later is not None:
                handlers.wait_for(steering.later)
            yield "second"
            points.passed("after the second step")
            return _answer(name, steering)

    @register(plan="single", background=True)
    def single(request: Any) -> Any:
        with handlers.working(name, request) as steering:
            return _answer(name, steering)


def _register_polls(broker: osb.Broker) -> None:
    @broker.last_operation
    def last_operation(request: osb.LastOperationRequest) -> osb.LastOperation:
        return osb.LastOperation.succeeded("Done elsewhere")

    @broker.last_binding_operation
    def last_binding_operation(request: osb.LastBindingOperationRequest) -> osb.LastOperation:
        result = osb.Binding(credentials={"user": "u"}) if request.operation == "job of bind" else None
        return osb.LastOperation.succeeded("Done elsewhere", result=result)


def _note_signals(broker: osb.Broker, events: Events) -> None:
    for name in ("provisioned", "updated", "deprovisioned", "bound", "unbound", "operation_failed"):

        def note(sender: object, request: Any, result: Any, name: str = name, **extra: Any) -> None:
            events.note(
                "signal", name, instance=request.instance_id, binding=getattr(request, "binding_id", None)
            )

        getattr(signals, name).connect(note, sender=broker, weak=False)


FULL = "full"
"""While there is a file of this name, SQLite has no room for another page."""


def _set_up_connections(store: Store, setting: Setting, folder: Path) -> None:
    engine = store.database.engine
    if engine.dialect.name != "sqlite":
        return
    if setting.busy_timeout is not None:

        @event.listens_for(engine, "connect")
        def connect(connection: Any, record: object) -> None:
            connection.execute(f"PRAGMA busy_timeout={setting.busy_timeout}")

    @event.listens_for(engine, "checkout")
    def checkout(connection: Any, record: object, proxy: object) -> None:
        pages = 1 if (folder / FULL).exists() else 1 << 30  # never less than there are
        connection.execute(f"PRAGMA max_page_count={pages}")


def make_app(setting: Setting | None = None) -> Flask:
    """What serves; without a setting, it is in the environment."""
    setting = setting or msgspec.json.decode(os.environ[VARIABLE], type=Setting)
    logging.basicConfig(
        level=setting.log_level,
        stream=sys.stderr,
        format="%(asctime)s %(process)d %(threadName)s %(name)s %(levelname)s %(message)s",
    )
    broker = make_broker(setting)
    app = Flask("endurance")
    if setting.is_behind_a_proxy:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_prefix=1)  # type: ignore[method-assign]
    for blueprint in (broker.blueprint, broker.health):
        app.register_blueprint(blueprint, url_prefix=setting.prefix or None)

    @app.get("/pid")
    def pid() -> str:
        return str(os.getpid())

    @app.get("/here")
    def here() -> str:
        return url_for("here")

    return app
