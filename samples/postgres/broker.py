"""A service broker for PostgreSQL databases. README.md describes how to run it.

This module maps broker requests to calls of databases.py, which contains all work in PostgreSQL.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psycopg
from flask import Flask

import brokerkit as osb
from brokerkit.observe.logs import json_handler, log_lifecycle
from brokerkit.observe.opentelemetry import trace_lifecycle
from brokerkit.observe.prometheus import metrics_blueprint
from credentials import credentials_for
from databases import Databases, ExtensionRefused, Limits, QuotaReached
from names import database_of, digest_of, login_of
from settings import Settings

settings = Settings.from_env()
databases = Databases(settings.postgres_url)
catalog = osb.Catalog.from_file(Path(__file__).with_name("catalog.yml"))
limits = {
    plan.id: msgspec.convert((plan.metadata or {}).get("limits"), Limits)
    for offering in catalog.services
    for plan in offering.plans
}
broker = osb.Broker(
    catalog,
    auth=osb.BasicAuth.from_env(),
    store=settings.store,
    encryption_keys=settings.keys,
)


@broker.provision
def provision(request: osb.ProvisionRequest) -> osb.Provisioned:
    name = database_of(request.instance_id)
    with translated_errors():
        databases.create(
            name,
            limits[request.plan.id],
            holder=holder(request.plan, request.organization_guid),
            extensions=request.parameters.get("extensions"),
        )
    return osb.Provisioned(data={"database": name})


@broker.provision(plan="restored", background=True)
def restore(request: osb.ProvisionRequest) -> Generator[str, None, osb.Provisioned]:
    name = database_of(request.instance_id)
    try:
        with translated_errors():
            yield from databases.copy(
                settings.template,
                name,
                limits[request.plan.id],
                holder=holder(request.plan, request.organization_guid),
                extensions=request.parameters.get("extensions"),
            )
    except psycopg.OperationalError as error:
        raise osb.Retry(after=5, description="Waiting for the database server") from error
    return osb.Provisioned(data={"database": name})


@broker.update
def update(request: osb.UpdateRequest) -> None:
    """Apply the plan's current limits. An upgrade of an old instance needs nothing else."""
    current_plan = request.instance.plan
    plan = request.plan or current_plan
    if plan.name == "restored" and plan.id != current_plan.id:
        raise osb.PlanChangeNotSupported(
            "An existing database cannot become a copy of the template. Provision a new instance instead."
        )
    with translated_errors():
        databases.change(
            database_of(request.instance_id),
            limits[plan.id],
            holder=holder(plan, request.instance.organization_guid),
            extensions=request.parameters.get("extensions"),
        )


@broker.deprovision
def deprovision(request: osb.DeprovisionRequest) -> None:
    databases.drop(database_of(request.instance_id))


@broker.bind
def bind(request: osb.BindRequest) -> osb.Binding:
    """Create a user. A successor (`request.predecessor`) is a normal user that shares the same data."""
    name, login = database_of(request.instance_id), login_of(request.instance_id, request.binding_id)
    password = databases.add_user(name, login)
    return osb.Binding(
        credentials=credentials_for(settings.address, name, login, password),
        endpoints=[osb.Endpoint(host=settings.address.host, ports=[str(settings.address.port)])],
    )


@broker.unbind
def unbind(request: osb.UnbindRequest) -> None:
    databases.remove_user(database_of(request.instance_id), login_of(request.instance_id, request.binding_id))


def holder(plan: osb.ServicePlan, organization: str | None) -> str:
    """Return the quota key of an organization and plan.

    It contains a digest, because every user of the server can read it.
    """
    return f"plan {plan.id} of organization {digest_of(organization or '')}"


@contextmanager
def translated_errors() -> Iterator[None]:
    """Convert errors of databases.py to responses that the platform shows to its users."""
    try:
        yield
    except QuotaReached:
        raise osb.QuotaExceeded("The organization has reached its database quota for this plan.") from None
    except ExtensionRefused as refused:
        raise osb.InvalidParameters(f"parameters.extensions: {refused}") from refused


logging.basicConfig(level=logging.INFO, handlers=[json_handler()])
logging.getLogger("brokerkit").setLevel(logging.WARNING)  # brokerkit.events logs the rest
logging.getLogger("brokerkit.events").setLevel(logging.INFO)
log_lifecycle(broker)
trace_lifecycle(broker)  # needs OpenTelemetry, e.g. `opentelemetry-instrument`

app = Flask(__name__)
app.register_blueprint(broker.blueprint)
app.register_blueprint(broker.health)  # health checks for load balancers
if settings.metrics_token:  # a separate token: Prometheus must not be able to provision
    app.register_blueprint(metrics_blueprint(broker, auth=osb.BearerAuth(settings.metrics_token)))
