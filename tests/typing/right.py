"""Handlers that a type checker takes, and what it then knows of them; mypy reads this, nothing runs it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Never, assert_type

from flask import Blueprint, Request

from brokerkit import (
    Accepted,
    AsyncRequired,
    BasicAuth,
    BearerAuth,
    Binding,
    BindRequest,
    Broker,
    Catalog,
    Deprovisioned,
    DeprovisionRequest,
    GetBindingRequest,
    GetInstanceRequest,
    HandlerGroup,
    InstanceDetails,
    LastBindingOperationRequest,
    LastOperation,
    LastOperationRequest,
    NoAuth,
    Provisioned,
    ProvisionRequest,
    ServiceOffering,
    ServicePlan,
    UnbindRequest,
    Unbound,
    Updated,
    UpdateRequest,
)

broker = Broker(Catalog.from_file("catalog.yml"), auth=BasicAuth("platform", "s3cret"))
group = HandlerGroup(offering="postgres")
HandlerGroup(service="postgres")
broker.include(group)
assert_type(broker.blueprint, Blueprint)


# Bare: the function keeps its precise type.


@broker.provision
def provision(request: ProvisionRequest) -> Provisioned:
    assert_type(request.offering, ServiceOffering)
    assert_type(request.plan, ServicePlan)
    assert_type(request.parameters, dict[str, Any])
    assert_type(request.headers.username, str | None)
    return Provisioned(dashboard_url="https://db.example.org")


@broker.update
def update(request: UpdateRequest) -> Updated | Accepted:
    assert_type(request.plan, ServicePlan | None)
    assert_type(request.previous_values.plan_id, str | None)
    return Updated()


@broker.deprovision
def deprovision(request: DeprovisionRequest) -> Deprovisioned:
    return Deprovisioned()


@broker.bind
def bind(request: BindRequest) -> Binding:
    assert_type(request.predecessor, str | None)
    return Binding(credentials={"uri": request.binding_id})


@broker.unbind
def unbind(request: UnbindRequest) -> Unbound:
    return Unbound()


@broker.get_instance
def get_instance(request: GetInstanceRequest) -> InstanceDetails:
    assert_type(request.plan, ServicePlan | None)
    return InstanceDetails()


@broker.get_binding
def get_binding(request: GetBindingRequest) -> Binding:
    return Binding()


@broker.last_operation
def last_operation(request: LastOperationRequest) -> LastOperation:
    assert_type(request.operation, str | None)
    return LastOperation.in_progress("half", retry_after=30)


@broker.last_binding_operation
def last_binding_operation(request: LastBindingOperationRequest) -> LastOperation:
    return LastOperation.failed("no disk")


def call(
    request: ProvisionRequest,
    update_request: UpdateRequest,
    bind_request: BindRequest,
    poll: LastOperationRequest,
) -> None:
    assert_type(provision(request), Provisioned)
    assert_type(provision(request=request), Provisioned)
    assert_type(update(update_request), Updated | Accepted)
    assert_type(bind(request=bind_request), Binding)
    assert_type(last_operation(poll), LastOperation)


# With arguments, of a broker or a group.


@broker.provision(plan="cluster")
def provision_cluster(request: ProvisionRequest) -> Accepted:
    if not request.accepts_incomplete:
        raise AsyncRequired
    return Accepted(operation="job")


@group.provision(offering="db", plan="small")
def provision_small(request: ProvisionRequest, size: int = 1) -> Provisioned | None:
    return None


@group.provision(service="db")
def provision_service(request: ProvisionRequest) -> Provisioned:
    return Provisioned()


@group.bind()
def bind_group(request: BindRequest) -> Binding | Accepted:
    return Binding()


@group.unbind
def unbind_group(request: UnbindRequest) -> None:
    return None


@group.last_operation(plan="small")
def last_operation_small(request: LastOperationRequest) -> LastOperation:
    return LastOperation.succeeded()


def call_with_arguments(request: ProvisionRequest, bind_request: BindRequest) -> None:
    assert_type(provision_cluster(request), Accepted)
    assert_type(provision_small(request, size=3), Provisioned | None)
    assert_type(bind_group(bind_request), Binding | Accepted)


# Async.


@broker.provision
async def provision_async(request: ProvisionRequest) -> Provisioned:
    return Provisioned()


@group.bind(plan="small")
async def bind_async(request: BindRequest) -> Binding:
    return Binding()


@broker.deprovision
async def deprovision_async(request: DeprovisionRequest) -> None: ...


@broker.last_operation(offering="db")
async def last_operation_async(request: LastOperationRequest) -> LastOperation:
    return LastOperation.succeeded()


async def call_async(request: ProvisionRequest, bind_request: BindRequest) -> None:
    assert_type(await provision_async(request), Provisioned)
    assert_type(await bind_async(request=bind_request), Binding)


# What else a handler may be.


@broker.deprovision(plan="small")
@group.deprovision
def gone(request: DeprovisionRequest) -> None: ...


@broker.unbind
@broker.deprovision
def gone_too(request: DeprovisionRequest | UnbindRequest) -> None: ...


@broker.provision
def takes_anything(request: object) -> None: ...


@broker.bind
def always_refuses(request: BindRequest) -> Never:
    raise AsyncRequired


@broker.provision
def untyped(request):  # type: ignore[no-untyped-def]
    return Provisioned()


class Handlers:
    def provision(self, request: ProvisionRequest) -> Provisioned:
        return Provisioned()


broker.provision(Handlers().provision)
broker.provision(lambda request: Provisioned())
returns_it: Callable[[ProvisionRequest], Awaitable[Provisioned]] = broker.provision(provision_async)


# Authenticators and catalogs.


def by_header(request: Request) -> str | None:
    return request.headers.get("X-Client")


Broker(Catalog([]), auth=BasicAuth.from_env())
Broker(Catalog([]), auth=BearerAuth("t0ken", korifi="other"))
Broker(Catalog([]), auth=NoAuth())
Broker(Catalog([]), auth=by_header, require_organization=False, max_body=10)
Broker(lambda: Catalog([]), auth=lambda request: True)
