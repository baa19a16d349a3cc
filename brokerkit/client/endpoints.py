"""The requests to the ten endpoints, as a platform sends them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import msgspec

from ..endpoints import ENDPOINTS
from ..requests import Operation

INCOMPLETE = ("accepts_incomplete", "true")
"""The query parameter of a platform that can poll asynchronous operations (R-REQ-9)."""


class APIRequest(NamedTuple):
    """A request to an endpoint, without the headers.

    Args:
        operation: The requested operation.
        method: The HTTP method.
        path: The path below the broker's URL, percent-encoded.
        query: The names and values of the query. Defaults to none.
        body: The body: a JSON object, or bytes to send unchanged. Defaults to none.
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
        """The encoded body."""
        if self.body is None or isinstance(self.body, bytes):
            return self.body
        return msgspec.json.encode(self.body)

    def with_body(self, **changes: Any) -> APIRequest:
        """Copy the request with fields of the body changed."""
        assert isinstance(self.body, Mapping), "only a JSON body has fields"
        return self._replace(body={**self.body, **changes})

    def with_field(self, value: str) -> APIRequest:
        """Copy the request with another value of ``accepts_incomplete`` (R-REQ-9)."""
        name, _ = INCOMPLETE
        return self._replace(query=(*self.without_field(name).query, (name, value)))

    def without_field(self, *fields: str) -> APIRequest:
        """Copy the request without some fields of its body and query."""
        body = self.body
        if isinstance(body, Mapping):
            body = {name: value for name, value in body.items() if name not in fields}
        query = tuple(pair for pair in self.query if pair[0] not in fields)
        return self._replace(body=body, query=query)


def catalog() -> APIRequest:
    """Build the request for the catalog."""
    return _request(Operation.CATALOG)


def provision(instance_id: str, *, can_poll: bool, **body: Any) -> APIRequest:
    """Build the request that creates a service instance, without the fields of the body that are None."""
    return _request(Operation.PROVISION, instance_id, query=_polling(can_poll), body=_without_none(body))


def update(instance_id: str, *, can_poll: bool, **body: Any) -> APIRequest:
    """Build the request that updates a service instance, without the fields of the body that are None."""
    return _request(Operation.UPDATE, instance_id, query=_polling(can_poll), body=_without_none(body))


def bind(instance_id: str, binding_id: str, *, can_poll: bool, **body: Any) -> APIRequest:
    """Build the request that creates a service binding, without the fields of the body that are None."""
    return _request(
        Operation.BIND, instance_id, binding_id, query=_polling(can_poll), body=_without_none(body)
    )


def delete(
    instance_id: str, binding_id: str | None, *, service_id: str, plan_id: str, can_poll: bool
) -> APIRequest:
    """Build the request that deletes a service instance or a service binding."""
    operation = Operation.DEPROVISION if binding_id is None else Operation.UNBIND
    query = (("service_id", service_id), ("plan_id", plan_id), *_polling(can_poll))
    return _request(operation, instance_id, binding_id, query=query)


def fetch(
    instance_id: str,
    binding_id: str | None,
    *,
    service_id: str | None = None,
    plan_id: str | None = None,
) -> APIRequest:
    """Build the request that fetches a service instance or a service binding."""
    operation = Operation.GET_INSTANCE if binding_id is None else Operation.GET_BINDING
    query = _query(service_id=service_id, plan_id=plan_id)
    return _request(operation, instance_id, binding_id, query=query)


def poll(
    instance_id: str,
    binding_id: str | None,
    *,
    operation: str | None = None,
    service_id: str | None = None,
    plan_id: str | None = None,
) -> APIRequest:
    """Build the request for the state of an operation on a service instance or a service binding."""
    kind = Operation.LAST_OPERATION if binding_id is None else Operation.LAST_BINDING_OPERATION
    query = _query(service_id=service_id, plan_id=plan_id, operation=operation)
    return _request(kind, instance_id, binding_id, query=query)


def poll_of(delete: APIRequest, operation: str | None) -> APIRequest:
    """Build the request for the state of a deletion.

    Args:
        delete: The request that started the deletion.
        operation: The `operation` of its response.
    """
    of_binding = delete.operation is Operation.UNBIND
    kind = Operation.LAST_BINDING_OPERATION if of_binding else Operation.LAST_OPERATION
    return APIRequest(
        kind,
        ENDPOINTS[kind].method,
        f"{delete.path}/last_operation",
        (*(pair for pair in delete.query if pair != INCOMPLETE), *_query(operation=operation)),
    )


def _request(
    operation: Operation,
    instance_id: str | None = None,
    binding_id: str | None = None,
    *,
    query: tuple[tuple[str, str], ...] = (),
    body: Mapping[str, Any] | None = None,
) -> APIRequest:
    """Build a request from the endpoint's row of the table.

    Raises:
        ValueError: An id cannot be part of a path.
    """
    ids = {"instance_id": instance_id, "binding_id": binding_id}
    quoted = {name: _quote(name, value) for name, value in ids.items() if value is not None}
    endpoint = ENDPOINTS[operation]
    return APIRequest(operation, endpoint.method, endpoint.path.format_map(quoted), query, body)


def _quote(name: str, resource_id: str) -> str:
    if not resource_id or resource_id in (".", ".."):
        raise ValueError(f"{name}={resource_id!r} cannot be part of a path; use another id")
    return quote(resource_id, safe="")


def _polling(can_poll: bool) -> tuple[tuple[str, str], ...]:
    return (INCOMPLETE,) if can_poll else ()


def _query(**values: str | None) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in values.items() if value is not None)


def _without_none(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}
