"""A service broker for pretend databases, with one synchronous and one background plan."""

import os
import time
from collections.abc import Generator

from flask import Flask

import brokerkit as osb

STEP = float(os.environ.get("STEP_SECONDS", "2"))

broker = osb.Broker(
    osb.Catalog.from_file("catalog.yml"),
    auth=osb.BasicAuth("platform", "s3cret"),
    store=os.environ.get("BROKER_STORE", "sqlite:///hello.db"),
    encryption_keys=os.environ.get("BROKER_KEYS", "").split() or None,
)


@broker.provision
def provision(request: osb.ProvisionRequest) -> osb.Provisioned:
    return osb.Provisioned(data={"host": f"{request.plan.name}.example.org"})


@broker.provision(plan="large", background=True)
def provision_large(request: osb.ProvisionRequest) -> Generator[str, None, osb.Provisioned]:
    yield "Making a volume"
    time.sleep(STEP)
    yield "Starting the server"
    time.sleep(STEP)
    return provision(request)


@broker.update
def update(request: osb.UpdateRequest) -> None:
    """Pretend to move the database to `request.plan` with `request.parameters`."""


@broker.deprovision
def deprovision(request: osb.DeprovisionRequest) -> None:
    """Pretend to drop the database and any leftovers of a failed provision."""


@broker.bind
def bind(request: osb.BindRequest) -> osb.Binding:
    host = request.instance.data["host"]
    return osb.Binding(credentials={"uri": f"db://{request.binding_id}@{host}/{request.instance_id}"})


@broker.unbind
def unbind(request: osb.UnbindRequest) -> None:
    """Pretend to drop the user `request.binding_id`."""


app = Flask(__name__)
app.register_blueprint(broker.blueprint)
