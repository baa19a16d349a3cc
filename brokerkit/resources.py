"""The stored service instances and service bindings, as handlers see them.

A handler of a broker with a store gets them as `request.instance` and `request.binding`. A test creates its
own::

    UnbindRequest(..., instance=ServiceInstance(instance_id="i1", offering=offering, plan=plan))
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from msgspec import Struct, field

from ._internal.masked_struct import Masked
from .catalog.models import MaintenanceInfo, ServiceOffering, ServicePlan
from .results import Binding, InstanceMetadata

_EPOCH = datetime.fromtimestamp(0, UTC)


class BindResource(Struct, frozen=True, kw_only=True):
    """The resource that an instance is bound to (R-BIND)."""

    app_guid: str | None = None
    route: str | None = None
    space_guid: str | None = None
    app_annotations: dict[str, Any] | None = None
    credential_client_id: str | None = None
    backup_agent: bool | None = None


class ServiceBinding(Masked, frozen=True, kw_only=True):
    """A stored service binding.

    Args:
        binding_id: The id of the binding.
        parameters: The parameters of the bind request. Defaults to an empty dict.
        context: The context of the bind request. Defaults to an empty dict.
        app_guid: The application; None if the binding is not for an application.
        bind_resource: The resource that the instance is bound to.
        predecessor: The id of the binding that this one replaced (R-BIND-6). Defaults to None.
        result: The result of the bind handler; None until it succeeds.
        data: The `data` of the bind handler's result. Defaults to none.
        created_at: The time of the bind request, in UTC.
        updated_at: The time of the last change, in UTC.
    """

    _secret: ClassVar[frozenset[str]] = frozenset({"parameters", "data"})

    binding_id: str
    parameters: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    app_guid: str | None = None
    bind_resource: BindResource = BindResource()
    predecessor: str | None = None
    result: Binding | None = None
    data: dict[str, Any] = field(default_factory=dict)
    created_at: datetime = _EPOCH
    updated_at: datetime = _EPOCH


class ServiceInstance(Masked, frozen=True, kw_only=True):
    """A stored service instance.

    Args:
        instance_id: The id of the instance.
        offering: The service offering from the catalog.
        plan: The present plan; during an update, the plan before it. If the plan has left the catalog, a
            plan with only its id.
        parameters: The parameters of the provision request, with the changes of later updates. Defaults to
            an empty dict.
        context: The latest context from the platform. Defaults to an empty dict.
        organization_guid: The organization of the instance. Defaults to None.
        space_guid: The space of the instance. Defaults to None.
        maintenance_info: The maintenance version of the instance. Defaults to None.
        dashboard_url: The URL where users manage the instance. Defaults to None.
        metadata: The labels and attributes of the instance. Defaults to None.
        data: The `data` of the handlers' results. Defaults to none.
        bindings: The bindings, the oldest first, including those in progress and failed. They are read from
            the store on first use.
        created_at: The time of the provision request, in UTC.
        updated_at: The time of the last change, in UTC.
    """

    _secret: ClassVar[frozenset[str]] = frozenset({"parameters", "data"})
    _brief: ClassVar[frozenset[str]] = frozenset({"offering", "plan"})

    instance_id: str
    offering: ServiceOffering
    plan: ServicePlan
    parameters: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    organization_guid: str | None = None
    space_guid: str | None = None
    maintenance_info: MaintenanceInfo | None = None
    dashboard_url: str | None = None
    metadata: InstanceMetadata | None = None
    data: dict[str, Any] = field(default_factory=dict)
    bindings: Sequence[ServiceBinding] = ()
    created_at: datetime = _EPOCH
    updated_at: datetime = _EPOCH
