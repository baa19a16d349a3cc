"""Decoding of HTTP requests to the structs for handlers. Invalid requests are rejected with 400.

Each operation has one function. It decodes the query string and the body, finds the offering and the plan in
the catalog, and builds the struct. :data:`DECODERS` lists the functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import unquote_plus

import msgspec
from msgspec import Struct

from .._internal.json_decode import MAX_DEPTH, TooDeep, decode_object, describe_validation_error
from .._internal.text import quote_id
from ..catalog.models import Catalog, MaintenanceInfo, ServiceOffering, ServicePlan
from ..errors import BadRequest
from ..requests import (
    BindRequest,
    CatalogRequest,
    DeprovisionRequest,
    GetBindingRequest,
    GetInstanceRequest,
    LastBindingOperationRequest,
    LastOperationRequest,
    Operation,
    PreviousValues,
    ProvisionRequest,
    Request,
    RequestHeaders,
    UnbindRequest,
    UpdateRequest,
)
from ..resources import BindResource

_BodyT = TypeVar("_BodyT")
_RequestT = TypeVar("_RequestT", bound=Request)


class RawRequest(Struct, frozen=True, gc=False):
    """An HTTP request before its query string and body are decoded.

    Args:
        catalog: The current catalog.
        headers: The parsed headers.
        ids: The `instance_id` and `binding_id` from the path, if the path has them.
        query_string: The query string as WSGI provides it.
        body: The body. Empty for operations without a body.
        require_organization: Whether a provision must name an organization and a space.
    """

    catalog: Catalog
    headers: RequestHeaders
    ids: dict[str, str]
    query_string: str
    body: bytes
    require_organization: bool


# Query strings


class Query(Struct, frozen=True, gc=False):
    """The query parameters of the API."""

    service_id: str | None = None
    plan_id: str | None = None
    operation: str | None = None
    accepts_incomplete: bool = False


def _parse_query(query_string: str) -> Query:
    if not query_string.isascii():  # WSGI decodes bytes as latin-1
        query_string = query_string.encode("latin-1", "replace").decode(errors="replace")
    values: dict[str, str] = {}
    for part in query_string.split("&"):
        name, _, value = part.partition("=")
        if "%" in part or "+" in part:
            name, value = unquote_plus(name), unquote_plus(value)
        if values.setdefault(name, value) != value and name in Query.__struct_fields__:
            raise BadRequest(f"The query parameter {name} is given more than once, with different values.")
    return Query(
        values.get("service_id") or None,
        values.get("plan_id") or None,
        values.get("operation") or None,
        values.get("accepts_incomplete") == "true",  # R-REQ-9
    )


# Bodies


class _ProvisionBody(Struct, frozen=True):
    service_id: str
    plan_id: str
    organization_guid: str | None = None
    space_guid: str | None = None
    context: dict[str, Any] | None = None
    parameters: dict[str, Any] | None = None
    maintenance_info: MaintenanceInfo | None = None


class _UpdateBody(Struct, frozen=True):
    service_id: str
    plan_id: str | None = None
    context: dict[str, Any] | None = None
    parameters: dict[str, Any] | None = None
    previous_values: PreviousValues | None = None
    maintenance_info: MaintenanceInfo | None = None


class _BindBody(Struct, frozen=True):
    service_id: str
    plan_id: str
    context: dict[str, Any] | None = None
    app_guid: str | None = None
    bind_resource: BindResource | None = None
    parameters: dict[str, Any] | None = None
    predecessor_binding_id: str | None = None


# Build decoders at import time: msgspec inspects types lazily, which is not thread-safe.
_PREPARED = [msgspec.json.Decoder(kind) for kind in (_ProvisionBody, _UpdateBody, _BindBody)]


def _decode_body(raw: RawRequest, kind: type[_BodyT]) -> tuple[dict[str, Any], _BodyT]:
    """Decode a body to a JSON object with all fields, and to a struct with the fields of the API."""
    try:
        document = decode_object(raw.body)
        return document, msgspec.convert(_normalize_maintenance_info(document), kind)
    except msgspec.ValidationError as error:
        raise BadRequest(describe_validation_error(error)) from None
    except TooDeep:
        raise BadRequest(f"The body is nested more than {MAX_DEPTH} levels deep.") from None
    except ValueError:
        raise BadRequest("The body is not valid JSON. Send one JSON object.") from None


def _normalize_maintenance_info(document: dict[str, Any]) -> dict[str, Any]:
    """Reduce each `maintenance_info` to its version, or to None without a version (R-REQ-7, R-REQ-10)."""
    result = dict(document)
    for name in result.keys() & {"maintenance_info", "previous_values"}:
        value = result[name]
        if isinstance(value, dict):
            if name == "previous_values":
                result[name] = _normalize_maintenance_info(value)
            else:
                version = value.get("version")
                result[name] = {"version": version} if version else None
    return result


# Offerings, plans and context


def _find_plan(catalog: Catalog, service_id: str, plan_id: str) -> tuple[ServiceOffering, ServicePlan]:
    match = catalog.find_plan(plan_id)
    if match is not None and match[0].id == service_id:
        return match
    offering = _find_offering(catalog, service_id)
    if match is not None:
        raise BadRequest(
            f"plan_id: The service offering {offering.name!r} has no service plan {quote_id(plan_id)}."
        )
    raise BadRequest(f"plan_id: The catalog has no service plan {quote_id(plan_id)}.")


def _find_offering(catalog: Catalog, service_id: str) -> ServiceOffering:
    offering = catalog.offering(service_id)
    if offering is None:
        raise BadRequest(f"service_id: The catalog has no service offering {quote_id(service_id)}.")
    return offering


def _find_plan_for_delete(raw: RawRequest, query: Query) -> tuple[ServiceOffering, ServicePlan]:
    missing = [name for name in ("service_id", "plan_id") if getattr(query, name) is None]
    if missing:
        raise BadRequest(f"The query string must have {' and '.join(missing)}.")
    return _find_plan(raw.catalog, query.service_id or "", query.plan_id or "")


def _find_plan_for_read(raw: RawRequest, query: Query) -> tuple[ServiceOffering | None, ServicePlan | None]:
    """Find the offering and the plan of a fetch or poll. They are only used to select the handler.

    Unknown ids are ignored, because a platform may poll for a plan that was removed from the catalog. Cloud
    Controller interprets a 400 response to a poll as a failed operation (R-ERR-4).
    """
    offering = raw.catalog.offering(query.service_id) if query.service_id else None
    match = raw.catalog.find_plan(query.plan_id) if query.plan_id else None
    if match is not None and (offering is None or offering is match[0]):
        return match
    return offering, None


def _check_platform(raw: RawRequest, context: Mapping[str, Any]) -> None:
    """Check that the originating identity and the context name the same platform."""
    identity = raw.headers.originating_identity
    if identity is not None and context.get("platform") not in (None, identity.platform):
        raise BadRequest(
            "context.platform: It must be the platform in the header X-Broker-API-Originating-Identity."
        )


def _get_guid(raw: RawRequest, name: str, deprecated: str | None, context: Mapping[str, Any]) -> str | None:
    """Get the GUID of an organization or space from the body's deprecated field or the context (R-PROV)."""
    value = deprecated or context.get(name) or None
    if value is not None and not isinstance(value, str):
        raise BadRequest(f"context.{name}: expected a string")
    if value is None and raw.require_organization:
        raise BadRequest(f"{name}: is required in the context or in the body")
    return value


# One function for each operation


def catalog(raw: RawRequest) -> CatalogRequest:
    """Decode a request for the catalog."""
    return CatalogRequest(headers=raw.headers)


def provision(raw: RawRequest) -> ProvisionRequest:
    """Decode a provision request (R-PROV)."""
    query = _parse_query(raw.query_string)
    document, body = _decode_body(raw, _ProvisionBody)
    offering, plan = _find_plan(raw.catalog, body.service_id, body.plan_id)
    context = body.context or {}
    parameters = body.parameters or {}
    _check_platform(raw, context)
    organization_guid = _get_guid(raw, "organization_guid", body.organization_guid, context)
    space_guid = _get_guid(raw, "space_guid", body.space_guid, context)
    return ProvisionRequest(
        headers=raw.headers,
        instance_id=raw.ids["instance_id"],
        offering=offering,
        plan=plan,
        parameters=parameters,
        context=context,
        organization_guid=organization_guid,
        space_guid=space_guid,
        maintenance_info=body.maintenance_info,
        accepts_incomplete=query.accepts_incomplete,
        body=document,
    )


def update(raw: RawRequest) -> UpdateRequest:
    """Decode an update request (R-UPD)."""
    query = _parse_query(raw.query_string)
    document, body = _decode_body(raw, _UpdateBody)
    if body.plan_id is None:
        offering, new_plan = _find_offering(raw.catalog, body.service_id), None
    else:
        offering, new_plan = _find_plan(raw.catalog, body.service_id, body.plan_id)
    context = body.context or {}
    previous_values = body.previous_values or PreviousValues()
    previous = raw.catalog.find_plan(previous_values.plan_id or "")
    current_plan = previous[1] if previous and previous[0] is offering else None
    plan = new_plan or current_plan or (offering.plans[0] if len(offering.plans) == 1 else None)
    _check_platform(raw, context)
    return UpdateRequest(
        headers=raw.headers,
        instance_id=raw.ids["instance_id"],
        offering=offering,
        plan=plan,
        parameters=body.parameters or {},
        context=context,
        previous_values=previous_values,
        maintenance_info=body.maintenance_info,
        accepts_incomplete=query.accepts_incomplete,
        body=document,
    )


def bind(raw: RawRequest) -> BindRequest:
    """Decode a bind request (R-BIND)."""
    query = _parse_query(raw.query_string)
    document, body = _decode_body(raw, _BindBody)
    offering, plan = _find_plan(raw.catalog, body.service_id, body.plan_id)
    context = body.context or {}
    parameters = body.parameters or {}
    bind_resource = body.bind_resource or BindResource()
    _check_platform(raw, context)
    return BindRequest(
        headers=raw.headers,
        instance_id=raw.ids["instance_id"],
        binding_id=raw.ids["binding_id"],
        offering=offering,
        plan=plan,
        parameters=parameters,
        context=context,
        bind_resource=bind_resource,
        app_guid=bind_resource.app_guid or body.app_guid,
        predecessor=body.predecessor_binding_id,
        accepts_incomplete=query.accepts_incomplete,
        body=document,
    )


def delete(kind: Callable[..., _RequestT]) -> Callable[[RawRequest], _RequestT]:
    """Make the function that decodes a DELETE. The query string must name offering and plan (R-DEL-2)."""

    def decode(raw: RawRequest) -> _RequestT:
        query = _parse_query(raw.query_string)
        offering, plan = _find_plan_for_delete(raw, query)
        return kind(
            headers=raw.headers,
            offering=offering,
            plan=plan,
            accepts_incomplete=query.accepts_incomplete,
            **raw.ids,
        )

    return decode


def fetch(kind: Callable[..., _RequestT]) -> Callable[[RawRequest], _RequestT]:
    """Make the function that decodes a fetch (R-GETI, R-GETB)."""

    def decode(raw: RawRequest) -> _RequestT:
        offering, plan = _find_plan_for_read(raw, _parse_query(raw.query_string))
        return kind(headers=raw.headers, offering=offering, plan=plan, **raw.ids)

    return decode


def poll(kind: Callable[..., _RequestT]) -> Callable[[RawRequest], _RequestT]:
    """Make the function that decodes a poll (R-LAST)."""

    def decode(raw: RawRequest) -> _RequestT:
        query = _parse_query(raw.query_string)
        offering, plan = _find_plan_for_read(raw, query)
        return kind(headers=raw.headers, offering=offering, plan=plan, operation=query.operation, **raw.ids)

    return decode


DECODERS: Mapping[Operation, Callable[[RawRequest], Request]] = {
    Operation.CATALOG: catalog,
    Operation.PROVISION: provision,
    Operation.GET_INSTANCE: fetch(GetInstanceRequest),
    Operation.UPDATE: update,
    Operation.DEPROVISION: delete(DeprovisionRequest),
    Operation.LAST_OPERATION: poll(LastOperationRequest),
    Operation.BIND: bind,
    Operation.GET_BINDING: fetch(GetBindingRequest),
    Operation.UNBIND: delete(UnbindRequest),
    Operation.LAST_BINDING_OPERATION: poll(LastBindingOperationRequest),
}
"""The function that decodes the request of each operation."""
