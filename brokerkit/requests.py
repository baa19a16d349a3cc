"""The requests of a platform: one frozen struct per operation.

A handler takes one of them as its only argument, so a test can call it without Flask::

    provision(ProvisionRequest(instance_id="i1", offering=offering, plan=plan))
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar

from msgspec import Struct, field

from ._internal.masked_struct import Masked
from .catalog.models import MaintenanceInfo, ServiceOffering, ServicePlan
from .resources import BindResource, ServiceBinding, ServiceInstance


class Operation(StrEnum):
    """The operations of the API. Each value is also the name of the handler's decorator."""

    CATALOG = "catalog"
    PROVISION = "provision"
    GET_INSTANCE = "get_instance"
    UPDATE = "update"
    DEPROVISION = "deprovision"
    LAST_OPERATION = "last_operation"
    BIND = "bind"
    GET_BINDING = "get_binding"
    UNBIND = "unbind"
    LAST_BINDING_OPERATION = "last_binding_operation"

    __hash__ = str.__hash__  # the hash of an enum is Python code, and slower


class OriginatingIdentity(Struct, frozen=True):
    """The end user of the platform who caused a request (R-REQ-3).

    Args:
        platform: The kind of platform: ``"cloudfoundry"``, ``"kubernetes"``, …
        value: The properties of the user: `user_id` (Cloud Foundry); or `username`, `uid`, `groups` and
            `extra` (Kubernetes).
    """

    platform: str
    value: dict[str, Any]

    @property
    def user(self) -> str | None:
        """The user: `user_id` of Cloud Foundry, `username` or `uid` of Kubernetes; None without any."""
        names = (self.value.get(name) for name in ("user_id", "username", "uid"))
        return next((name for name in names if isinstance(name, str) and name), None)


class RequestHeaders(Struct, frozen=True, kw_only=True):
    """The decoded headers of a request.

    Args:
        api_version: The API version of the platform, such as ``"2.17"`` (R-REQ-1).
        originating_identity: The end user who caused the request (R-REQ-3); None if the platform sent none.
        request_identity: The platform's id of this request. The response repeats it (R-REQ-4). Defaults to
            None.
        correlation_id: The platform's id of all requests that belong together: the first of
            ``X-Vcap-Request-Id``, ``X-Correlation-ID`` and ``X-Request-ID`` (R-REQ-5). Defaults to None.
        info_location: The URL of the Cloud Foundry API, from ``X-Api-Info-Location`` (R-REQ-5). Defaults to
            None.
        username: The name of the authenticated caller; None if it has no name.
        trace_context: The headers that continue the platform's trace: `traceparent` and `tracestate` of W3C,
            `b3` or `x-b3-…` of Zipkin; empty if it sent none. If spans are recorded, the parent is the span
            of the request; for a background handler, the span of its attempt.
    """

    api_version: str = "2.17"
    originating_identity: OriginatingIdentity | None = None
    request_identity: str | None = None
    correlation_id: str | None = None
    info_location: str | None = None
    username: str | None = None
    trace_context: dict[str, str] = field(default_factory=dict)


class PreviousValues(Struct, frozen=True, kw_only=True):
    """The state of an instance before an update, according to the platform (R-UPD)."""

    service_id: str | None = None
    plan_id: str | None = None
    organization_id: str | None = None
    space_id: str | None = None
    maintenance_info: MaintenanceInfo | None = None


class Request(Masked, frozen=True, kw_only=True):
    """The base of every request.

    Args:
        headers: The decoded headers.
    """

    _brief: ClassVar[frozenset[str]] = frozenset({"offering", "plan"})

    headers: RequestHeaders = RequestHeaders()


class CatalogRequest(Request, frozen=True, kw_only=True):
    """Fetch the service catalog. No handler gets this request, but the receivers of signals do."""


# The type omits None on purpose: with a store, handlers need no check for it; without one, it is not used.
_NONE: Any = None


class InstanceRequest(Request, frozen=True, kw_only=True):
    """The base of every request for a service instance.

    Args:
        instance_id: The id of the instance, chosen by the platform.
        instance: The stored instance; None in a provision request and in a broker without a store.
    """

    instance_id: str
    instance: ServiceInstance = _NONE


class BindingRequest(InstanceRequest, frozen=True, kw_only=True):
    """The base of every request for a service binding.

    Args:
        binding_id: The id of the binding, chosen by the platform.
        binding: The stored binding; None in a bind request and in a broker without a store.
    """

    binding_id: str
    binding: ServiceBinding = _NONE


class ProvisionRequest(InstanceRequest, frozen=True, kw_only=True):
    """Create a service instance (R-PROV).

    Args:
        offering: The service offering from the catalog.
        plan: The service plan from the catalog.
        parameters: The parameters of the user, valid against the schema of the plan. Defaults to none.
        context: The context of the platform: `platform`, and further properties by platform. Defaults to an
            empty dict.
        organization_guid: The organization, from the body or else from the context. Defaults to None.
        space_guid: The space, from the body or else from the context. Defaults to None.
        maintenance_info: The version that the platform read in the catalog. Defaults to None.
        accepts_incomplete: Whether the platform can poll. If not, the handler must not return `Accepted`
            (R-REQ-9). Defaults to False.
        body: The complete JSON object, with any fields that a platform adds. Defaults to an empty dict.
        attempt: The number of this attempt of a background handler, from 1. Defaults to 1.
    """

    _secret: ClassVar[frozenset[str]] = frozenset({"parameters", "body"})

    offering: ServiceOffering
    plan: ServicePlan
    parameters: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    organization_guid: str | None = None
    space_guid: str | None = None
    maintenance_info: MaintenanceInfo | None = None
    accepts_incomplete: bool = False
    body: dict[str, Any] = field(default_factory=dict)
    attempt: int = 1


class UpdateRequest(InstanceRequest, frozen=True, kw_only=True):
    """Change a service instance (R-UPD).

    Args:
        offering: The service offering from the catalog.
        plan: The plan after the update: the requested plan, or else the present one. None only if the
            platform named neither. Defaults to None.
        parameters: The parameters to change. Defaults to none.
        context: The context of the platform, as in `ProvisionRequest`, with its new values. Defaults to an
            empty dict.
        previous_values: The state of the instance before the update, according to the platform. With a
            store, the plan is the stored one.
        maintenance_info: The version to upgrade to. Defaults to None.
        accepts_incomplete: Whether the platform can poll. Defaults to False.
        body: The complete JSON object, with any fields that a platform adds. Defaults to an empty dict.
        attempt: The number of this attempt of a background handler, from 1. Defaults to 1.
    """

    _secret: ClassVar[frozenset[str]] = frozenset({"parameters", "body"})

    offering: ServiceOffering
    plan: ServicePlan | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    previous_values: PreviousValues = PreviousValues()
    maintenance_info: MaintenanceInfo | None = None
    accepts_incomplete: bool = False
    body: dict[str, Any] = field(default_factory=dict)
    attempt: int = 1


class DeprovisionRequest(InstanceRequest, frozen=True, kw_only=True):
    """Delete a service instance (R-DEL). The fields are as in `ProvisionRequest`."""

    offering: ServiceOffering
    plan: ServicePlan
    accepts_incomplete: bool = False
    attempt: int = 1


class BindRequest(BindingRequest, frozen=True, kw_only=True):
    """Create a service binding (R-BIND).

    Args:
        offering: The service offering from the catalog.
        plan: The service plan from the catalog.
        parameters: The parameters of the user, valid against the schema of the plan. Defaults to none.
        context: The context of the platform, as in `ProvisionRequest`. Defaults to an empty dict.
        bind_resource: The application, route or other resource to bind the instance to.
        app_guid: The application, from `bind_resource` or else from the deprecated field of the body.
            Defaults to None.
        predecessor: The id of the binding that this one replaces (R-BIND-6). Defaults to None.
        accepts_incomplete: Whether the platform can poll. Defaults to False.
        body: The complete JSON object, with any fields that a platform adds. Defaults to an empty dict.
        attempt: The number of this attempt of a background handler, from 1. Defaults to 1.
    """

    _secret: ClassVar[frozenset[str]] = frozenset({"parameters", "body"})

    offering: ServiceOffering
    plan: ServicePlan
    parameters: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    bind_resource: BindResource = BindResource()
    app_guid: str | None = None
    predecessor: str | None = None
    accepts_incomplete: bool = False
    body: dict[str, Any] = field(default_factory=dict)
    attempt: int = 1


class UnbindRequest(BindingRequest, frozen=True, kw_only=True):
    """Delete a service binding (R-UNB). The fields are as in `ProvisionRequest`."""

    offering: ServiceOffering
    plan: ServicePlan
    accepts_incomplete: bool = False
    attempt: int = 1


class GetInstanceRequest(InstanceRequest, frozen=True, kw_only=True):
    """Fetch a service instance (R-GETI).

    Args:
        offering: The service offering; None if the platform named none from the catalog.
        plan: The service plan; None if the platform named none from the catalog.
    """

    offering: ServiceOffering | None = None
    plan: ServicePlan | None = None


class GetBindingRequest(BindingRequest, frozen=True, kw_only=True):
    """Fetch a service binding (R-GETB). The fields are as in `GetInstanceRequest`."""

    offering: ServiceOffering | None = None
    plan: ServicePlan | None = None


class LastOperationRequest(InstanceRequest, frozen=True, kw_only=True):
    """Poll the state of an operation on a service instance (R-LAST).

    Args:
        offering: The service offering; None if the platform named none from the catalog.
        plan: The service plan; None if the platform named none from the catalog. During an update, the
            plan before it (R-UPD-6).
        operation: The `operation` of the `Accepted` result; None if the platform sent none.
    """

    offering: ServiceOffering | None = None
    plan: ServicePlan | None = None
    operation: str | None = None


class LastBindingOperationRequest(BindingRequest, frozen=True, kw_only=True):
    """Poll the state of an operation on a service binding. The fields are as in `LastOperationRequest`."""

    offering: ServiceOffering | None = None
    plan: ServicePlan | None = None
    operation: str | None = None
