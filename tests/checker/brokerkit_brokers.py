"""Correct brokers written with brokerkit: with and without a store, in each handler style."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any
from uuid import uuid4

from flask import Flask, Response
from msgspec import Struct

import brokerkit as osb
from brokerkit.auth import Authenticator
from brokerkit.store.store import Store

from ..support.broker import CREDENTIALS, make_app
from ..support.stateful import KEY, stop

DRAFT = "http://json-schema.org/draft-07/schema#"
WORKING = 0.1
"""The duration in seconds of asynchronous operations."""

ORDER = {
    "$schema": DRAFT,
    "type": "object",
    "required": ["name", "contact", "disk"],
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z][a-z0-9-]{2,20}$"},
        "contact": {"type": "string", "format": "email"},
        "disk": {"$ref": "#/definitions/disk"},
        "zones": {
            "type": "array",
            "minItems": 2,
            "uniqueItems": True,
            "items": {"enum": ["a", "b", "c"]},
        },
    },
    "definitions": {
        "disk": {
            "type": "object",
            "required": ["gb"],
            "properties": {
                "gb": {"type": "integer", "minimum": 10, "multipleOf": 10},
                "fast": {"default": True},
            },
            "additionalProperties": False,
        }
    },
    "additionalProperties": False,
}
CHANGE = {"$schema": DRAFT, "type": "object", "properties": {"size": {"type": "integer", "minimum": 1}}}
ROLE = {"$schema": DRAFT, "type": "object", "properties": {"role": {"enum": ["reader", "writer"]}}}


def plan(name: str, **fields: Any) -> osb.ServicePlan:
    return osb.ServicePlan(**{"id": f"{name}-id", "name": name, "description": f"The plan {name}", **fields})


DATABASES = osb.ServiceOffering(
    id="databases-id",
    name="databases",
    description="Databases",
    bindable=True,
    instances_retrievable=True,
    bindings_retrievable=True,
    allow_context_updates=True,
    plan_updateable=True,
    plans=[
        plan(
            "small",
            binding_rotatable=True,
            maintenance_info=osb.MaintenanceInfo("1.2.3"),
            schemas=osb.Schemas.of(create=CHANGE, update=CHANGE, bind=ROLE),
        ),
        plan(
            "fixed", schemas=osb.Schemas.of(create=ORDER), plan_updateable=False, maximum_polling_duration=60
        ),
        plan("unbindable", bindable=False),
    ],
)
DRAINS = osb.ServiceOffering(
    id="drains-id",
    name="drains",
    description="Log drains",
    bindable=True,
    requires=["syslog_drain"],
    plan_updateable=False,
    plans=[plan("drain"), plan("wide-drain", free=False)],
)
OFFERINGS = (DATABASES, DRAINS)


def _binding(request: osb.BindRequest) -> osb.Binding:
    if request.offering.requires:
        return osb.Binding(syslog_drain_url="syslog://logs.example.org")
    return osb.Binding(credentials={"uri": f"db://{request.binding_id}"})


def _new_broker(auth: Authenticator | None = None, **settings: Any) -> osb.Broker:
    return osb.Broker(osb.Catalog(OFFERINGS), auth=auth or CREDENTIALS, **settings)


# With a store


def synchronous(broker: osb.Broker) -> None:
    """Register synchronous handlers."""

    @broker.provision
    def provision(request: osb.ProvisionRequest) -> osb.Provisioned:
        return osb.Provisioned(dashboard_url=f"https://example.org/{request.instance_id}")

    @broker.update
    def update(request: osb.UpdateRequest) -> None: ...

    @broker.deprovision
    def deprovision(request: osb.DeprovisionRequest) -> None: ...

    broker.bind(_binding)

    @broker.unbind
    def unbind(request: osb.UnbindRequest) -> None: ...


def polled(broker: osb.Broker) -> None:
    """Register handlers of asynchronous operations, with handlers that poll them."""
    began: dict[str | None, float] = {}
    results: dict[str | None, osb.Binding] = {}

    def accepted(request: Any) -> osb.Accepted:
        if not request.accepts_incomplete:
            raise osb.AsyncRequired
        operation = str(uuid4())
        began[operation] = time.monotonic()
        return osb.Accepted(operation=operation)

    def ended(request: Any) -> bool:
        if request.operation not in began:
            raise osb.BrokerError("There is no such operation.", status=400)
        return time.monotonic() - began[request.operation] > WORKING

    @broker.last_operation
    def last_operation(request: osb.LastOperationRequest) -> osb.LastOperation:
        return osb.LastOperation.succeeded() if ended(request) else osb.LastOperation.in_progress("Working")

    @broker.last_binding_operation
    def last_binding_operation(request: osb.LastBindingOperationRequest) -> osb.LastOperation:
        if not ended(request):
            return osb.LastOperation.in_progress()
        return osb.LastOperation.succeeded(result=results.get(request.operation))

    def bind(request: osb.BindRequest) -> osb.Binding | osb.Accepted:
        result = _binding(request)
        if not request.offering.bindings_retrievable:
            return result
        response = accepted(request)
        results[response.operation] = result
        return response

    broker.provision(accepted)
    broker.update(accepted)
    broker.deprovision(accepted)
    broker.bind(bind)
    broker.unbind(accepted)


def background(broker: osb.Broker) -> None:
    """Register background handlers that are generators."""

    def work(result: Callable[[Any], Any]) -> Callable[[Any], Generator[str, None, Any]]:
        def handle(request: Any) -> Generator[str, None, Any]:
            yield "Beginning"
            time.sleep(WORKING / 2)
            yield "In progress"
            time.sleep(WORKING / 2)
            return result(request)

        return handle

    broker.provision(background=True)(work(lambda _: osb.Provisioned()))
    broker.update(background=True)(work(lambda _: osb.Updated()))
    broker.deprovision(background=True)(work(lambda _: osb.Deprovisioned()))
    broker.bind(offering=DRAINS.id)(_binding)
    broker.bind(offering=DATABASES.id, background=True)(work(_binding))
    broker.unbind(background=True)(work(lambda _: osb.Unbound()))


@contextmanager
def with_store(
    url: str, style: Callable[[osb.Broker], None], auth: Authenticator | None = None, **options: Any
) -> Iterator[Flask]:
    """Build a broker with a store, which is closed at the end."""
    broker = _new_broker(auth, store=Store(url, encryption_keys=[KEY]))
    style(broker)
    app = make_app(broker, **options)
    app.after_request(_without_retry_after)
    yield app
    stop(broker)


def _without_retry_after(response: Response) -> Response:
    """Set a short Retry-After: its whole seconds are too long for these operations."""
    response.headers.pop("Retry-After", None)
    return response


# Without a store


class _Work(Struct):
    """An operation that ends after a number of polls."""

    kind: str
    attributes: object
    polls_left: int
    key: str = ""

    def __post_init__(self) -> None:
        self.key = f"{self.kind}-{uuid4()}"


class _Resource(Struct):
    """A service instance or a service binding."""

    service: osb.ServiceOffering
    plan: osb.ServicePlan
    attributes: object
    parameters: dict[str, Any]
    bindings: dict[str, _Resource] = {}
    work: _Work | None = None
    done: _Work | None = None
    result: osb.Binding | None = None
    next_plan: osb.ServicePlan | None = None
    next_parameters: dict[str, Any] = {}

    @property
    def in_progress(self) -> str | None:
        return self.work.kind if self.work is not None else None


class WithoutStore:
    """A broker without a store, which keeps its resources in two dicts.

    Args:
        polls: The number of polls until an operation ends; 0 for synchronous responses.
    """

    def __init__(self, polls: int = 0) -> None:
        self.polls = polls
        self.instances: dict[str, _Resource] = {}
        self.deleted: dict[tuple[str, ...], _Work] = {}
        self.lock = Lock()
        self.broker = _new_broker()
        for name in (
            "provision",
            "update",
            "deprovision",
            "bind",
            "unbind",
            "get_instance",
            "get_binding",
            "last_operation",
            "last_binding_operation",
        ):
            getattr(self.broker, name)(self._one_at_a_time(getattr(self, name)))
        self.app = make_app(self.broker)

    def _one_at_a_time(self, handler: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def handle(request: Any) -> Any:
            with self.lock:
                return handler(request)

        return handle

    def _instance(self, request: Any) -> _Resource:
        try:
            return self.instances[request.instance_id]
        except KeyError:
            raise osb.InstanceDoesNotExist from None

    def _begin(self, resource: _Resource, kind: str, attributes: object, request: Any) -> osb.Accepted:
        if not request.accepts_incomplete:
            raise osb.AsyncRequired
        resource.work = _Work(kind, attributes, self.polls)
        return osb.Accepted(operation=resource.work.key)

    def _go_on(self, resource: _Resource, kind: str, attributes: object, request: Any) -> osb.Accepted:
        """Respond to a repeated request during an operation."""
        if resource.work is None or (resource.work.kind, resource.work.attributes) != (kind, attributes):
            raise osb.ConcurrencyError
        if not request.accepts_incomplete:
            raise osb.AsyncRequired
        return osb.Accepted(operation=resource.work.key)

    # Instances

    def provision(self, request: osb.ProvisionRequest) -> osb.Provisioned | osb.Accepted:
        attributes = (request.plan.id, request.parameters, request.organization_guid, request.space_guid)
        existing = self.instances.get(request.instance_id)
        if existing is not None:
            if existing.attributes != attributes:
                raise osb.InstanceAlreadyExists
            if existing.in_progress:
                return self._go_on(existing, "provision", attributes, request)
            return osb.Provisioned(exists=True)
        if self.polls and not request.accepts_incomplete:
            raise osb.AsyncRequired
        resource = _Resource(request.offering, request.plan, attributes, dict(request.parameters), {})
        self.instances[request.instance_id] = resource
        return self._begin(resource, "provision", attributes, request) if self.polls else osb.Provisioned()

    def update(self, request: osb.UpdateRequest) -> osb.Updated | osb.Accepted:
        resource = self._instance(request)
        plan = request.plan if "plan_id" in request.body and request.plan else resource.plan
        if plan is not resource.plan and not resource.plan.plan_updateable:
            raise osb.PlanChangeNotSupported
        attributes = (plan.id, request.parameters)
        if resource.in_progress:
            return self._go_on(resource, "update", attributes, request)
        after = {**resource.parameters, **request.parameters}
        if not self.polls or (plan, after) == (resource.plan, resource.parameters):
            resource.plan, resource.parameters = plan, after
            return osb.Updated()
        accepted = self._begin(resource, "update", attributes, request)
        resource.next_plan, resource.next_parameters = plan, after
        return accepted

    def deprovision(self, request: osb.DeprovisionRequest) -> osb.Deprovisioned | osb.Accepted:
        resource = self._instance(request)
        if resource.in_progress == "deprovision":
            return self._go_on(resource, "deprovision", None, request)
        if resource.in_progress == "update":
            raise osb.ConcurrencyError
        if self.polls:
            return self._begin(resource, "deprovision", None, request)
        del self.instances[request.instance_id]
        return osb.Deprovisioned()

    def get_instance(self, request: osb.GetInstanceRequest) -> osb.InstanceDetails:
        resource = self._instance(request)
        if resource.in_progress == "update":
            raise osb.ConcurrencyError
        if resource.in_progress == "provision":
            raise osb.InstanceDoesNotExist
        return osb.InstanceDetails(
            service_id=resource.service.id, plan_id=resource.plan.id, parameters=resource.parameters
        )

    # Bindings

    def bind(self, request: osb.BindRequest) -> osb.Binding | osb.Accepted:
        instance = self._instance(request)
        if instance.in_progress:
            raise osb.ConcurrencyError
        attributes = (request.parameters, request.app_guid, request.predecessor)
        existing = instance.bindings.get(request.binding_id)
        if existing is not None:
            if existing.attributes != attributes:
                raise osb.BindingAlreadyExists
            if existing.in_progress:
                return self._go_on(existing, "bind", attributes, request)
            assert existing.result is not None
            return osb.Binding(
                exists=True,
                credentials=existing.result.credentials,
                syslog_drain_url=existing.result.syslog_drain_url,
            )
        parameters = dict(request.parameters)
        if request.predecessor is not None:
            before = instance.bindings.get(request.predecessor)
            if before is None:
                raise osb.BindingDoesNotExist
            parameters = parameters or before.parameters
        slow = self.polls and request.offering.bindings_retrievable
        if slow and not request.accepts_incomplete:
            raise osb.AsyncRequired
        result = _binding(request)
        resource = _Resource(request.offering, request.plan, attributes, parameters, result=result)
        instance.bindings[request.binding_id] = resource
        return self._begin(resource, "bind", attributes, request) if slow else result

    def _bound(self, request: Any) -> _Resource:
        instance = self.instances.get(request.instance_id)
        resource = instance.bindings.get(request.binding_id) if instance else None
        if resource is None:
            raise osb.BindingDoesNotExist
        return resource

    def get_binding(self, request: osb.GetBindingRequest) -> osb.Binding:
        resource = self._bound(request)
        if resource.in_progress == "bind":
            raise osb.BindingDoesNotExist
        assert resource.result is not None
        return osb.Binding(credentials=resource.result.credentials, parameters=resource.parameters)

    def unbind(self, request: osb.UnbindRequest) -> osb.Unbound | osb.Accepted:
        resource = self._bound(request)
        if resource.in_progress == "unbind":
            return self._go_on(resource, "unbind", None, request)
        if self.polls:
            return self._begin(resource, "unbind", None, request)
        del self.instances[request.instance_id].bindings[request.binding_id]
        return osb.Unbound()

    # Polls

    def last_operation(self, request: osb.LastOperationRequest) -> osb.LastOperation:
        resource = self.instances.get(request.instance_id)
        return self._poll((request.instance_id,), resource, request.operation, osb.InstanceDoesNotExist)

    def last_binding_operation(self, request: osb.LastBindingOperationRequest) -> osb.LastOperation:
        instance = self.instances.get(request.instance_id)
        resource = instance.bindings.get(request.binding_id) if instance else None
        of = (request.instance_id, request.binding_id)
        return self._poll(of, resource, request.operation, osb.BindingDoesNotExist)

    def _poll(
        self,
        of: tuple[str, ...],
        resource: _Resource | None,
        operation: str | None,
        missing: type[osb.BrokerError],
    ) -> osb.LastOperation:
        work = self.deleted.get(of) if resource is None else resource.work or resource.done
        if resource is None and work is None:
            raise missing
        if operation is not None and (work is None or operation != work.key):
            raise osb.BrokerError("There is no such operation.", status=400)
        if resource is None or work is None or resource.work is None:
            return osb.LastOperation.succeeded()
        work.polls_left -= 1
        if work.polls_left > 0:
            return osb.LastOperation.in_progress("Working", retry_after=0)
        self._finish(of, resource, work)
        return osb.LastOperation.succeeded()

    def _finish(self, of: tuple[str, ...], resource: _Resource, work: _Work) -> None:
        resource.work, resource.done = None, work
        if work.kind == "update" and resource.next_plan is not None:
            resource.plan, resource.parameters = resource.next_plan, resource.next_parameters
        if work.kind == "deprovision":
            del self.instances[of[0]]
            self.deleted[of] = work
        if work.kind == "unbind":
            del self.instances[of[0]].bindings[of[1]]
            self.deleted[of] = work
