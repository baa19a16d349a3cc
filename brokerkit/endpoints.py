"""The table of the API's ten endpoints, shared by the server and the client.

The checker does not use this table. Its rules state the expected status codes and fields themselves, so a
mistake here cannot hide a mistake in a broker.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Struct

from .requests import Operation
from .results import (
    Accepted,
    Binding,
    Deprovisioned,
    InstanceDetails,
    LastOperation,
    Provisioned,
    Unbound,
    Updated,
)


class ResponseForm(NamedTuple):
    """The form that one type of result takes in the response to one operation.

    Args:
        status: The status code.
        unchanged_status: The status code if there was nothing to do, because the resource exists already
            or is already gone. Defaults to None, for results without such a case.
        omitted: The fields of the result that must not be set. Defaults to none.
    """

    status: int
    unchanged_status: int | None = None
    omitted: tuple[str, ...] = ()


class APIEndpoint(NamedTuple):
    """One endpoint of the API.

    Args:
        operation: The operation that a platform requests with it.
        method: The HTTP method.
        path: The path below the broker's URL, with ``{instance_id}`` and ``{binding_id}`` for the ids.
        responses: The results that a handler may return, and the form of each. Empty for the catalog, which
            has no handler.
        has_body: Whether a request has a JSON object as its body. Defaults to False.
        empty_result: The result that None stands for when a handler returns it. Defaults to None, for
            operations whose handlers must return a result.
        error_fields: The fields that an error response may have besides `error` and `description`
            (R-ERR-2). Defaults to none.
    """

    operation: Operation
    method: str
    path: str
    responses: Mapping[type[Struct], ResponseForm]
    has_body: bool = False
    empty_result: Struct | None = None
    error_fields: tuple[str, ...] = ()


_INSTANCE = "/v2/service_instances/{instance_id}"
_BINDING = f"{_INSTANCE}/service_bindings/{{binding_id}}"

_ACCEPTED = ResponseForm(202)
_ACCEPTED_WITH_OPERATION_ONLY = ResponseForm(202, omitted=("dashboard_url", "metadata"))  # R-BIND-1

ENDPOINTS: Mapping[Operation, APIEndpoint] = {
    endpoint.operation: endpoint
    for endpoint in (
        APIEndpoint(Operation.CATALOG, "GET", "/v2/catalog", {}),
        APIEndpoint(
            Operation.PROVISION,
            "PUT",
            _INSTANCE,
            {Provisioned: ResponseForm(201, unchanged_status=200), Accepted: _ACCEPTED},
            has_body=True,
            empty_result=Provisioned(),
        ),
        APIEndpoint(Operation.GET_INSTANCE, "GET", _INSTANCE, {InstanceDetails: ResponseForm(200)}),
        APIEndpoint(
            Operation.UPDATE,
            "PATCH",
            _INSTANCE,
            {Updated: ResponseForm(200), Accepted: _ACCEPTED},
            has_body=True,
            empty_result=Updated(),
            error_fields=("instance_usable", "update_repeatable"),
        ),
        APIEndpoint(
            Operation.DEPROVISION,
            "DELETE",
            _INSTANCE,
            {
                Deprovisioned: ResponseForm(200, unchanged_status=410),
                Accepted: _ACCEPTED_WITH_OPERATION_ONLY,
            },
            empty_result=Deprovisioned(),
            error_fields=("instance_usable",),
        ),
        APIEndpoint(
            Operation.LAST_OPERATION,
            "GET",
            f"{_INSTANCE}/last_operation",
            {LastOperation: ResponseForm(200)},
        ),
        APIEndpoint(
            Operation.BIND,
            "PUT",
            _BINDING,
            {
                Binding: ResponseForm(201, unchanged_status=200, omitted=("parameters",)),
                Accepted: _ACCEPTED_WITH_OPERATION_ONLY,
            },
            has_body=True,
        ),
        APIEndpoint(Operation.GET_BINDING, "GET", _BINDING, {Binding: ResponseForm(200)}),
        APIEndpoint(
            Operation.UNBIND,
            "DELETE",
            _BINDING,
            {Unbound: ResponseForm(200, unchanged_status=410), Accepted: _ACCEPTED_WITH_OPERATION_ONLY},
            empty_result=Unbound(),
        ),
        APIEndpoint(
            Operation.LAST_BINDING_OPERATION,
            "GET",
            f"{_BINDING}/last_operation",
            {LastOperation: ResponseForm(200, omitted=("instance_usable", "update_repeatable"))},
        ),
    )
}
"""The endpoints by operation."""

REQUIRED_PERMISSIONS: Mapping[str, str] = {
    "syslog_drain_url": "syslog_drain",
    "route_service_url": "route_forwarding",
    "volume_mounts": "volume_mount",
}
"""The permission that an offering must list in `requires`, by the field of its bindings (R-BIND-2)."""
