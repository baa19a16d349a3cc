"""From what a platform wants to the HTTP request that says so: the ten endpoints from the other side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import msgspec

from ..requests import Operation

INCOMPLETE = ("accepts_incomplete", "true")
"""The platform can poll (R-REQ-9)."""


class APIRequest(NamedTuple):
    """A request, without what is the same in all of them.

    Args:
        operation: What is asked.
        method: The HTTP method.
        path: Below the broker's URL, quoted.
        query: The names and values of the query.
        body: The body; a JSON object, or the bytes as they are to be sent.
    """

    operation: Operation
    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: Mapping[str, Any] | bytes | None = None

    @property
    def target(self) -> str:
        """The path with its query."""
        return f"{self.path}?{urlencode(self.query, quote_via=quote)}" if self.query else self.path

    @property
    def data(self) -> bytes | None:
        """The body as it is sent."""
        if self.body is None or isinstance(self.body, bytes):
            return self.body
        return msgspec.json.encode(self.body)

    def with_body(self, **changes: Any) -> APIRequest:
        """The same with fields of the body changed."""
        assert isinstance(self.body, Mapping), "bytes have no fields"
        return self._replace(body={**self.body, **changes})

    def with_field(self, word: str) -> APIRequest:
        """The same with another word than ``true`` for whether the platform can poll (R-REQ-9)."""
        name, _ = INCOMPLETE
        return self._replace(query=(*self.without_field(name).query, (name, word)))

    def without_field(self, *fields: str) -> APIRequest:
        """The same without some fields of the body, or names of the query."""
        body = self.body
        if isinstance(body, Mapping):
            body = {name: value for name, value in body.items() if name not in fields}
        query = tuple(pair for pair in self.query if pair[0] not in fields)
        return self._replace(body=body, query=query)


def instance_path(instance_id: str) -> str:
    """The path of a service instance.

    Raises:
        ValueError: No path can hold this id.
    """
    return f"/v2/service_instances/{_quoted('instance_id', instance_id)}"


def binding_path(instance_id: str, binding_id: str) -> str:
    """The path of a service binding.

    Raises:
        ValueError: No path can hold one of the ids.
    """
    return f"{instance_path(instance_id)}/service_bindings/{_quoted('binding_id', binding_id)}"


def _quoted(name: str, resource_id: str) -> str:
    if not resource_id or resource_id in (".", ".."):
        raise ValueError(f"{name}={resource_id!r} cannot stand in a path; use another id")
    return quote(resource_id, safe="")


def catalog() -> APIRequest:
    """``GET /v2/catalog``."""
    return APIRequest(Operation.CATALOG, "GET", "/v2/catalog")


def provision(instance_id: str, *, can_poll: bool, **body: Any) -> APIRequest:
    """Make a service instance; fields of the body that are None are left out."""
    return APIRequest(Operation.PROVISION, "PUT", instance_path(instance_id), _polling(can_poll), _told(body))


def update(instance_id: str, *, can_poll: bool, **body: Any) -> APIRequest:
    """Change a service instance; fields of the body that are None are left out."""
    return APIRequest(Operation.UPDATE, "PATCH", instance_path(instance_id), _polling(can_poll), _told(body))


def bind(instance_id: str, binding_id: str, *, can_poll: bool, **body: Any) -> APIRequest:
    """Make a service binding; fields of the body that are None are left out."""
    path = binding_path(instance_id, binding_id)
    return APIRequest(Operation.BIND, "PUT", path, _polling(can_poll), _told(body))


def delete(
    instance_id: str, binding_id: str | None, *, service_id: str, plan_id: str, can_poll: bool
) -> APIRequest:
    """Delete a service instance, or a service binding."""
    query = (("service_id", service_id), ("plan_id", plan_id), *_polling(can_poll))
    operation = Operation.DEPROVISION if binding_id is None else Operation.UNBIND
    return APIRequest(operation, "DELETE", _path(instance_id, binding_id), query)


def fetch(
    instance_id: str,
    binding_id: str | None,
    *,
    service_id: str | None = None,
    plan_id: str | None = None,
) -> APIRequest:
    """Fetch a service instance, or a service binding."""
    operation = Operation.GET_INSTANCE if binding_id is None else Operation.GET_BINDING
    query = _named(service_id=service_id, plan_id=plan_id)
    return APIRequest(operation, "GET", _path(instance_id, binding_id), query)


def poll(
    instance_id: str,
    binding_id: str | None,
    *,
    operation: str | None = None,
    service_id: str | None = None,
    plan_id: str | None = None,
) -> APIRequest:
    """Ask how an operation on a service instance, or on a service binding, goes."""
    kind = Operation.LAST_OPERATION if binding_id is None else Operation.LAST_BINDING_OPERATION
    query = _named(service_id=service_id, plan_id=plan_id, operation=operation)
    return APIRequest(kind, "GET", f"{_path(instance_id, binding_id)}/last_operation", query)


def poll_of(delete: APIRequest, operation: str | None) -> APIRequest:
    """Ask how a delete goes.

    Args:
        delete: The request that began it.
        operation: What it was answered with.
    """
    of_binding = delete.operation is Operation.UNBIND
    return APIRequest(
        Operation.LAST_BINDING_OPERATION if of_binding else Operation.LAST_OPERATION,
        "GET",
        f"{delete.path}/last_operation",
        (*(pair for pair in delete.query if pair != INCOMPLETE), *_named(operation=operation)),
    )


def _path(instance_id: str, binding_id: str | None) -> str:
    return instance_path(instance_id) if binding_id is None else binding_path(instance_id, binding_id)


def _polling(can_poll: bool) -> tuple[tuple[str, str], ...]:
    return (INCOMPLETE,) if can_poll else ()


def _named(**values: str | None) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in values.items() if value is not None)


def _told(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}
