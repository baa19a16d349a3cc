"""A broker whose handlers record their requests, and a platform that sends requests to it over WSGI."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import msgspec
from flask import Flask
from werkzeug.test import TestResponse

from brokerkit import (
    BasicAuth,
    Binding,
    Broker,
    Catalog,
    InstanceDetails,
    LastOperation,
    MaintenanceInfo,
    Schemas,
    ServiceOffering,
    ServicePlan,
)

PARAMETERS = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {
        "size": {"type": "integer", "maximum": 9},
        "password": {"type": "string", "minLength": 8},
    },
}
"""The JSON Schema of the plan `small`, for every operation."""

CREDENTIALS = BasicAuth("platform", "s3cret")

INSTANCE = "/v2/service_instances/i1"
BINDING = f"{INSTANCE}/service_bindings/b1"
IDS = {"service_id": "db-id", "plan_id": "small-id"}
DELETE_QUERY = "service_id=db-id&plan_id=small-id"
ORGANIZATION = {"organization_guid": "o1", "space_guid": "s1"}
PROVISION = {**IDS, **ORGANIZATION}


def make_offering(**fields: Any) -> ServiceOffering:
    """Build an offering `db` with the plans `small` (schemas and a version) and `large`."""
    schemas = Schemas.of(create=PARAMETERS, update=PARAMETERS, bind=PARAMETERS)
    return ServiceOffering(
        **{
            "id": "db-id",
            "name": "db",
            "description": "Databases",
            "bindable": True,
            "instances_retrievable": True,
            "bindings_retrievable": True,
            "allow_context_updates": True,
            "plan_updateable": True,
            "plans": [
                ServicePlan(
                    id="small-id",
                    name="small",
                    description="A small one",
                    schemas=schemas,
                    maintenance_info=MaintenanceInfo("1.0.0"),
                    binding_rotatable=True,
                ),
                ServicePlan(id="large-id", name="large", description="A large one"),
            ],
            **fields,
        }
    )


class Recorder:
    """Handlers for every operation that record requests and return or raise the value in `answers`."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.answers: dict[str, Any] = {
            "bind": Binding(credentials={"uri": "db://secret"}),
            "get_instance": InstanceDetails(service_id="db-id", plan_id="small-id"),
            "get_binding": Binding(credentials={"uri": "db://secret"}),
            "last_operation": LastOperation.succeeded(),
            "last_binding_operation": LastOperation.succeeded(),
        }

    @property
    def request(self) -> Any:
        """The only request that a handler got."""
        (request,) = self.requests
        return request

    def handler(self, operation: str) -> Callable[[Any], Any]:
        def handle(request: Any) -> Any:
            self.requests.append(request)
            answer = self.answers.get(operation)
            if callable(answer):
                answer = answer(request)
            if isinstance(answer, BaseException):
                raise answer
            return answer

        handle.__qualname__ = f"handle_{operation}"
        return handle


HANDLERS = (
    "provision",
    "update",
    "deprovision",
    "bind",
    "unbind",
    "get_instance",
    "get_binding",
    "last_operation",
    "last_binding_operation",
)


def make_broker(recorder: Recorder, *offerings: ServiceOffering, **settings: Any) -> Broker:
    """Build a broker whose operations are all served by the recorder."""
    catalog = settings.pop("catalog", None) or Catalog(offerings or [make_offering()])
    broker = Broker(catalog, **{"auth": CREDENTIALS, **settings})
    for operation in HANDLERS:
        getattr(broker, operation)(recorder.handler(operation))
    return broker


def make_app(*brokers: Broker, **options: Any) -> Flask:
    app = Flask("tests")
    for broker in brokers:
        app.register_blueprint(broker.blueprint, **options)
    return app


class Platform:
    """A platform that sends requests over WSGI and checks that every response is JSON."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.headers = {
            "Authorization": basic("platform", "s3cret"),
            "X-Broker-API-Version": "2.17",
        }

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: str = "",
        headers: dict[str, str | None] | None = None,
        data: bytes | None = None,
        environ: dict[str, Any] | None = None,
    ) -> TestResponse:
        """Send a request; `headers` change or (None) remove default headers; `data` is a raw body."""
        if body is not None:
            data = msgspec.json.encode(body)
        merged: dict[str, str | None] = {**self.headers, **(headers or {})}
        if data is not None:
            merged.setdefault("Content-Type", "application/json")
        response = self.app.test_client().open(
            path,
            method=method,
            data=data,
            query_string=query,
            headers={name: value for name, value in merged.items() if value is not None},
            environ_overrides=environ,
        )
        if response.status_code != 304 and method != "HEAD":
            assert response.content_type == "application/json"
            msgspec.json.decode(response.data)
        return response

    def get(self, path: str, **more: Any) -> TestResponse:
        return self.send("GET", path, **more)

    def put(self, path: str, body: Any = None, **more: Any) -> TestResponse:
        return self.send("PUT", path, body, **more)

    def patch(self, path: str, body: Any = None, **more: Any) -> TestResponse:
        return self.send("PATCH", path, body, **more)

    def delete(self, path: str, **more: Any) -> TestResponse:
        return self.send("DELETE", path, **more)


def basic(username: str, password: str, encoding: str = "utf-8") -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode(encoding)).decode()


def error_of(response: TestResponse) -> dict[str, Any]:
    """Return the body of an error response, and check it against R-ERR-1."""
    body: dict[str, Any] = msgspec.json.decode(response.data)
    assert body.keys() <= {"error", "description", "instance_usable", "update_repeatable"}
    for name in ("error", "description"):
        assert name not in body or (isinstance(body[name], str) and body[name])
    return body
