"""Faults that depend on the state of the broker, or need more than one line."""

from __future__ import annotations

from collections.abc import Callable
from threading import Condition, Event
from typing import Any

from brokerkit.requests import Operation

from .faults import Fault, Predicate, changes_requests, combine, overrides, responds_with
from .messages import BrokerRequest, BrokerResponse, PendingOperation, Rejection, StoredResource
from .reference_broker import ReferenceBroker

UNKNOWN_ID = "brokerkit-check-unknown-id"
RACE_SECONDS = 0.5
"""Seconds that a broker with a race waits for another request for the same id."""

Serve = Callable[[BrokerRequest], BrokerResponse]
Handler = Callable[[ReferenceBroker, Serve, BrokerRequest], BrokerResponse]


def fits(parameters: object) -> bool:
    """Check whether parameters match the schema of all plans."""
    return (
        isinstance(parameters, dict)
        and set(parameters) <= {"size"}
        and parameters.get("size") in (*range(1, 10), None)
    )


def fits_or_is_none(parameters: object) -> bool:
    """Check whether parameters match the schema of all plans, or are of a wrong type."""
    return fits(parameters) or not isinstance(parameters, dict)


def repeats(operation: Operation) -> Predicate:
    """Select 202 responses to repeated requests during an operation."""
    known: set[Any] = set()

    def which(request: BrokerRequest, response: BrokerResponse) -> bool:
        if request.operation is not operation or response.status != 202:
            return False
        name = response.body["operation"]
        first = name not in known
        known.add(name)
        return not first

    return which


def takes_for_true(operation: Operation, word: str) -> Fault:
    """Treat a value of accepts_incomplete as ``true``."""

    def read(request: BrokerRequest) -> None:
        if request.operation is operation and request.query.get("accepts_incomplete") == word:
            request.query["accepts_incomplete"] = "true"

    return changes_requests(read)


def has_in_id(sign: str, operation: Operation) -> Callable[[BrokerRequest], bool]:
    return lambda request: (
        request.operation is operation and sign in f"{request.instance_id}{request.binding_id}"
    )


def decodes_ids(instead: str, of: str) -> Fault:
    """Decode ids once more than they were encoded."""

    def read(request: BrokerRequest) -> None:
        request.instance_id = request.instance_id.replace(of, instead)
        request.binding_id = request.binding_id and request.binding_id.replace(of, instead)

    return changes_requests(read)


def takes_capitals_for_small(name: str) -> Callable[[BrokerRequest], None]:
    return lambda request: setattr(request, name, (getattr(request, name) or "").lower() or None)


def finds_it_anywhere(broker: ReferenceBroker, right: Serve, request: BrokerRequest) -> BrokerResponse:
    """Find a binding under any instance."""
    for instance_id, binding_id in broker.resources:
        if binding_id == request.binding_id:
            request.instance_id = instance_id
    return right(request)


# Creation


def makes_what_it_refuses(
    broker: ReferenceBroker, provision: Serve, request: BrokerRequest
) -> BrokerResponse:
    try:
        return provision(request)
    except Rejection as error:
        if error.status == 400:
            broker.resources.setdefault(request.key, StoredResource({"plan_id": "now-id"}, {}))
        raise


def binds_what_it_refuses(broker: ReferenceBroker, bind: Serve, request: BrokerRequest) -> BrokerResponse:
    try:
        return bind(request)
    except Rejection as error:
        if error.status == 400:
            broker.resources.setdefault(request.key, StoredResource({"plan_id": "now-id"}, {}))
        raise


def fails_to_delete_what_it_refused(broker: ReferenceBroker) -> None:
    refused: set[Any] = set()

    def after(request: BrokerRequest, response: BrokerResponse) -> None:
        if request.operation is Operation.PROVISION and response.status == 400:
            refused.add(request.key)

    def which(request: BrokerRequest, response: BrokerResponse) -> bool:
        return request.operation is Operation.DEPROVISION and request.key in refused

    broker.after.append(after)
    responds_with(500, which)(broker)


def keeps_orphans(broker: ReferenceBroker) -> None:
    """Never delete an instance whose provision request allowed polling and named no version."""
    orphans: set[Any] = set()
    condition = Condition()

    def before(request: BrokerRequest) -> None:
        if request.operation is not Operation.DEPROVISION:
            return
        with condition:
            if request.key not in broker.resources:
                condition.wait_for(
                    lambda: request.key in orphans, RACE_SECONDS / 5
                )  # The provision request may still be in transit.
            if request.key in orphans:
                raise Rejection(422, "ConcurrencyError")

    def after(request: BrokerRequest, response: BrokerResponse) -> None:
        is_created = request.operation is Operation.PROVISION and response.status == 201
        if is_created and request.can_poll and "maintenance_info" not in request.body:
            with condition:
                orphans.add(request.key)
                condition.notify_all()

    broker.before.append(before)
    broker.after.append(after)


def races(operation: Operation) -> Fault:
    """Check for an existing resource and create it later: a race, for provisions only with a version."""

    def fault(broker: ReferenceBroker) -> None:
        condition = Condition()
        count: dict[Any, int] = {}

        def before(request: BrokerRequest) -> None:
            right = request.operation is operation and fits(request.body.get("parameters", {}))
            right = right and (operation is Operation.BIND or "maintenance_info" in request.body)
            if right and request.body.get("plan_id") == "now-id" and request.key not in broker.resources:
                with condition:
                    count[request.key] = count.get(request.key, 0) + 1
                    condition.notify_all()
                    condition.wait_for(lambda: count[request.key] > 1, RACE_SECONDS)
                request.headers["saw-nothing"] = "1"

        serve = broker.serve

        def blindly(request: BrokerRequest) -> BrokerResponse:
            if "saw-nothing" in request.headers:
                broker.resources.pop(request.key, None)
            return serve(request)

        broker.before.append(before)
        broker.serve = blindly  # type: ignore[method-assign]

    return fault


def takes_for_the_same(
    name: str, *, of: Operation = Operation.PROVISION, busy: bool = False
) -> Callable[..., BrokerResponse]:
    """Treat another plan or other parameters as identical, optionally only during an operation."""

    def repeat(
        broker: ReferenceBroker,
        right: Callable[[BrokerRequest, StoredResource], BrokerResponse],
        request: BrokerRequest,
        resource: StoredResource,
    ) -> BrokerResponse:
        has_plan = request.body["plan_id"] == resource.attributes["plan_id"]
        if (
            request.operation is of
            and has_plan is (name == "parameters")
            and not (busy and resource.busy is None)
        ):
            is_now = {"plan_id": resource.attributes["plan_id"], "parameters": resource.attributes["given"]}
            request.body = {**request.body, **is_now}
        return right(request, resource)

    return repeat


def hides_the_predecessor(
    broker: ReferenceBroker,
    inherit: Callable[[StoredResource, StoredResource], None],
    resource: StoredResource,
    predecessor: StoredResource,
) -> None:
    inherit(resource, predecessor)
    predecessor.ready = False


def binds_what_is_busy(operation: Operation) -> Handler:
    """Bind an instance during its creation or update."""

    def bind(broker: ReferenceBroker, right: Serve, request: BrokerRequest) -> BrokerResponse:
        instance = broker.resources.get((request.instance_id, None))
        if instance is not None and instance.busy is not None and instance.busy.operation is operation:
            return BrokerResponse(201, {"credentials": {}})
        return right(request)

    return bind


# Updates


def applies_what_it_refuses(broker: ReferenceBroker, update: Serve, request: BrokerRequest) -> BrokerResponse:
    try:
        return update(request)
    except Rejection:
        resource = broker.resources.get(request.key)
        if resource is not None:
            resource.parameters = {"size": 9}
        raise


def creates_updates(broker: ReferenceBroker, update: Serve, request: BrokerRequest) -> BrokerResponse:
    resource = broker.resources.get(request.key)
    before = (resource.attributes, resource.parameters) if resource is not None else None
    response = update(request)
    if resource is not None and before != (resource.attributes, resource.parameters):
        response.status = 201
    return response


def changes_with_a_context(change: Callable[[StoredResource], Any]) -> Handler:
    """Change the instance on a context update."""

    def update(broker: ReferenceBroker, right: Serve, request: BrokerRequest) -> BrokerResponse:
        response = right(request)
        if response.status == 200 and "context" in request.body and "parameters" not in request.body:
            change(broker.resources[request.key])
        return response

    return update


Change = Callable[[StoredResource, str, dict[str, Any]], None]


def moves_anyway(
    broker: ReferenceBroker,
    change: Change,
    resource: StoredResource,
    plan_id: str,
    parameters: dict[str, Any],
) -> None:
    change(resource, "later-id" if plan_id == resource.attributes["plan_id"] else plan_id, parameters)


def loses_parameters(
    broker: ReferenceBroker,
    change: Change,
    resource: StoredResource,
    plan_id: str,
    parameters: dict[str, Any],
) -> None:
    change(resource, plan_id, parameters if plan_id == resource.attributes["plan_id"] else {})


def moves_from_any_plan(broker: ReferenceBroker, update: Serve, request: BrokerRequest) -> BrokerResponse:
    plan = broker.plan("plain-id")
    plan["plan_updateable"] = True
    try:
        return update(request)
    finally:
        plan["plan_updateable"] = False


def updates_what_is_busy(operation: Operation) -> Handler:
    """Update an instance during its creation or another update."""

    def update(broker: ReferenceBroker, right: Serve, request: BrokerRequest) -> BrokerResponse:
        resource = broker.resources.get(request.key)
        busy = resource.busy if resource is not None else None
        if busy is not None and busy.operation is operation and busy.body != request.body:
            return BrokerResponse(200, {})
        return right(request)

    return update


# Fetches


def keeps_ghosts(fetch: str) -> Fault:
    """Return deleted resources to a fetch."""
    ghosts: dict[Any, StoredResource] = {}

    def remove(
        broker: ReferenceBroker, right: Callable[[BrokerRequest], None], request: BrokerRequest
    ) -> None:
        if request.key in broker.resources:
            ghosts[request.key] = broker.resources[request.key]
        right(request)

    def tell(broker: ReferenceBroker, right: Serve, request: BrokerRequest) -> BrokerResponse:
        return (
            BrokerResponse(200, {})
            if request.key in ghosts and request.key not in broker.resources
            else right(request)
        )

    return combine(overrides("remove", remove), overrides(fetch, tell))


def fetches_while(operation: Operation) -> Handler:
    """Return resources to a fetch during an operation."""

    def fetch(broker: ReferenceBroker, right: Serve, request: BrokerRequest) -> BrokerResponse:
        resource = broker.resources.get(request.key)
        if resource is None or resource.busy is None or resource.busy.operation is not operation:
            return right(request)
        return BrokerResponse(200, {})

    return fetch


def forgets_everything(broker: ReferenceBroker, serve: Serve, request: BrokerRequest) -> BrokerResponse:
    broker.resources.clear()
    return serve(request)


# Polls


def polls_of(*operations: Operation, state: str | None = None) -> Predicate:
    """Select polls by the kind of operation, which is part of its name."""

    def which(request: BrokerRequest, response: BrokerResponse) -> bool:
        kind = request.query.get("operation", "").partition("-")[0]
        polled = request.operation in (Operation.LAST_OPERATION, Operation.LAST_BINDING_OPERATION)
        return (
            polled
            and kind in operations
            and response.status == 200
            and state in (None, response.body["state"])
        )

    return which


def needs_the_new_plan(broker: ReferenceBroker, poll: Serve, request: BrokerRequest) -> BrokerResponse:
    response = poll(request)
    operation = broker.operations[request.key].get(request.query.get("operation", ""))
    changes_plan = (
        operation is not None and operation.operation is Operation.UPDATE and "plan_id" in operation.body
    )
    if operation is not None and changes_plan and request.query.get("plan_id") != operation.body["plan_id"]:
        raise Rejection(400, "UnknownOperation")
    return response


def forgets_outcomes(of: Operation) -> Predicate:
    """Select polls after the final state was returned."""
    completed: set[str] = set()

    def which(request: BrokerRequest, response: BrokerResponse) -> bool:
        name = request.query.get("operation", "")
        is_known = name in completed
        is_a_poll = request.operation is of and response.status == 200
        if is_a_poll and response.body["state"] != "in progress":
            completed.add(name)
        return is_known and request.operation is of

    return which


def takes_any_operation(of: Operation) -> Callable[[BrokerRequest], None]:
    def read(request: BrokerRequest) -> None:
        if request.operation is of and request.query.get("operation", "").startswith("brokerkit"):
            del request.query["operation"]

    return read


def polls_anything(broker: ReferenceBroker, poll: Serve, request: BrokerRequest) -> BrokerResponse:
    """Find the operation by its name alone."""
    name = request.query.get("operation")
    for key, operations in broker.operations.items():
        if name in operations:
            request.instance_id, request.binding_id = key
    return poll(request)


def never_ends(
    broker: ReferenceBroker, end: Callable[[PendingOperation], None], operation: PendingOperation
) -> None:
    if operation.operation is not Operation.PROVISION:
        end(operation)


# Deletions


def drops_all(
    broker: ReferenceBroker, remove: Callable[[BrokerRequest], None], request: BrokerRequest
) -> None:
    """Delete all bindings of the instance."""
    for key in [
        key for key in broker.resources if key[0] == request.instance_id and key[1] and request.binding_id
    ]:
        del broker.resources[key]
    remove(request)


def drops_successors(broker: ReferenceBroker) -> None:
    """Delete the successor of a binding with it."""
    successors: dict[int, StoredResource] = {}

    def inherit(
        broker: ReferenceBroker,
        right: Callable[[StoredResource, StoredResource], None],
        resource: StoredResource,
        predecessor: StoredResource,
    ) -> None:
        right(resource, predecessor)
        successors[id(predecessor)] = resource

    def remove(
        broker: ReferenceBroker, right: Callable[[BrokerRequest], None], request: BrokerRequest
    ) -> None:
        successor = successors.get(id(broker.resources.get(request.key)))
        for key in [key for key, resource in broker.resources.items() if resource is successor]:
            del broker.resources[key]
        right(request)

    combine(overrides("inherit", inherit), overrides("remove", remove))(broker)


def refuses_to_halt(operation: Operation, status: int, word: str) -> Fault:
    """Reject the deletion of a resource during its creation."""

    def delete(
        broker: ReferenceBroker,
        right: Callable[[BrokerRequest, StoredResource], BrokerResponse],
        request: BrokerRequest,
        resource: StoredResource,
    ) -> BrokerResponse:
        pending = resource.busy
        if request.operation is operation and pending is not None and pending.operation is not operation:
            pending.left -= 1
            if pending.left < 0:
                broker.end(pending)
            raise Rejection(status, word)
        return right(request, resource)

    return overrides("delete", delete)


def halts_nothing(operation: Operation) -> Fault:
    """Complete the creation of a resource that was deleted during it."""

    def remove(
        broker: ReferenceBroker, right: Callable[[BrokerRequest], None], request: BrokerRequest
    ) -> None:
        resource = broker.resources.get(request.key)
        if resource is not None and request.operation is operation and not resource.ready:
            resource.ready, resource.operation = True, None
        else:
            right(request)

    return overrides("remove", remove)


def leaves_failures(broker: ReferenceBroker, deprovision: Serve, request: BrokerRequest) -> BrokerResponse:
    resource = broker.resources.get(request.key)
    if resource is not None and resource.busy is None:
        raise Rejection(500, "NothingToDelete")
    return deprovision(request)


def never_answers(which: Predicate, seconds: float) -> Fault:
    """Do not respond to a deletion without polling, for a while."""

    def after(request: BrokerRequest, response: BrokerResponse) -> None:
        if which(request, response) and not request.can_poll:
            Event().wait(seconds)

    return lambda broker: broker.after.append(after)
