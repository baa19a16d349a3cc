"""A service broker of PostgreSQL databases; README.md says how to run it.

What is done in PostgreSQL is in databases.py. This says when, and what the platform is told of it.
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
    with told_to_users():
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
        with told_to_users():
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
    """Also hold an old instance to its plan's limits of today: that is all there is to an upgrade."""
    before = request.instance.plan
    plan = request.plan or before
    if plan.name == "restored" and plan.id != before.id:
        raise osb.PlanChangeNotSupported("Only a new database can be a copy of the template.")
    with told_to_users():
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
    """A successor (`request.predecessor`) is a user like all others: both share what is in the database."""
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
    """For whom databases of a plan are counted; a digest, since all users of the server can read it."""
    return f"plan {plan.id} of organization {digest_of(organization or '')}"


@contextmanager
def told_to_users() -> Iterator[None]:
    try:
        yield
    except QuotaReached:
        raise osb.QuotaExceeded("The organization has all databases of this plan that it may have.") from None
    except ExtensionRefused as refused:
        raise osb.InvalidParameters(f"parameters.extensions: {refused}") from refused


logging.basicConfig(level=logging.INFO, handlers=[json_handler()])
logging.getLogger("brokerkit").setLevel(logging.WARNING)  # the events tell the rest
logging.getLogger("brokerkit.events").setLevel(logging.INFO)
log_lifecycle(broker)
trace_lifecycle(broker)  # if OpenTelemetry is configured, as `opentelemetry-instrument` does it

app = Flask(__name__)
app.register_blueprint(broker.blueprint)
app.register_blueprint(broker.health)  # for load balancers
if settings.metrics_token:  # for Prometheus, which is to see the broker and not to order
    app.register_blueprint(metrics_blueprint(broker, auth=osb.BearerAuth(settings.metrics_token)))
