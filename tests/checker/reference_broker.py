"""A service broker that is right, and not made with brokerkit: broken in one thing, it judges the checker.

It keeps everything in memory. An operation ends after it was polled a few times, so no test waits for one.
Where the rules allow several ways, it goes another one than brokerkit.
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

from .messages import Answer, Asked, Node, Refused, Thing, Work, read_json

POLLS = 2
"""How many polls an operation is in progress."""

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
    told = {"bindable": True, "free": False, "plan_updateable": True, **fields}
    return {"id": f"{name}-id", "name": name, "description": f"The plan {name}", **told}


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
            "description": "Logs, which are sent by applications",
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
"""What it offers: `later` and `slow` take a while, `doomed` never comes to be, `app` is for applications."""


Before = Callable[[Asked], None]
After = Callable[[Asked, Answer], Answer | None]

_BODIES = (Operation.PROVISION, Operation.UPDATE, Operation.BIND)
_TYPES = {
    str: ("service_id", "plan_id", "organization_guid", "space_guid", "app_guid", "predecessor_binding_id"),
    dict: ("parameters", "context", "maintenance_info", "bind_resource", "previous_values"),
}
_ATTRIBUTES = ("service_id", "plan_id", "organization_guid", "space_guid", "bind_resource", "app_guid")


class RightBroker:
    """Answers requests; `before` and `after` may change them and the answers."""

    def __init__(self) -> None:
        self.catalog = deepcopy(CATALOG)
        self.things: dict[tuple[str, str | None], Thing] = {}
        self.works: dict[tuple[str, str | None], dict[str, Work]] = {}
        self.before: list[Before] = []
        self.after: list[After] = []
        self.lock = RLock()
        self.count = 0

    def answer(self, asked: Asked) -> Answer:
        try:
            for change in self.before:
                change(asked)
            with self.lock:
                answer = self.serve(asked)
        except Refused as error:
            description = {"description": f"refused: {error.word}"}
            body = {} if error.status == 410 else {"error": error.word, **description}
            answer = Answer(error.status, body, error.headers, error.word)
        echo = asked.headers.get("x-broker-api-request-identity")
        if echo:
            answer.headers = {**answer.headers, "X-Broker-API-Request-Identity": echo}
        for after in self.after:
            answer = after(asked, answer) or answer
        return answer

    def serve(self, asked: Asked) -> Answer:
        self.admit(asked)
        if asked.operation is None:
            raise Refused(404, "NoSuchEndpoint")
        if asked.operation in _BODIES:
            self.read(asked)
        if asked.operation is Operation.CATALOG:
            return self.get_catalog(asked)
        method: Callable[[Asked], Answer] = getattr(self, asked.operation)
        return method(asked)

    # What all requests have in common

    def admit(self, asked: Asked) -> None:
        scheme, _, login = asked.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic" or _decoded(login) != b"platform:s3cret":
            raise Refused(401, "Unauthorized", WWW_Authenticate='Basic realm="db"')
        told = asked.headers.get("x-broker-api-version")
        if told is None:
            raise Refused(400, "VersionMissing")
        version = re.fullmatch(r"(\d+)\.(\d+)", told)
        if version is None:
            raise Refused(400, "VersionMalformed")
        if int(version[1]) != 2:
            raise Refused(412, "VersionOfAnotherTime")
        if int(version[2]) < 13:
            raise Refused(412, "VersionTooOld")
        identity = asked.headers.get("x-broker-api-originating-identity")
        if identity is not None and not isinstance(read_json(_decoded(identity.partition(" ")[2])), dict):
            raise Refused(400, "IdentityMalformed")

    def read(self, asked: Asked) -> None:
        body = read_json(asked.raw)
        if not isinstance(body, dict):
            raise Refused(400, "Unreadable")
        asked.body = {name: value for name, value in body.items() if value is not None}
        for kind, names in _TYPES.items():
            if any(not isinstance(asked.body[name], kind) for name in names if name in asked.body):
                raise Refused(400, "WrongType")

    def plans(self) -> Iterator[tuple[Node, Node]]:
        return ((offering, plan) for offering in self.catalog["services"] for plan in offering["plans"])

    def plan(self, plan_id: str) -> Node:
        return next((plan for _, plan in self.plans() if plan["id"] == plan_id), {})

    def check_ids(self, given: Mapping[str, Any], *names: str) -> None:
        for name in names:
            if not given.get(name):
                raise Refused(400, "Missing", missing=name)

    def check_plan(self, body: Node) -> None:
        self.check_ids(body, "service_id", "plan_id")
        service_id, plan_id = body["service_id"], body["plan_id"]
        if service_id not in {offering["id"] for offering, _ in self.plans()}:
            raise Refused(400, "UnknownService")
        if not self.plan(plan_id):
            raise Refused(400, "UnknownPlan")
        if (service_id, plan_id) not in {(offering["id"], plan["id"]) for offering, plan in self.plans()}:
            raise Refused(400, "PlanOfAnother")

    def check_parameters(self, plan_id: str, body: Node, resource: str, action: str) -> None:
        version = body.get("maintenance_info", {}).get("version")
        if version is not None and version != self.plan(plan_id).get("maintenance_info", {}).get("version"):
            raise Refused(422, "MaintenanceInfoConflict")
        schema = self.plan(plan_id).get("schemas", {}).get(resource, {}).get(action, {}).get("parameters", {})
        if not jsonschema_rs.is_valid(schema, body.get("parameters", {})):
            raise Refused(400, "BadParameters")

    def takes_a_while(self, plan_id: str, asked: Asked) -> bool:
        if plan_id not in ("later-id", "doomed-id", "slow-id"):
            return False
        if not asked.can_poll:
            raise Refused(422, "AsyncRequired")
        return True

    # Operations

    def begin(self, asked: Asked, thing: Thing, then: Callable[[], None]) -> Answer:
        """It takes a while."""
        assert asked.operation is not None
        self.count += 1
        name = f"{asked.operation}-{self.count}"
        thing.work = Work(name, asked.operation, asked.body, then, POLLS)
        self.works.setdefault(asked.key, {})[name] = thing.work
        return Answer(202, {"operation": name, **self.told(asked)})

    def told(self, asked: Asked) -> Node:
        """What platforms want to know of an instance at once (R-PROV-2)."""
        instances = (Operation.PROVISION, Operation.UPDATE)
        return {"dashboard_url": f"https://{asked.instance_id}/"} if asked.operation in instances else {}

    def last_operation(self, asked: Asked) -> Answer:
        works = self.works.get(asked.key)
        if works is None:
            if asked.key in self.things:
                raise Refused(400, "NothingToPoll")
            raise Refused(404, "NotFound")
        name = asked.query.get("operation", next(reversed(works)))
        if name not in works:
            raise Refused(400, "UnknownOperation")
        work = works[name]
        if work.goes_on:
            work.left -= 1
            if work.left < 0:
                self.end(work)
        headers = {"Retry-After": "0"} if work.goes_on else {}
        return Answer(200, {"state": work.state, "description": f"It is {work.state}"}, headers)

    last_binding_operation = last_operation

    def end(self, work: Work) -> None:
        work.state = "failed" if work.body.get("plan_id") == "doomed-id" else "succeeded"
        if work.state == "succeeded":
            work.then()

    # The endpoints

    def get_catalog(self, asked: Asked) -> Answer:
        etag = '"one"'
        if asked.headers.get("if-none-match") == etag:
            return Answer(304, None, {"ETag": etag})
        return Answer(200, self.catalog, {"ETag": etag})

    def provision(self, asked: Asked) -> Answer:
        body = asked.body
        self.check_plan(body)
        for name in ("organization_guid", "space_guid"):
            if not body.get(name) and not body.get("context", {}).get(name):
                raise Refused(400, "NoOrganization")
        self.check_parameters(body["plan_id"], body, "service_instance", "create")
        existing = self.things.get(asked.key)
        if existing is not None:
            return self.again(asked, existing)
        waits = self.takes_a_while(body["plan_id"], asked)
        thing = self.things[asked.key] = _thing(body)
        if waits:
            return self.begin(asked, thing, lambda: self.make(asked, thing))
        self.make(asked, thing)
        return Answer(201, self.told(asked))

    def make(self, asked: Asked, thing: Thing) -> None:
        thing.ready = True

    def again(self, asked: Asked, thing: Thing) -> Answer:
        """A PUT of what is there."""
        if thing.is_deleted_now:
            raise Refused(422, "ConcurrencyError")
        if _thing(asked.body).attributes != thing.attributes:
            raise Refused(409, "Conflict")
        if thing.busy is not None and thing.busy.asked is asked.operation:
            return Answer(202, {"operation": thing.busy.name, **self.told(asked)})
        return Answer(200, self.binding(thing) if asked.binding_id else self.told(asked))

    def get_instance(self, asked: Asked) -> Answer:
        thing = self.things.get(asked.key)
        if thing is None or not thing.ready:
            raise Refused(404, "NotFound")
        if thing.busy is not None:
            raise Refused(422, "ConcurrencyError")
        told = {name: thing.attributes[name] for name in ("service_id", "plan_id")}
        return Answer(
            200, {**told, "parameters": thing.parameters, "dashboard_url": f"https://{asked.instance_id}/"}
        )

    def update(self, asked: Asked) -> Answer:
        body, thing = asked.body, self.things.get(asked.key)
        self.check_ids(body, "service_id")
        if thing is None:
            raise Refused(404, "NotFound")
        if thing.busy is not None:
            if thing.busy.asked is Operation.UPDATE and thing.busy.body == body:
                return Answer(202, {"operation": thing.busy.name, **self.told(asked)})
            raise Refused(422, "ConcurrencyError")
        before = thing.attributes["plan_id"]
        plan_id = str(body.get("plan_id", before))
        self.check_plan({"service_id": body["service_id"], "plan_id": plan_id})
        if plan_id != before and not self.plan(before)["plan_updateable"]:
            raise Refused(422, "PlanNotUpdateable")
        self.check_parameters(plan_id, body, "service_instance", "update")
        parameters = {**thing.parameters, **body.get("parameters", {})}
        if plan_id == before and parameters == thing.parameters:
            return Answer(200, self.told(asked))
        if self.takes_a_while(before, asked):
            return self.begin(asked, thing, lambda: self.change(thing, plan_id, parameters))
        self.change(thing, plan_id, parameters)
        return Answer(200, self.told(asked))

    def change(self, thing: Thing, plan_id: str, parameters: Node) -> None:
        thing.attributes = {**thing.attributes, "plan_id": plan_id}
        thing.parameters = parameters

    def deprovision(self, asked: Asked) -> Answer:
        self.check_ids(asked.query, "service_id", "plan_id")
        thing = self.things.get(asked.key)
        if thing is None:
            raise Refused(410, "Gone")
        return self.delete(asked, thing)

    def delete(self, asked: Asked, thing: Thing) -> Answer:
        if thing.busy is not None:
            if thing.busy.asked is asked.operation:
                return Answer(202, {"operation": thing.busy.name})
            if thing.busy.asked is Operation.UPDATE:
                raise Refused(422, "ConcurrencyError")
        waits = self.takes_a_while(thing.attributes["plan_id"], asked)
        if thing.busy is not None:
            self.halt(thing.busy)
        if waits:
            return self.begin(asked, thing, lambda: self.drop(asked))
        self.drop(asked)
        return Answer(200, {})

    def halt(self, work: Work) -> None:
        """Give up what is being made (R-DEL-3)."""
        work.state = "failed"

    def drop(self, asked: Asked) -> None:
        for key in [key for key in self.things if asked.key in (key, (key[0], None))]:
            del self.things[key]

    def bind(self, asked: Asked) -> Answer:
        body, instance = asked.body, self.things.get((asked.instance_id, None))
        self.check_plan(body)
        plan = self.plan(body["plan_id"])
        if instance is None:
            raise Refused(404, "NotFound")
        if not plan.get("bindable", True):
            raise Refused(400, "NotBindable")
        if instance.busy is not None:
            raise Refused(422, "ConcurrencyError")
        if plan["id"] == "app-id" and not body.get("app_guid"):
            raise Refused(422, "RequiresApp")
        self.check_parameters(plan["id"], body, "service_binding", "create")
        predecessor_id = body.get("predecessor_binding_id")
        predecessor = self.things.get((asked.instance_id, predecessor_id)) if predecessor_id else None
        if predecessor_id and predecessor is None:
            raise Refused(404, "NoPredecessor")
        existing = self.things.get(asked.key)
        if existing is not None:
            return self.again(asked, existing)
        waits = self.takes_a_while(plan["id"], asked)
        thing = self.things[asked.key] = _thing(body)
        if predecessor is not None:
            self.succeed(thing, predecessor)
        thing.uri = f"db://{asked.binding_id}@{asked.instance_id}"
        if waits:
            return self.begin(asked, thing, lambda: self.make(asked, thing))
        self.make(asked, thing)
        return Answer(201, self.binding(thing))

    def succeed(self, thing: Thing, predecessor: Thing) -> None:
        """Take the parameters of a predecessor (R-BIND-6)."""
        thing.parameters = thing.parameters or predecessor.parameters

    def binding(self, thing: Thing) -> Node:
        offering = thing.attributes["service_id"]
        told = {"syslog_drain_url": "syslog://log.example.org"} if offering == "log-id" else {}
        times = {"expires_at": "2999-01-01T00:00:00.0Z", "renew_before": "2998-01-01T00:00:00.0Z"}
        endpoints = [{"host": "db.example.org", "ports": ["5432"]}]
        return {
            "credentials": {"uri": thing.uri},
            "endpoints": endpoints,
            "metadata": times,
            **told,
        }

    def get_binding(self, asked: Asked) -> Answer:
        thing = self.things.get(asked.key)
        if thing is None or not thing.ready:
            raise Refused(404, "NotFound")
        return Answer(200, {**self.binding(thing), "parameters": thing.parameters})

    def unbind(self, asked: Asked) -> Answer:
        self.check_ids(asked.query, "service_id", "plan_id")
        thing = self.things.get(asked.key)
        if thing is None:
            raise Refused(410, "Gone")
        return self.delete(asked, thing)


def _thing(body: Node) -> Thing:
    attributes = {name: body[name] for name in _ATTRIBUTES if name in body}
    attributes["given"] = body.get("parameters", {})
    return Thing(attributes, body.get("parameters", {}))


def _decoded(text: str) -> bytes | None:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        return None
