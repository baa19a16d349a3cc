"""Three Flask apps that give the same responses to the same requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import openbrokerapi  # type: ignore  # has no types, and is not installed for the linters
from flask import Flask, request

from brokerkit import (
    BasicAuth,
    Binding,
    BindRequest,
    Broker,
    Catalog,
    LastOperation,
    LastOperationRequest,
    Provisioned,
    ProvisionRequest,
    signals,
)

from .catalog import CATALOG
from .peer import make_app, services
from .traffic import CREDENTIALS, DASHBOARD, PASSWORD, PROGRESS, USERNAME

_INSTANCE = "/v2/service_instances/<instance_id>"


def brokerkit_app(
    finished: Counter[object] | None = None, polled: Callable[[], object] = lambda: None
) -> Flask:
    """Return an app with brokerkit without a store, with all checks, and a subscriber that counts requests.

    Args:
        finished: The counter. None for no subscriber.
        polled: Called by the handler of polls.
    """
    broker = Broker(Catalog.from_dict(CATALOG), auth=BasicAuth(USERNAME, PASSWORD))

    @broker.provision
    def provision(request: ProvisionRequest) -> Provisioned:
        return Provisioned(dashboard_url=DASHBOARD + request.instance_id)

    @broker.bind
    def bind(request: BindRequest) -> Binding:
        return Binding(credentials=CREDENTIALS)

    @broker.last_operation
    def last_operation(request: LastOperationRequest) -> LastOperation:
        polled()
        return LastOperation.in_progress(PROGRESS)

    @broker.update
    @broker.deprovision
    @broker.unbind
    @broker.get_instance
    @broker.get_binding
    def unused(request: object) -> Any:
        raise AssertionError("the benchmark sends no such request")

    if finished is not None:

        @signals.request_finished.connect_via(broker)
        def count(sender: object, *, operation: object, status: int, **facts: object) -> None:
            finished[operation] += 1

    app = Flask("brokerkit")
    app.register_blueprint(broker.blueprint)
    return app


def bare_app() -> Flask:
    """Return an app with bare views: they read the body, return a dict, and check nothing."""
    app = Flask("bare")

    @app.get("/v2/catalog")
    def catalog() -> Any:
        return CATALOG

    @app.put(_INSTANCE)
    def provision(instance_id: str) -> Any:
        request.get_json()
        return {"dashboard_url": DASHBOARD + instance_id}, 201

    @app.get(f"{_INSTANCE}/last_operation")
    def last_operation(instance_id: str) -> Any:
        return {"state": "in progress", "description": PROGRESS}

    @app.put(f"{_INSTANCE}/service_bindings/<binding_id>")
    def bind(instance_id: str, binding_id: str) -> Any:
        request.get_json()
        return {"credentials": CREDENTIALS}, 201

    return app


class _OpenBroker:
    """The same broker for openbrokerapi, which accepts any object with these methods."""

    def __init__(self) -> None:
        self._services = services()

    def catalog(self) -> Any:
        return self._services

    def provision(self, instance_id: str, **details: object) -> Any:
        return openbrokerapi.ProvisionedServiceSpec(dashboard_url=DASHBOARD + instance_id)

    def bind(self, **details: object) -> Any:
        return openbrokerapi.Binding(credentials=CREDENTIALS)

    def last_operation(self, **details: object) -> Any:
        return openbrokerapi.LastOperation(openbrokerapi.OperationState.IN_PROGRESS, PROGRESS)


def openbrokerapi_app() -> Flask:
    """Return an app with openbrokerapi and authentication. It checks no schema."""
    return make_app(_OpenBroker())
