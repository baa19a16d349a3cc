"""From what came over HTTP to a request that a handler can trust, or to a refusal with 400 or 422.

One function an operation, each made of the same steps: decode, find offering and plan, check.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import unquote_plus

import msgspec
from msgspec import Struct

from .._internal.json_decode import MAX_DEPTH, TooDeep, decode_object, describe_validation_error
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
    """A request as it came: whose, about which instance and binding, query string and body still unread."""

    catalog: Catalog
    headers: RequestHeaders
    ids: dict[str, str]
    query_string: str
    body: bytes
    require_organization: bool


# Query strings


class Query(Struct, frozen=True, gc=False):
    """The query parameters that the API knows."""

    service_id: str | None = None
    plan_id: str | None = None
    operation: str | None = None
    accepts_incomplete: bool = False


def _query(query_string: str) -> Query:
    if not query_string.isascii():  # WSGI hands bytes over as latin-1
        query_string = query_string.encode("latin-1", "replace").decode(errors="replace")
    known: dict[str, str] = {}
    for part in query_string.split("&"):
        name, _, value = part.partition("=")
        if "%" in part or "+" in part:
            name, value = unquote_plus(name), unquote_plus(value)
        if known.setdefault(name, value) != value and name in Query.__struct_fields__:
            raise BadRequest(f"The query parameter {name} is given twice, with different values.")
    return Query(
        known.get("service_id") or None,
        known.get("plan_id") or None,
        known.get("operation") or None,
        known.get("accepts_incomplete") == "true",  # R-REQ-9
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


# What msgspec knows of a struct it finds out when it first needs it, which no two threads may do at once.
_FOUND_OUT = [msgspec.json.Decoder(kind) for kind in (_ProvisionBody, _UpdateBody, _BindBody)]


def _read_body(call: RawRequest, kind: type[_BodyT]) -> tuple[dict[str, Any], _BodyT]:
    """The body as an object (for fields that we do not know) and as a struct (for those that we do)."""
    try:
        document = decode_object(call.body)
        return document, msgspec.convert(_with_versions_alone(document), kind)
    except msgspec.ValidationError as error:
        raise BadRequest(describe_validation_error(error)) from None
    except TooDeep:
        raise BadRequest(f"The body is nested deeper than {MAX_DEPTH} levels.") from None
    except ValueError:
        raise BadRequest("The body is not JSON; send one JSON object.") from None


def _with_versions_alone(document: dict[str, Any]) -> dict[str, Any]:
    """Of a `maintenance_info` the version counts alone, and without one it is absent (R-REQ-7, R-REQ-10)."""
    told = dict(document)
    for name in told.keys() & {"maintenance_info", "previous_values"}:
        value = told[name]
        if isinstance(value, dict):
            if name == "previous_values":
                told[name] = _with_versions_alone(value)
            else:
                version = value.get("version")
                told[name] = {"version": version} if version else None
    return told


# What the platform may ask for


def _find(catalog: Catalog, service_id: str, plan_id: str) -> tuple[ServiceOffering, ServicePlan]:
    found = catalog.find_plan(plan_id)
    if found is not None and found[0].id == service_id:
        return found
    service = _find_service(catalog, service_id)
    if found is not None:
        raise BadRequest(f"plan_id: the plan {_short(plan_id)} is not one of the offering {service.name!r}")
    raise BadRequest(f"plan_id: there is no service plan {_short(plan_id)} in the catalog")


def _find_service(catalog: Catalog, service_id: str) -> ServiceOffering:
    service = catalog.offering(service_id)
    if service is None:
        raise BadRequest(f"service_id: there is no service offering {_short(service_id)} in the catalog")
    return service


def _find_for_delete(call: RawRequest, query: Query) -> tuple[ServiceOffering, ServicePlan]:
    missing = [name for name in ("service_id", "plan_id") if getattr(query, name) is None]
    if missing:
        raise BadRequest(f"{' and '.join(missing)}: required in the query string")
    return _find(call.catalog, query.service_id or "", query.plan_id or "")


def _hints(call: RawRequest, query: Query) -> tuple[ServiceOffering | None, ServicePlan | None]:
    """What a fetch or poll says of the instance helps to find the handler, and refuses nothing.

    A platform may still poll for a plan that has left the catalog, and Cloud Controller takes a 400
    to a poll for a failed operation (R-ERR-4).
    """
    service = call.catalog.offering(query.service_id) if query.service_id else None
    found = call.catalog.find_plan(query.plan_id) if query.plan_id else None
    if found is not None and (service is None or service is found[0]):
        return found
    return service, None


def _short(value: str) -> str:
    return repr(value if len(value) <= 80 else f"{value[:80]}…")


def _check_platform(call: RawRequest, context: Mapping[str, Any]) -> None:
    """The header and the context name the same platform."""
    identity = call.headers.originating_identity
    if identity is not None and context.get("platform") not in (None, identity.platform):
        raise BadRequest(
            "context.platform: is not the platform that the header X-Broker-API-Originating-Identity names"
        )


def _guid(call: RawRequest, name: str, told: str | None, context: Mapping[str, Any]) -> str | None:
    """An organization or space: the body's own field is deprecated for the context (R-PROV)."""
    value = told or context.get(name) or None
    if value is not None and not isinstance(value, str):
        raise BadRequest(f"context.{name}: expected a string")
    if value is None and call.require_organization:
        raise BadRequest(f"{name}: is required, in the body or in its context")
    return value


# The operations


def catalog(call: RawRequest) -> CatalogRequest:
    return CatalogRequest(headers=call.headers)


def provision(call: RawRequest) -> ProvisionRequest:
    query = _query(call.query_string)
    document, body = _read_body(call, _ProvisionBody)
    service, plan = _find(call.catalog, body.service_id, body.plan_id)
    context = body.context or {}
    parameters = body.parameters or {}
    _check_platform(call, context)
    organization_guid = _guid(call, "organization_guid", body.organization_guid, context)
    space_guid = _guid(call, "space_guid", body.space_guid, context)
    return ProvisionRequest(
        headers=call.headers,
        instance_id=call.ids["instance_id"],
        offering=service,
        plan=plan,
        parameters=parameters,
        context=context,
        organization_guid=organization_guid,
        space_guid=space_guid,
        maintenance_info=body.maintenance_info,
        accepts_incomplete=query.accepts_incomplete,
        body=document,
    )


def update(call: RawRequest) -> UpdateRequest:
    query = _query(call.query_string)
    document, body = _read_body(call, _UpdateBody)
    if body.plan_id is None:
        service, wanted = _find_service(call.catalog, body.service_id), None
    else:
        service, wanted = _find(call.catalog, body.service_id, body.plan_id)
    context = body.context or {}
    previous_values = body.previous_values or PreviousValues()
    before = call.catalog.find_plan(previous_values.plan_id or "")
    current = before[1] if before and before[0] is service else None
    plan = wanted or current or (service.plans[0] if len(service.plans) == 1 else None)
    _check_platform(call, context)
    return UpdateRequest(
        headers=call.headers,
        instance_id=call.ids["instance_id"],
        offering=service,
        plan=plan,
        parameters=body.parameters or {},
        context=context,
        previous_values=previous_values,
        maintenance_info=body.maintenance_info,
        accepts_incomplete=query.accepts_incomplete,
        body=document,
    )


def bind(call: RawRequest) -> BindRequest:
    query = _query(call.query_string)
    document, body = _read_body(call, _BindBody)
    service, plan = _find(call.catalog, body.service_id, body.plan_id)
    context = body.context or {}
    parameters = body.parameters or {}
    bind_resource = body.bind_resource or BindResource()
    _check_platform(call, context)
    return BindRequest(
        headers=call.headers,
        instance_id=call.ids["instance_id"],
        binding_id=call.ids["binding_id"],
        offering=service,
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
    """How to read a DELETE, which must name offering and plan in its query string (R-DEL-2)."""

    def decode(call: RawRequest) -> _RequestT:
        query = _query(call.query_string)
        service, plan = _find_for_delete(call, query)
        return kind(
            headers=call.headers,
            offering=service,
            plan=plan,
            accepts_incomplete=query.accepts_incomplete,
            **call.ids,
        )

    return decode


def fetch(kind: Callable[..., _RequestT]) -> Callable[[RawRequest], _RequestT]:
    """How to read a fetch (R-GETI, R-GETB)."""

    def decode(call: RawRequest) -> _RequestT:
        service, plan = _hints(call, _query(call.query_string))
        return kind(headers=call.headers, offering=service, plan=plan, **call.ids)

    return decode


def poll(kind: Callable[..., _RequestT]) -> Callable[[RawRequest], _RequestT]:
    """How to read a poll (R-LAST)."""

    def decode(call: RawRequest) -> _RequestT:
        query = _query(call.query_string)
        service, plan = _hints(call, query)
        return kind(headers=call.headers, offering=service, plan=plan, operation=query.operation, **call.ids)

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
