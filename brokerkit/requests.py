"""What a platform asks: one frozen struct for each operation.

A handler gets one of these and nothing else, so it can be called without Flask too::

    provision(ProvisionRequest(instance_id="i1", offering=offering, plan=plan))
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar

from msgspec import Struct, field

from ._internal.masking import Masked
from .catalog.models import MaintenanceInfo, ServiceOffering, ServicePlan
from .resources import BindResource, ServiceBinding, ServiceInstance


class Operation(StrEnum):
    """What a platform can ask for; equal to its name, which is also that of the handler's decorator."""

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

    __hash__ = str.__hash__  # as fast as its name's; an enum's own is Python code


class OriginatingIdentity(Struct, frozen=True):
    """Whose wish the platform passes on (R-REQ-3).

    Args:
        platform: ``"cloudfoundry"``, ``"kubernetes"``, …
        value: What that platform says of its user: `user_id`; or `username`, `uid`, `groups`, `extra`.
    """

    platform: str
    value: dict[str, Any]

    @property
    def user(self) -> str | None:
        """Who that is: Cloud Foundry's `user_id`, Kubernetes' `username` or `uid`; None if there is none."""
        names = (self.value.get(name) for name in ("user_id", "username", "uid"))
        return next((name for name in names if isinstance(name, str) and name), None)


class RequestHeaders(Struct, frozen=True, kw_only=True):
    """What the headers of a request say.

    Args:
        api_version: The version of the API that the platform speaks, such as ``"2.17"`` (R-REQ-1).
        originating_identity: Whose wish it is (R-REQ-3).
        request_identity: The platform's id of this request; the answer carries it back (R-REQ-4).
        correlation_id: The platform's id of all that belongs to one wish, from ``X-Vcap-Request-Id``,
            ``X-Correlation-ID`` or ``X-Request-ID``, the first that is there (R-REQ-5).
        info_location: Where Cloud Foundry's API is, from ``X-Api-Info-Location`` (R-REQ-5).
        username: Who authenticated; None where nobody has a name.
        trace_context: How to go on with the platform's trace, as headers: `traceparent` and `tracestate` of
            W3C, `b3` or `x-b3-…` of Zipkin; empty if it sent none. Where a subscriber records spans, with
            the request's span. Work in the background has it too, then with the span of its attempt.
    """

    api_version: str = "2.17"
    originating_identity: OriginatingIdentity | None = None
    request_identity: str | None = None
    correlation_id: str | None = None
    info_location: str | None = None
    username: str | None = None
    trace_context: dict[str, str] = field(default_factory=dict)


class PreviousValues(Struct, frozen=True, kw_only=True):
    """What a platform says an instance was before an update (R-UPD)."""

    service_id: str | None = None
    plan_id: str | None = None
    organization_id: str | None = None
    space_id: str | None = None
    maintenance_info: MaintenanceInfo | None = None


class Request(Masked, frozen=True, kw_only=True):
    """What every request has.

    Args:
        headers: What its headers say.
    """

    _brief: ClassVar[frozenset[str]] = frozenset({"offering", "plan"})

    headers: RequestHeaders = RequestHeaders()


class CatalogRequest(Request, frozen=True, kw_only=True):
    """``GET /v2/catalog``. No handler gets it; signals do."""


# Handlers of a broker with a store need not ask whether it is there, and those of another never look.
_NOTHING: Any = None


class InstanceRequest(Request, frozen=True, kw_only=True):
    """What every request about a service instance has.

    Args:
        instance_id: The id that the platform chose.
        instance: What the broker remembers of it; None in a provision, and in a broker without a store.
    """

    instance_id: str
    instance: ServiceInstance = _NOTHING


class BindingRequest(InstanceRequest, frozen=True, kw_only=True):
    """What every request about a service binding has.

    Args:
        binding_id: The id that the platform chose.
        binding: What the broker remembers of it; None in a bind, and in a broker without a store.
    """

    binding_id: str
    binding: ServiceBinding = _NOTHING


class ProvisionRequest(InstanceRequest, frozen=True, kw_only=True):
    """Make a service instance (R-PROV).

    Args:
        offering: The catalog's offering.
        plan: The catalog's plan.
        parameters: The user's, as the plan's schema allows; empty if there are none.
        context: What the platform says of the surroundings: `platform`, and more by platform.
        organization_guid: The body's, else the context's.
        space_guid: The body's, else the context's.
        maintenance_info: The version that the platform read in the catalog.
        accepts_incomplete: Can the platform poll? If not, `Accepted` is no answer (R-REQ-9).
        body: The whole JSON object, for what a platform adds.
        attempt: Which attempt of a background handler this is, from 1.
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
        offering: The catalog's offering.
        plan: The plan that the instance is to have: the one asked for, else the one it had before.
            None only if the platform named neither.
        parameters: Those to change; empty if there are none.
        context: As for a provision; the new one, where it changed.
        previous_values: What the platform says the instance was; its plan, where the broker remembers, is the
            one that it remembers.
        maintenance_info: The version to move to.
        accepts_incomplete: Can the platform poll?
        body: The whole JSON object, for what a platform adds.
        attempt: Which attempt of a background handler this is, from 1.
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
    """Delete a service instance (R-DEL). `attempt` as in `ProvisionRequest`."""

    offering: ServiceOffering
    plan: ServicePlan
    accepts_incomplete: bool = False
    attempt: int = 1


class BindRequest(BindingRequest, frozen=True, kw_only=True):
    """Make a service binding (R-BIND).

    Args:
        offering: The catalog's offering.
        plan: The catalog's plan.
        parameters: The user's, as the plan's schema allows; empty if there are none.
        context: As for a provision.
        bind_resource: What the instance is bound to.
        app_guid: The application: `bind_resource`'s, else the body's own, which is deprecated.
        predecessor: The id of the binding that this one is to follow (R-BIND-6).
        accepts_incomplete: Can the platform poll?
        body: The whole JSON object, for what a platform adds.
        attempt: Which attempt of a background handler this is, from 1.
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
    """Delete a service binding (R-UNB). `attempt` as in `ProvisionRequest`."""

    offering: ServiceOffering
    plan: ServicePlan
    accepts_incomplete: bool = False
    attempt: int = 1


class GetInstanceRequest(InstanceRequest, frozen=True, kw_only=True):
    """Fetch a service instance (R-GETI).

    Args:
        offering: The catalog's offering; None if the platform did not name one that is in it.
        plan: The catalog's plan; None likewise.
    """

    offering: ServiceOffering | None = None
    plan: ServicePlan | None = None


class GetBindingRequest(BindingRequest, frozen=True, kw_only=True):
    """Fetch a service binding (R-GETB). `offering` and `plan` as in `GetInstanceRequest`."""

    offering: ServiceOffering | None = None
    plan: ServicePlan | None = None


class LastOperationRequest(InstanceRequest, frozen=True, kw_only=True):
    """Ask how an operation on a service instance goes (R-LAST).

    Args:
        offering: The catalog's offering; None if the platform did not name one that is in it.
        plan: The catalog's plan; None likewise. During an update, the one before it (R-UPD-6).
        operation: The string that `Accepted` gave.
    """

    offering: ServiceOffering | None = None
    plan: ServicePlan | None = None
    operation: str | None = None


class LastBindingOperationRequest(BindingRequest, frozen=True, kw_only=True):
    """Ask how an operation on a service binding goes; as `LastOperationRequest`."""

    offering: ServiceOffering | None = None
    plan: ServicePlan | None = None
    operation: str | None = None
