"""What a broker with a store remembers: service instances and service bindings, as handlers see them.

A handler finds them at `request.instance` and `request.binding`. In a test of its own it can make them::

    UnbindRequest(..., instance=ServiceInstance(instance_id="i1", offering=offering, plan=plan))
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from msgspec import Struct, field

from ._internal.masking import Masked
from .catalog.models import MaintenanceInfo, ServiceOffering, ServicePlan
from .results import Binding, InstanceMetadata

_EPOCH = datetime.fromtimestamp(0, UTC)


class BindResource(Struct, frozen=True, kw_only=True):
    """What an instance is bound to (R-BIND)."""

    app_guid: str | None = None
    route: str | None = None
    space_guid: str | None = None
    app_annotations: dict[str, Any] | None = None
    credential_client_id: str | None = None
    backup_agent: bool | None = None


class ServiceBinding(Masked, frozen=True, kw_only=True):
    """A service binding that the broker remembers.

    Args:
        binding_id: Its id.
        parameters: Those it was made with.
        context: What the platform said of the surroundings.
        app_guid: The application, if it is for one.
        bind_resource: What the instance is bound to.
        predecessor: The id of the binding that it followed (R-BIND-6).
        result: What the bind handler answered; None if it never did.
        data: What the bind handler gave to be remembered; empty if nothing.
        created_at: When it was asked for, in UTC.
        updated_at: When it last changed, in UTC.
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
    """A service instance that the broker remembers.

    Args:
        instance_id: Its id.
        offering: The catalog's offering.
        plan: The plan that it has, also while an update is to change it; the catalog's, or where that has
            it no more, one with its id alone.
        parameters: Those it was made with, and changed by updates since.
        context: What the platform said last of the surroundings.
        organization_guid: Whose it is.
        space_guid: Where it is.
        maintenance_info: The version of what it runs.
        dashboard_url: Where its user manages it.
        metadata: What it is.
        data: What handlers gave to be remembered; empty if nothing.
        bindings: Its bindings, the oldest first, also those that are being made or deleted, or failed. They
            are read from the store when they are looked at.
        created_at: When it was asked for, in UTC.
        updated_at: When it last changed, in UTC.
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
