"""A correct service broker that is independent of brokerkit; with a fault added, it tests the checker.

It stores everything in memory. An operation ends after a number of polls, so that no test waits for one.
Where the specification allows several behaviours, it differs from brokerkit.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from threading import RLock
from typing import Any

import jsonschema_rs

from brokerkit.requests import Operation

from .messages import (
    BrokerRequest,
    BrokerResponse,
    Node,
    PendingOperation,
    Rejection,
    StoredResource,
    read_json,
)

POLLS = 2
"""The number of polls that return "in progress"."""

_SIZES = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {"size": {"type": "integer", "minimum": 1, "maximum": 9}},
    "additionalProperties": False,
}
_SCHEMAS = {
    "service_instance": {"create": {"parameters": _SIZES}, "update": {"parameters": _SIZES}},
    "service_binding": {"create": {"parameters": _SIZES}},
}


def _plan(name: str, **fields: Any) -> Node:
    merged = {"bindable": True, "free": False, "plan_updateable": True, **fields}
    return {"id": f"{name}-id", "name": name, "description": f"The plan {name}", **merged}


CATALOG: Node = {
    "services": [
        {
            "id": "db-id",
            "name": "db",
            "description": "Databases",
            "bindable": True,
            "instances_retrievable": True,
            "bindings_retrievable": True,
            "allow_context_updates": True,
            "plans": [
                _plan(
                    "now",
                    schemas=_SCHEMAS,
                    binding_rotatable=True,
                    maintenance_info={"version": "1.0.0"},
                ),
                _plan("later", schemas=_SCHEMAS),
                _plan("plain", bindable=False, plan_updateable=False),
            ],
        },
        {
            "id": "log-id",
            "name": "log",
            "description": "Logs of applications",
            "bindable": True,
            "requires": ["syslog_drain"],
            "plans": [
                _plan("app", plan_updateable=False),
                _plan("doomed", plan_updateable=False),
                _plan("slow", bindable=False, plan_updateable=False),
            ],
        },
    ]
}
"""The catalog. `later` and `slow` are asynchronous, `doomed` always fails, `app` requires an application."""


Before = Callable[[BrokerRequest], None]
After = Callable[[BrokerRequest, BrokerResponse], BrokerResponse | None]

_BODIES = (Operation.PROVISION, Operation.UPDATE, Operation.BIND)
_TYPES = {
    str: ("service_id", "plan_id", "organization_guid", "space_guid", "app_guid", "predecessor_binding_id"),
    dict: ("parameters", "context", "maintenance_info", "bind_resource", "previous_values"),
}
_ATTRIBUTES = ("service_id", "plan_id", "organization_guid", "space_guid", "bind_resource", "app_guid")


class ReferenceBroker:
    """The broker. The functions in `before` and `after` may change requests and responses."""

    def __init__(self) -> None:
        self.catalog = deepcopy(CATALOG)
        self.resources: dict[tuple[str, str | None], StoredResource] = {}
        self.operations: dict[tuple[str, str | None], dict[str, PendingOperation]] = {}
        self.before: list[Before] = []
        self.after: list[After] = []
        self.lock = RLock()
        self.count = 0

    def respond(self, request: BrokerRequest) -> BrokerResponse:
        try:
            for change in self.before:
                change(request)
            with self.lock:
                response = self.serve(request)
        except Rejection as error:
            description = {"description": f"rejected: {error.word}"}
            body = {} if error.status == 410 else {"error": error.word, **description}
            response = BrokerResponse(error.status, body, error.headers, error.word)
        echo = request.headers.get("x-broker-api-request-identity")
        if echo:
            response.headers = {**response.headers, "X-Broker-API-Request-Identity": echo}
        for after in self.after:
            response = after(request, response) or response
        return response

    def serve(self, request: BrokerRequest) -> BrokerResponse:
        self.check_headers(request)
        if request.operation is None:
            raise Rejection(404, "NoSuchEndpoint")
        if request.operation in _BODIES:
            self.read(request)
        if request.operation is Operation.CATALOG:
            return self.get_catalog(request)
        method: Callable[[BrokerRequest], BrokerResponse] = getattr(self, request.operation)
        return method(request)

    # Checks of all requests

    def check_headers(self, request: BrokerRequest) -> None:
        scheme, _, login = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic" or _decode(login) != b"platform:s3cret":
            raise Rejection(401, "Unauthorized", WWW_Authenticate='Basic realm="db"')
        version_header = request.headers.get("x-broker-api-version")
        if version_header is None:
            raise Rejection(400, "VersionMissing")
        version = re.fullmatch(r"(\d+)\.(\d+)", version_header)
        if version is None:
            raise Rejection(400, "VersionMalformed")
        if int(version[1]) != 2:
            raise Rejection(412, "VersionOfAnotherTime")
        if int(version[2]) < 13:
            raise Rejection(412, "VersionTooOld")
        identity = request.headers.get("x-broker-api-originating-identity")
        if identity is not None and not isinstance(read_json(_decode(identity.partition(" ")[2])), dict):
            raise Rejection(400, "IdentityMalformed")

    def read(self, request: BrokerRequest) -> None:
        body = read_json(request.raw)
        if not isinstance(body, dict):
            raise Rejection(400, "Unreadable")
        request.body = {name: value for name, value in body.items() if value is not None}
        for kind, names in _TYPES.items():
            if any(not isinstance(request.body[name], kind) for name in names if name in request.body):
                raise Rejection(400, "WrongType")

    def plans(self) -> Iterator[tuple[Node, Node]]:
        return ((offering, plan) for offering in self.catalog["services"] for plan in offering["plans"])

    def plan(self, plan_id: str) -> Node:
        return next((plan for _, plan in self.plans() if plan["id"] == plan_id), {})

    def check_ids(self, given: Mapping[str, Any], *names: str) -> None:
        for name in names:
            if not given.get(name):
                raise Rejection(400, "Missing", missing=name)

    def check_plan(self, body: Node) -> None:
        self.check_ids(body, "service_id", "plan_id")
        service_id, plan_id = body["service_id"], body["plan_id"]
        if service_id not in {offering["id"] for offering, _ in self.plans()}:
            raise Rejection(400, "UnknownService")
        if not self.plan(plan_id):
            raise Rejection(400, "UnknownPlan")
        if (service_id, plan_id) not in {(offering["id"], plan["id"]) for offering, plan in self.plans()}:
            raise Rejection(400, "PlanOfAnother")

    def check_parameters(self, plan_id: str, body: Node, resource: str, action: str) -> None:
        version = body.get("maintenance_info", {}).get("version")
        if version is not None and version != self.plan(plan_id).get("maintenance_info", {}).get("version"):
            raise Rejection(422, "MaintenanceInfoConflict")
        schema = self.plan(plan_id).get("schemas", {}).get(resource, {}).get(action, {}).get("parameters", {})
        if not jsonschema_rs.is_valid(schema, body.get("parameters", {})):
            raise Rejection(400, "BadParameters")

    def is_asynchronous(self, plan_id: str, request: BrokerRequest) -> bool:
        if plan_id not in ("later-id", "doomed-id", "slow-id"):
            return False
        if not request.can_poll:
            raise Rejection(422, "AsyncRequired")
        return True

    # Operations

    def start(
        self, request: BrokerRequest, resource: StoredResource, then: Callable[[], None]
    ) -> BrokerResponse:
        """Start an asynchronous operation."""
        assert request.operation is not None
        self.count += 1
        name = f"{request.operation}-{self.count}"
        resource.operation = PendingOperation(name, request.operation, request.body, then, POLLS)
        self.operations.setdefault(request.key, {})[name] = resource.operation
        return BrokerResponse(202, {"operation": name, **self.extra_fields(request)})

    def extra_fields(self, request: BrokerRequest) -> Node:
        """Return the fields that platforms read from the response to a provision or update (R-PROV-2)."""
        instances = (Operation.PROVISION, Operation.UPDATE)
        return {"dashboard_url": f"https://{request.instance_id}/"} if request.operation in instances else {}

    def last_operation(self, request: BrokerRequest) -> BrokerResponse:
        operations = self.operations.get(request.key)
        if operations is None:
            if request.key in self.resources:
                raise Rejection(400, "NothingToPoll")
            raise Rejection(404, "NotFound")
        name = request.query.get("operation", next(reversed(operations)))
        if name not in operations:
            raise Rejection(400, "UnknownOperation")
        operation = operations[name]
        if operation.is_in_progress:
            operation.left -= 1
            if operation.left < 0:
                self.end(operation)
        headers = {"Retry-After": "0"} if operation.is_in_progress else {}
        return BrokerResponse(
            200, {"state": operation.state, "description": f"It is {operation.state}"}, headers
        )

    last_binding_operation = last_operation

    def end(self, operation: PendingOperation) -> None:
        operation.state = "failed" if operation.body.get("plan_id") == "doomed-id" else "succeeded"
        if operation.state == "succeeded":
            operation.then()

    # Endpoints

    def get_catalog(self, request: BrokerRequest) -> BrokerResponse:
        etag = '"one"'
        if request.headers.get("if-none-match") == etag:
            return BrokerResponse(304, None, {"ETag": etag})
        return BrokerResponse(200, self.catalog, {"ETag": etag})

    def provision(self, request: BrokerRequest) -> BrokerResponse:
        body = request.body
        self.check_plan(body)
        for name in ("organization_guid", "space_guid"):
            if not body.get(name) and not body.get("context", {}).get(name):
                raise Rejection(400, "NoOrganization")
        self.check_parameters(body["plan_id"], body, "service_instance", "create")
        existing = self.resources.get(request.key)
        if existing is not None:
            return self.repeat(request, existing)
        waits = self.is_asynchronous(body["plan_id"], request)
        resource = self.resources[request.key] = _stored_resource(body)
        if waits:
            return self.start(request, resource, lambda: self.complete(request, resource))
        self.complete(request, resource)
        return BrokerResponse(201, self.extra_fields(request))

    def complete(self, request: BrokerRequest, resource: StoredResource) -> None:
        resource.ready = True

    def repeat(self, request: BrokerRequest, resource: StoredResource) -> BrokerResponse:
        """Respond to a PUT request for an existing resource."""
        if resource.is_being_deleted:
            raise Rejection(422, "ConcurrencyError")
        if _stored_resource(request.body).attributes != resource.attributes:
            raise Rejection(409, "Conflict")
        if resource.busy is not None and resource.busy.operation is request.operation:
            return BrokerResponse(202, {"operation": resource.busy.name, **self.extra_fields(request)})
        return BrokerResponse(
            200, self.binding(resource) if request.binding_id else self.extra_fields(request)
        )

    def get_instance(self, request: BrokerRequest) -> BrokerResponse:
        resource = self.resources.get(request.key)
        if resource is None or not resource.ready:
            raise Rejection(404, "NotFound")
        if resource.busy is not None:
            raise Rejection(422, "ConcurrencyError")
        ids = {name: resource.attributes[name] for name in ("service_id", "plan_id")}
        return BrokerResponse(
            200,
            {**ids, "parameters": resource.parameters, "dashboard_url": f"https://{request.instance_id}/"},
        )

    def update(self, request: BrokerRequest) -> BrokerResponse:
        body, resource = request.body, self.resources.get(request.key)
        self.check_ids(body, "service_id")
        if resource is None:
            raise Rejection(404, "NotFound")
        if resource.busy is not None:
            if resource.busy.operation is Operation.UPDATE and resource.busy.body == body:
                return BrokerResponse(202, {"operation": resource.busy.name, **self.extra_fields(request)})
            raise Rejection(422, "ConcurrencyError")
        before = resource.attributes["plan_id"]
        plan_id = str(body.get("plan_id", before))
        self.check_plan({"service_id": body["service_id"], "plan_id": plan_id})
        if plan_id != before and not self.plan(before)["plan_updateable"]:
            raise Rejection(422, "PlanNotUpdateable")
        self.check_parameters(plan_id, body, "service_instance", "update")
        parameters = {**resource.parameters, **body.get("parameters", {})}
        if plan_id == before and parameters == resource.parameters:
            return BrokerResponse(200, self.extra_fields(request))
        if self.is_asynchronous(before, request):
            return self.start(request, resource, lambda: self.change(resource, plan_id, parameters))
        self.change(resource, plan_id, parameters)
        return BrokerResponse(200, self.extra_fields(request))

    def change(self, resource: StoredResource, plan_id: str, parameters: Node) -> None:
        resource.attributes = {**resource.attributes, "plan_id": plan_id}
        resource.parameters = parameters

    def deprovision(self, request: BrokerRequest) -> BrokerResponse:
        self.check_ids(request.query, "service_id", "plan_id")
        resource = self.resources.get(request.key)
        if resource is None:
            raise Rejection(410, "Gone")
        return self.delete(request, resource)

    def delete(self, request: BrokerRequest, resource: StoredResource) -> BrokerResponse:
        if resource.busy is not None:
            if resource.busy.operation is request.operation:
                return BrokerResponse(202, {"operation": resource.busy.name})
            if resource.busy.operation is Operation.UPDATE:
                raise Rejection(422, "ConcurrencyError")
        waits = self.is_asynchronous(resource.attributes["plan_id"], request)
        if resource.busy is not None:
            self.cancel(resource.busy)
        if waits:
            return self.start(request, resource, lambda: self.remove(request))
        self.remove(request)
        return BrokerResponse(200, {})

    def cancel(self, operation: PendingOperation) -> None:
        """Cancel the creation of a resource (R-DEL-3)."""
        operation.state = "failed"

    def remove(self, request: BrokerRequest) -> None:
        for key in [key for key in self.resources if request.key in (key, (key[0], None))]:
            del self.resources[key]

    def bind(self, request: BrokerRequest) -> BrokerResponse:
        body, instance = request.body, self.resources.get((request.instance_id, None))
        self.check_plan(body)
        plan = self.plan(body["plan_id"])
        if instance is None:
            raise Rejection(404, "NotFound")
        if not plan.get("bindable", True):
            raise Rejection(400, "NotBindable")
        if instance.busy is not None:
            raise Rejection(422, "ConcurrencyError")
        if plan["id"] == "app-id" and not body.get("app_guid"):
            raise Rejection(422, "RequiresApp")
        self.check_parameters(plan["id"], body, "service_binding", "create")
        predecessor_id = body.get("predecessor_binding_id")
        predecessor = self.resources.get((request.instance_id, predecessor_id)) if predecessor_id else None
        if predecessor_id and predecessor is None:
            raise Rejection(404, "NoPredecessor")
        existing = self.resources.get(request.key)
        if existing is not None:
            return self.repeat(request, existing)
        waits = self.is_asynchronous(plan["id"], request)
        resource = self.resources[request.key] = _stored_resource(body)
        if predecessor is not None:
            self.inherit(resource, predecessor)
        resource.uri = f"db://{request.binding_id}@{request.instance_id}"
        if waits:
            return self.start(request, resource, lambda: self.complete(request, resource))
        self.complete(request, resource)
        return BrokerResponse(201, self.binding(resource))

    def inherit(self, resource: StoredResource, predecessor: StoredResource) -> None:
        """Inherit the parameters of a predecessor (R-BIND-6)."""
        resource.parameters = resource.parameters or predecessor.parameters

    def binding(self, resource: StoredResource) -> Node:
        offering = resource.attributes["service_id"]
        drain = {"syslog_drain_url": "syslog://log.example.org"} if offering == "log-id" else {}
        times = {"expires_at": "2999-01-01T00:00:00.0Z", "renew_before": "2998-01-01T00:00:00.0Z"}
        endpoints = [{"host": "db.example.org", "ports": ["5432"]}]
        return {
            "credentials": {"uri": resource.uri},
            "endpoints": endpoints,
            "metadata": times,
            **drain,
        }

    def get_binding(self, request: BrokerRequest) -> BrokerResponse:
        resource = self.resources.get(request.key)
        if resource is None or not resource.ready:
            raise Rejection(404, "NotFound")
        return BrokerResponse(200, {**self.binding(resource), "parameters": resource.parameters})

    def unbind(self, request: BrokerRequest) -> BrokerResponse:
        self.check_ids(request.query, "service_id", "plan_id")
        resource = self.resources.get(request.key)
        if resource is None:
            raise Rejection(410, "Gone")
        return self.delete(request, resource)


def _stored_resource(body: Node) -> StoredResource:
    attributes = {name: body[name] for name in _ATTRIBUTES if name in body}
    attributes["given"] = body.get("parameters", {})
    return StoredResource(attributes, body.get("parameters", {}))


def _decode(text: str) -> bytes | None:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        return None
