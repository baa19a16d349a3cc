"""Behaviour of the correct variants that depends on the state of the broker."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from threading import Condition
from typing import Any

from brokerkit.requests import Operation

from .faults import Fault, changes_requests, overrides
from .faulty.faulty import LOGIN
from .messages import BrokerRequest, BrokerResponse, PendingOperation, Rejection, StoredResource
from .reference_broker import ReferenceBroker
from .stateful_faults import RACE_SECONDS, Serve


def refuses_with_bindings(
    broker: ReferenceBroker, deprovision: Serve, request: BrokerRequest
) -> BrokerResponse:
    if any(key[0] == request.instance_id and key[1] is not None for key in broker.resources):
        raise Rejection(400, "BindingsLeft")
    return deprovision(request)


def dislikes_parameters(
    broker: ReferenceBroker,
    check: Callable[..., None],
    plan_id: str,
    request: dict[str, Any],
    resource: str,
    action: str,
) -> None:
    """Accept parameters that the schema rejects."""
    if request.get("parameters") and action == "create":
        raise Rejection(400, "BadParameters")
    check(plan_id, request, resource, action)


def dislikes_parameters_while_busy(
    broker: ReferenceBroker, update: Serve, request: BrokerRequest
) -> BrokerResponse:
    resource = broker.resources.get(request.key)
    is_other = resource is not None and resource.busy is not None and resource.busy.body != request.body
    if is_other and request.body.get("parameters"):
        raise Rejection(400, "BadParameters")
    return update(request)


def hides_what_is_made(broker: ReferenceBroker) -> None:
    """Return 404 for an instance until it is created."""

    def hide(broker: ReferenceBroker, right: Serve, request: BrokerRequest) -> BrokerResponse:
        instance = broker.resources.get((request.instance_id, None))
        if instance is not None and not instance.ready:
            raise Rejection(404, "NotFound")
        return right(request)

    overrides("bind", hide)(broker)
    overrides("update", hide)(broker)


def completes_early(
    broker: ReferenceBroker, which: Callable[[PendingOperation], bool] = lambda _: True
) -> None:
    """Complete an operation on any other request for its instance than the first poll."""
    polls = (Operation.LAST_OPERATION, Operation.LAST_BINDING_OPERATION)

    def end(request: BrokerRequest) -> None:
        for key, operations in broker.operations.items():
            if key[0] == request.instance_id and request.operation not in polls:
                for operation in operations.values():
                    if operation.is_in_progress and which(operation):
                        broker.end(operation)

    broker.before.append(end)


def provisions_early(broker: ReferenceBroker) -> None:
    """Complete only provisions early."""
    completes_early(broker, lambda operation: operation.operation is Operation.PROVISION)


def starts_operation_per_update(broker: ReferenceBroker) -> None:
    """Start an operation for each update; the first of a kind completes early."""
    known: list[Any] = []

    def is_quick(operation: PendingOperation) -> bool:
        return operation.operation is Operation.UPDATE and operation.quick

    def update(broker: ReferenceBroker, right: Serve, request: BrokerRequest) -> BrokerResponse:
        resource = broker.resources.get(request.key)
        response = right(request)
        if (
            response.status == 200
            and resource is not None
            and broker.is_asynchronous(_plan_of(resource), request)
        ):
            response = broker.start(request, resource, lambda: None)
        if response.status == 202 and resource is not None and resource.busy is not None:
            resource.busy.quick = request.body not in known
            known.append(request.body)
        return response

    overrides("update", update)(broker)
    completes_early(broker, is_quick)


def _plan_of(resource: StoredResource) -> str:
    return str(resource.attributes["plan_id"])


def has_room_for_one(of: Callable[[StoredResource], object]) -> Fault:
    """Allow one instance of a kind."""

    def provision(broker: ReferenceBroker, right: Serve, request: BrokerRequest) -> BrokerResponse:
        broker.check_plan(request.body)
        there = [
            resource for key, resource in broker.resources.items() if key[1] is None and key != request.key
        ]
        if request.key not in broker.resources and of(StoredResource(request.body, {})) in {
            of(resource) for resource in there
        }:
            raise Rejection(400, "QuotaExceeded")
        return right(request)

    return overrides("provision", provision)


def limits_rate(broker: ReferenceBroker) -> None:
    """Reject every third request with 429."""
    count = iter(range(10**9))
    known: set[str] = set()

    def before(request: BrokerRequest) -> None:
        name = request.headers["x-broker-api-request-identity"]
        if name not in known:
            known.add(name)
            if next(count) % 3 == 2:
                raise Rejection(429, "TooManyRequests", Retry_After="0")

    broker.before.append(before)


def knows_applications(broker: ReferenceBroker) -> None:
    """Require UUIDs as ids of applications."""

    def before(request: BrokerRequest) -> None:
        app_guid = request.body.get("app_guid")
        if isinstance(app_guid, str) and not re.fullmatch(r"[0-9a-f-]{36}", app_guid):
            raise Rejection(400, "NoSuchApplication")

    broker.before.append(before)


def changes_other_parameters(offering: dict[str, Any], plan: dict[str, Any]) -> None:
    """Accept other parameters for updates than for provisions."""
    of_instances = plan["schemas"]["service_instance"]
    parameters = of_instances["update"]["parameters"]
    levels = {**parameters, "properties": {"level": parameters["properties"]["size"]}}
    schemas = {**of_instances, "update": {"parameters": levels}}
    plan["schemas"] = {**plan["schemas"], "service_instance": schemas}


def lets_wait(operation: Operation) -> Fault:
    """Process one request for an id at a time, and reject concurrent ones."""

    def fault(broker: ReferenceBroker) -> None:
        condition = Condition()
        busy: set[Any] = set()
        repeat: set[Any] = set()

        def before(request: BrokerRequest) -> None:
            if request.operation is not operation:
                return
            with condition:
                if request.key in busy:
                    repeat.add(request.key)
                    condition.notify_all()
                    raise Rejection(422, "ConcurrencyError")
                busy.add(request.key)
                if "maintenance_info" in request.body:
                    condition.wait_for(lambda: request.key in repeat, RACE_SECONDS)

        def after(request: BrokerRequest, response: BrokerResponse) -> None:
            if request.operation is operation and response.word != "ConcurrencyError":
                with condition:
                    busy.discard(request.key)

        broker.before.append(before)
        broker.after.append(after)

    return fault


def is_never_updated(offering: dict[str, Any], plan: dict[str, Any]) -> None:
    offering.pop("allow_context_updates")
    for sibling in offering["plans"]:
        sibling["plan_updateable"] = False
        sibling.pop("schemas", None)


def has_login(username: str, password: str) -> Fault:
    """Require other credentials."""
    expected = f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"

    def read(request: BrokerRequest) -> None:
        if "authorization" in request.headers:
            request.headers["authorization"] = (
                LOGIN if request.headers["authorization"] == expected else "Basic x"
            )

    return changes_requests(read)
