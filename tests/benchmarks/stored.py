"""Brokers with a store whose handlers do nothing, and a context that serves one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.types import WSGIApplication

from flask import Flask

from brokerkit import (
    BasicAuth,
    Binding,
    BindRequest,
    Broker,
    Catalog,
    DeprovisionRequest,
    Executor,
    Provisioned,
    ProvisionRequest,
    UnbindRequest,
    UpdateRequest,
)

from .catalog import CATALOG
from .traffic import CREDENTIALS, DASHBOARD, PASSWORD, USERNAME

KEY = "cGxlYXNlIGRvIG5vdCB1c2UgdGhpcyBrZXkgaGVyZSE="
"""The key of all processes."""


def stored_broker(
    url: str, in_background: Callable[[ProvisionRequest], Any] | None = None, executor: Executor | None = None
) -> Broker:
    """Return a broker on a database, with all checks and with encryption.

    Args:
        url: The URL of the database.
        in_background: The background handler of provisions. Deprovisions then run in the background too.
            Defaults to synchronous handlers.
        executor: The executor of background handlers.
    """
    broker = Broker(
        Catalog.from_dict(CATALOG),
        auth=BasicAuth(USERNAME, PASSWORD),
        store=url,
        encryption_keys=[KEY],
        executor=executor,
    )

    def provision(request: ProvisionRequest) -> Provisioned:
        return Provisioned(dashboard_url=DASHBOARD + request.instance_id)

    def deprovision(request: DeprovisionRequest) -> None:
        pass

    if in_background is None:
        broker.provision(provision)
        broker.deprovision(deprovision)
    else:
        broker.provision(background=True)(in_background)
        broker.deprovision(background=True)(deprovision)

    @broker.bind
    def bind(request: BindRequest) -> Binding:
        return Binding(credentials=CREDENTIALS)

    @broker.unbind
    def unbind(request: UnbindRequest) -> None:
        pass

    @broker.update
    def update(request: UpdateRequest) -> None:
        raise AssertionError("the catalog promises it, but the benchmark does not ask for it")

    return broker


@contextmanager
def served(
    broker: Broker, observe: Callable[[Broker, Flask], None] = lambda *_: None
) -> Iterator[WSGIApplication]:
    """Serve a broker, and close it before its database is removed.

    Args:
        broker: The broker.
        observe: Enables observability for the broker.
    """
    app = Flask("brokerkit")
    app.register_blueprint(broker.blueprint)
    observe(broker, app)
    try:
        yield app.wsgi_app
    finally:
        broker.close()


@contextmanager
def stored_app(url: str) -> Iterator[WSGIApplication]:
    """Return an app with a broker on a database whose handlers are synchronous."""
    with served(stored_broker(url)) as app:
        yield app
