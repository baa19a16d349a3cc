"""The same broker with brokerkit and its store: handlers that do nothing but return credentials."""

from __future__ import annotations

from cryptography.fernet import Fernet
from flask import Flask

from brokerkit import (
    BasicAuth,
    Binding,
    BindRequest,
    Broker,
    Catalog,
    DeprovisionRequest,
    Provisioned,
    ProvisionRequest,
    UnbindRequest,
    UpdateRequest,
)

from .catalog import CATALOG
from .traffic import CREDENTIALS, DASHBOARD, PASSWORD, USERNAME


def stored_app(url: str) -> Flask:
    """Brokerkit on an empty database, with all its checks and with encryption."""
    broker = Broker(
        Catalog.from_dict(CATALOG),
        auth=BasicAuth(USERNAME, PASSWORD),
        store=url,
        encryption_keys=[Fernet.generate_key().decode()],
    )

    @broker.provision
    def provision(request: ProvisionRequest) -> Provisioned:
        return Provisioned(dashboard_url=DASHBOARD + request.instance_id)

    @broker.bind
    def bind(request: BindRequest) -> Binding:
        return Binding(credentials=CREDENTIALS)

    @broker.unbind
    def unbind(request: UnbindRequest) -> None:
        pass

    @broker.deprovision
    def deprovision(request: DeprovisionRequest) -> None:
        pass

    @broker.update
    def update(request: UpdateRequest) -> None:
        raise AssertionError("the catalog promises it, but the benchmark does not ask for it")

    app = Flask("brokerkit")
    app.register_blueprint(broker.blueprint)
    return app
