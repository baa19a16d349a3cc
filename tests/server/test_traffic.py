"""Replays of the requests of three platforms, line by line, with the expected responses (R-PROV to R-LAST).

`tests/data` has a file for each platform. Each is replayed against a synchronous broker
and against one that returns `Accepted` wherever the platform can poll.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from brokerkit import (
    Accepted,
    Binding,
    BindingAlreadyExists,
    BindingDoesNotExist,
    BindRequest,
    Broker,
    BrokerError,
    Catalog,
    Deprovisioned,
    DeprovisionRequest,
    GetBindingRequest,
    GetInstanceRequest,
    InstanceAlreadyExists,
    InstanceDetails,
    InstanceDoesNotExist,
    LastBindingOperationRequest,
    LastOperation,
    LastOperationRequest,
    Provisioned,
    ProvisionRequest,
    UnbindRequest,
    Unbound,
    Updated,
    UpdateRequest,
)

from ..support.broker import CREDENTIALS, Platform, error_of, make_app

DATA = Path(__file__).parents[1] / "data"
SERVICE = "5c1c3c6e-0c2b-4e0c-9f0a-3a4b8b1d0001"
SMALL = "5c1c3c6e-0c2b-4e0c-9f0a-3a4b8b1d0011"
LARGE = "5c1c3c6e-0c2b-4e0c-9f0a-3a4b8b1d0012"
CATALOG = Catalog.from_dict(
    {
        "services": [
            {
                "id": SERVICE,
                "name": "postgres",
                "description": "PostgreSQL databases",
                "bindable": True,
                "instances_retrievable": True,
                "bindings_retrievable": True,
                "allow_context_updates": True,
                "plan_updateable": True,
                "plans": [
                    {
                        "id": SMALL,
                        "name": "small",
                        "description": "A small one",
                        "maintenance_info": {"version": "1.0.0"},
                        "schemas": {
                            "service_instance": {
                                "create": {
                                    "parameters": {
                                        "$schema": "http://json-schema.org/draft-07/schema#",
                                        "properties": {"extensions": {"type": "array"}},
                                    }
                                }
                            }
                        },
                    },
                    {"id": LARGE, "name": "large", "description": "A large one"},
                ],
            }
        ]
    }
)


class Databases:
    """Build a broker that keeps its instances in a dict. If `slow`, it returns `Accepted` where possible."""

    def __init__(self, slow: bool) -> None:
        self.slow = slow
        self.instances: dict[str, tuple[str | None, Mapping[str, Any]]] = {}
        self.bindings: dict[tuple[str, str], Mapping[str, Any]] = {}
        self.jobs: dict[str, str] = {}
        self.broker = broker = Broker(CATALOG, auth=CREDENTIALS)
        broker.provision(self.provision)
        broker.update(self.update)
        broker.deprovision(self.deprovision)
        broker.bind(self.bind)
        broker.unbind(self.unbind)
        broker.get_instance(self.get_instance)
        broker.get_binding(self.get_binding)
        broker.last_operation(self.last_operation)
        broker.last_binding_operation(self.last_binding_operation)

    def start(self, kind: str, resource_id: str) -> Accepted:
        operation = f"{kind} {resource_id}"
        self.jobs[operation] = resource_id
        return Accepted(operation=operation)

    def provision(self, request: ProvisionRequest) -> Provisioned | Accepted:
        wanted = request.plan.id, request.parameters
        exists = request.instance_id in self.instances
        if self.instances.setdefault(request.instance_id, wanted) != wanted:
            raise InstanceAlreadyExists
        if self.slow and request.accepts_incomplete:
            return self.start("provision", request.instance_id)
        return Provisioned(exists=exists)

    def update(self, request: UpdateRequest) -> Updated | Accepted:
        plan_id, parameters = self.instances[request.instance_id]
        if request.plan:
            plan_id = request.plan.id
        self.instances[request.instance_id] = plan_id, request.parameters or parameters
        if self.slow and request.accepts_incomplete:
            return self.start("update", request.instance_id)
        return Updated()

    def deprovision(self, request: DeprovisionRequest) -> Deprovisioned | Accepted:
        if self.instances.pop(request.instance_id, None) is None:
            raise InstanceDoesNotExist
        if self.slow and request.accepts_incomplete:
            return self.start("deprovision", request.instance_id)
        return Deprovisioned()

    def bind(self, request: BindRequest) -> Binding | Accepted:
        if request.instance_id not in self.instances:
            raise InstanceDoesNotExist
        key = request.instance_id, request.binding_id
        exists = key in self.bindings
        if self.bindings.setdefault(key, request.parameters) != request.parameters:
            raise BindingAlreadyExists
        if self.slow and request.accepts_incomplete:
            return self.start("bind", request.binding_id)
        return Binding(credentials={"uri": f"db://{request.binding_id}"}, exists=exists)

    def unbind(self, request: UnbindRequest) -> Unbound | Accepted:
        if self.bindings.pop((request.instance_id, request.binding_id), None) is None:
            raise BindingDoesNotExist
        if self.slow and request.accepts_incomplete:
            return self.start("unbind", request.binding_id)
        return Unbound()

    def get_instance(self, request: GetInstanceRequest) -> InstanceDetails:
        if request.instance_id not in self.instances:
            raise InstanceDoesNotExist
        plan_id, parameters = self.instances[request.instance_id]
        return InstanceDetails(service_id=SERVICE, plan_id=plan_id, parameters=dict(parameters))

    def get_binding(self, request: GetBindingRequest) -> Binding:
        if (request.instance_id, request.binding_id) not in self.bindings:
            raise BindingDoesNotExist
        return Binding(credentials={"uri": f"db://{request.binding_id}"})

    def last_operation(self, request: LastOperationRequest) -> LastOperation:
        return self.poll(request.operation, request.instance_id)

    def last_binding_operation(self, request: LastBindingOperationRequest) -> LastOperation:
        return self.poll(request.operation, request.binding_id)

    def poll(self, operation: str | None, resource_id: str) -> LastOperation:
        if self.slow and self.jobs.get(operation or "") != resource_id:
            raise BrokerError("There is no such operation.", status=400, error="UnknownOperation")
        return LastOperation.succeeded()


class Line(msgspec.Struct):
    """A request of a platform, as the files have it."""

    name: str
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: dict[str, Any] | None


def lines_of(platform: str) -> list[Line]:
    content = (DATA / f"{platform}.jsonl").read_bytes()
    return msgspec.json.decode(b"[" + b",".join(content.splitlines()) + b"]", type=list[Line])


# For each line: the status codes of a synchronous and of an asynchronous broker.
EXPECTED: dict[str, list[tuple[str, int, int]]] = {
    "cloudfoundry": [
        ("fetch the catalog at registration", 200, 200),
        ("cf create-service", 201, 202),
        ("poll", 200, 200),
        ("cf bind-service", 201, 202),
        ("cf create-service-key", 201, 201),
        ("fetch the parameters of an instance", 200, 200),
        ("fetch a binding after an asynchronous bind", 200, 200),
        ("cf update-service -p large", 200, 202),
        ("cf rename-service: a context-only update", 200, 202),
        ("cf unbind-service", 200, 202),
        ("cf delete-service-key", 200, 200),
        ("cf delete-service", 200, 202),
        ("orphan mitigation repeats the delete", 410, 410),
    ],
    "korifi": [
        ("fetch the catalog: Korifi sends a content type and no body", 200, 200),
        ("provision", 201, 202),
        ("the same provision with no parameters: null", 201, 202),
        ("poll without the hints", 200, 200),
        ("bind: Korifi writes null for parameters that were not given", 201, 202),
        ("fetch the binding", 200, 200),
        ("delete while the provision still runs", 200, 202),
    ],
    "kubernetes": [
        ("relist the catalog", 200, 200),
        ("provision: org and space are the namespace's uid", 201, 202),
        ("the same provision, sent again after a lost response", 200, 202),
        ("poll", 200, 200),
        ("bind", 201, 202),
        ("poll the binding", 200, 200),
        ("fetch the binding", 200, 200),
        ("unbind", 200, 202),
        ("deprovision", 200, 202),
    ],
}


@pytest.mark.rule(
    "R-REQ-4", "R-PROV-1", "R-UPD-1", "R-BIND-1", "R-UNB-1", "R-DEL-1", "R-LAST-1", "R-GETI", "R-GETB"
)
@pytest.mark.parametrize("slow", [False, True], ids=["synchronous", "accepted"])
@pytest.mark.parametrize("name", EXPECTED)
def test_recorded_platform_traffic_gets_expected_statuses(name: str, slow: bool) -> None:
    """Each recorded request is replayed against a synchronous and an asynchronous broker."""
    databases = Databases(slow)
    platform = Platform(make_app(databases.broker))
    operations: dict[str, str] = {}  # of each instance and binding, its last
    got = []
    for line in lines_of(name):
        resource = line.path.removesuffix("/last_operation")
        query = line.query.replace("OPERATION", operations.get(resource, "").replace(" ", "%20"))
        response = platform.send(line.method, line.path, line.body, query=query, headers={**line.headers})
        got.append((line.name, response.status_code))
        answer = error_of(response) if response.status_code >= 400 else response.get_json()
        if response.status_code == 202:
            assert "credentials" not in answer
            operations[resource] = answer["operation"]
        identity = "X-Broker-API-Request-Identity"
        assert response.headers.get(identity) == line.headers.get(identity)
    assert got == [(line, late if slow else soon) for line, soon, late in EXPECTED[name]]


@pytest.mark.rule("R-UPD-2", "R-GETI", "R-GETB")
def test_handlers_receive_recorded_cloud_foundry_requests() -> None:
    databases = Databases(slow=False)
    platform = Platform(make_app(databases.broker))
    answers = {}
    for line in lines_of("cloudfoundry"):
        response = platform.send(
            line.method, line.path, line.body, query=line.query, headers={**line.headers}
        )
        answers[line.name] = response.get_json()
        if line.name == "cf rename-service: a context-only update":
            (instance,) = databases.instances.values()
            assert instance == (LARGE, {"extensions": ["pg_trgm", "citext"]})
    assert answers["fetch the parameters of an instance"] == {
        "service_id": SERVICE,
        "plan_id": SMALL,
        "parameters": {"extensions": ["pg_trgm"]},
    }
    assert answers["fetch a binding after an asynchronous bind"]["credentials"]
    assert not databases.instances
    assert not databases.bindings
