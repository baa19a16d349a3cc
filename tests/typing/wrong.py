"""Handlers that a type checker refuses: each line with `# error: …` must be an error that says so."""

from __future__ import annotations

from typing import Any

from flask import Request

from brokerkit import (
    Accepted,
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
    UnbindRequest,
    Unbound,
    Updated,
    UpdateRequest,
)

broker = Broker(Catalog([]), auth=NoAuth())
group = HandlerGroup()


# Both spellings of the offering.


HandlerGroup(offering="db", service="db")  # error: No overload variant
broker.provision(offering="db", service="db")  # error: No overload variant
broker.last_operation(offering="db", service="db")  # error: No overload variant


# The request of another operation.


@broker.provision  # error: BindRequest
def provision_of_a_bind(request: BindRequest) -> Provisioned:
    return Provisioned()


@broker.update(plan="small")  # error: ProvisionRequest
def update_of_a_provision(request: ProvisionRequest) -> Updated:
    return Updated()


@group.deprovision  # error: UnbindRequest
def deprovision_of_an_unbind(request: UnbindRequest) -> None: ...


@group.last_operation(offering="db")  # error: LastBindingOperationRequest
def poll_of_a_binding(request: LastBindingOperationRequest) -> LastOperation:
    return LastOperation.succeeded()


# The result of another operation.


@broker.provision  # error: Updated
def provision_updated(request: ProvisionRequest) -> Updated:
    return Updated()


@broker.update  # error: Provisioned
def update_provisioned(request: UpdateRequest) -> Provisioned:
    return Provisioned()


@broker.deprovision  # error: Unbound
def deprovision_unbound(request: DeprovisionRequest) -> Unbound:
    return Unbound()


@broker.unbind  # error: Deprovisioned
def unbind_deprovisioned(request: UnbindRequest) -> Deprovisioned:
    return Deprovisioned()


@broker.get_instance  # error: Provisioned
def get_instance_provisioned(request: GetInstanceRequest) -> Provisioned:
    return Provisioned()


@broker.get_binding  # error: Accepted
def get_binding_accepted(request: GetBindingRequest) -> Binding | Accepted:
    return Accepted()


@broker.last_operation  # error: str
def last_operation_text(request: LastOperationRequest) -> str:
    return "succeeded"


@broker.last_binding_operation  # error: Binding
def last_binding_operation_binding(request: LastBindingOperationRequest) -> Binding:
    return Binding()


@broker.provision  # error: dict
def provision_dict(request: ProvisionRequest) -> dict[str, Any]:
    return {}


@broker.provision(plan="small")  # error: tuple
def provision_tuple(request: ProvisionRequest) -> tuple[Provisioned, int]:
    return Provisioned(), 201


# None where it means nothing.


@broker.bind  # error: None
def bind_none(request: BindRequest) -> None: ...


@broker.bind(plan="small")  # error: None
def bind_perhaps_none(request: BindRequest) -> Binding | None:
    return None


@broker.get_instance  # error: None
def get_instance_none(request: GetInstanceRequest) -> InstanceDetails | None:
    return None


@group.last_operation  # error: None
def last_operation_none(request: LastOperationRequest) -> None: ...


# Async ones.


@broker.provision  # error: Updated
async def provision_async_updated(request: ProvisionRequest) -> Updated:
    return Updated()


@group.bind(plan="small")  # error: None
async def bind_async_none(request: BindRequest) -> None: ...


@broker.bind  # error: ProvisionRequest
async def bind_async_of_a_provision(request: ProvisionRequest) -> Binding:
    return Binding()


# Not one argument.


@broker.provision  # error: [[], Provisioned]
def provision_of_nothing() -> Provisioned:
    return Provisioned()


@broker.provision  # error: str
def provision_of_two(request: ProvisionRequest, more: str) -> Provisioned:
    return Provisioned()


# The decorators' own arguments.

broker.provision("small")  # error: str
broker.provision(plans="small")  # error: Unexpected keyword argument "plans"
broker.provision(plan=7)  # error: No overload
broker.include(broker.provision)  # error: HandlerGroup


# What a request does not have, and what a result does not take.


@broker.deprovision
def deprovision(request: DeprovisionRequest) -> None:
    request.parameters.get("size")  # error: parameters
    request.instance_id = "other"  # error: read-only


@broker.update
def update(request: UpdateRequest) -> Updated:
    request.plan.name.upper()  # error: None
    return Updated(exists=True)  # error: exists


@broker.bind
def bind(request: BindRequest) -> Binding:
    return Binding(credentials="uri")  # error: str


@broker.last_operation
def last_operation(request: LastOperationRequest) -> LastOperation:
    return LastOperation(state="done")  # error: Literal


# A broker's own arguments.


def by_nothing() -> bool:
    return True


def by_number(request: Request) -> int:
    return 1


async def by_asking(request: Request) -> str | None:
    return None


Broker(Catalog([]))  # error: auth
Broker(Catalog([]), auth=None)  # error: None
Broker(Catalog([]), auth=NoAuth)  # error: NoAuth
Broker(Catalog([]), auth=("platform", "s3cret"))  # error: tuple
Broker(Catalog([]), auth=by_nothing)  # error: Callable
Broker(Catalog([]), auth=by_number)  # error: int
Broker(Catalog([]), auth=by_asking)  # error: Coroutine
Broker({"services": []}, auth=NoAuth())  # error: Catalog
