"""From records to what handlers see, and from a request to what is kept of it and back."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any, get_type_hints, overload

import msgspec

from ..catalog.models import Catalog, MaintenanceInfo, ServiceOffering, ServicePlan
from ..requests import (
    BindRequest,
    DeprovisionRequest,
    InstanceRequest,
    Operation,
    PreviousValues,
    ProvisionRequest,
    RequestHeaders,
    UnbindRequest,
    UpdateRequest,
)
from ..resources import BindResource, ServiceBinding, ServiceInstance
from ..store.models import BindingRecord, InstanceRecord, OperationRecord
from ..store.store import Store

_KINDS: dict[Operation, Callable[..., InstanceRequest]] = {
    Operation.PROVISION: ProvisionRequest,
    Operation.UPDATE: UpdateRequest,
    Operation.DEPROVISION: DeprovisionRequest,
    Operation.BIND: BindRequest,
    Operation.UNBIND: UnbindRequest,
}

# What msgspec knows of a struct it finds out when it first needs it, which no two threads may do at once.
_FOUND_OUT = [msgspec.json.Decoder(kind) for kind in (RequestHeaders, BindResource, PreviousValues)]

_NOT_KEPT = {"offering", "plan", "instance", "binding", "attempt"}
"""What is known from elsewhere when a request is made again."""


_KEPT_BRIEFLY = (
    "headers",
    "instance_id",
    "binding_id",
    "accepts_incomplete",
    "organization_guid",
    "space_guid",
    "app_guid",
)


def dump_request(request: InstanceRequest) -> dict[str, Any]:
    """All of a request, for a handler that gets it later."""
    return {name: getattr(request, name) for name in request.__struct_fields__ if name not in _NOT_KEPT}


def dump_request_summary(request: InstanceRequest) -> dict[str, Any]:
    """Of a request that is answered at once: who asked for what, as the audit trail tells it."""
    told = {name: getattr(request, name, None) for name in _KEPT_BRIEFLY}
    return {name: value for name, value in told.items() if value is not None}


def load_request(
    store: Store,
    catalog: Catalog,
    operation: OperationRecord,
    instance: InstanceRecord | None,
    binding: BindingRecord | None,
) -> InstanceRequest:
    """The request that began an operation, as the handler of its next attempt sees it."""
    kind = _KINDS[operation.kind]
    fields = store.encryptor.decrypt(operation.request, dict)
    hints = _hints(kind)
    told = {name: msgspec.convert(value, hints[name]) for name, value in fields.items() if name in hints}
    service, plan = resolve_plan(catalog, operation.service_id, operation.plan_id)
    if instance is not None and operation.kind is not Operation.PROVISION:
        told["instance"] = service_instance(store, catalog, instance)
    if binding is not None and operation.kind is Operation.UNBIND:
        told["binding"] = service_binding(binding)
    return kind(offering=service, plan=plan, attempt=max(operation.tries, 1), **told)


@functools.cache
def _hints(kind: Callable[..., InstanceRequest]) -> dict[str, Any]:
    return get_type_hints(kind)


def resolve_plan(catalog: Catalog, service_id: str, plan_id: str) -> tuple[ServiceOffering, ServicePlan]:
    """The catalog's offering and plan; where it has them no more, such with their ids alone."""
    found = catalog.find_plan(plan_id)
    if found is not None and found[0].id == service_id:
        return found
    plan = ServicePlan(id=plan_id, name=plan_id, description="No longer in the catalog")
    service = catalog.offering(service_id) or ServiceOffering(
        id=service_id,
        name=service_id,
        description="No longer in the catalog",
        bindable=False,
        plans=[plan],
    )
    return service, plan


def service_instance(store: Store, catalog: Catalog, record: InstanceRecord) -> ServiceInstance:
    """An instance, as handlers see it."""
    service, plan = resolve_plan(catalog, record.service_id, record.plan_id)
    attributes, result = record.attributes, record.result
    version = attributes.maintenance_version
    return ServiceInstance(
        instance_id=attributes.instance_id,
        offering=service,
        plan=plan,
        parameters=_copy(attributes.parameters),
        context=_copy(attributes.context),
        organization_guid=attributes.organization_guid,
        space_guid=attributes.space_guid,
        maintenance_info=None if version is None else MaintenanceInfo(version),
        dashboard_url=result.dashboard_url,
        metadata=result.metadata,
        data=_copy(result.data),
        bindings=_Bindings(functools.partial(store.bindings_of, record.key)),
        created_at=_moment(record.created_at),
        updated_at=_moment(record.updated_at),
    )


def service_binding(record: BindingRecord) -> ServiceBinding:
    """A binding, as handlers see it."""
    attributes = record.attributes
    return ServiceBinding(
        binding_id=attributes.binding_id,
        parameters=_copy(attributes.parameters),
        context=_copy(attributes.context),
        app_guid=attributes.app_guid,
        bind_resource=attributes.bind_resource,
        predecessor=attributes.predecessor,
        result=record.result.binding,
        data=_copy(record.result.data),
        created_at=_moment(record.created_at),
        updated_at=_moment(record.updated_at),
    )


def _copy(document: dict[str, Any]) -> dict[str, Any]:
    """What a handler may write into, without changing what is remembered."""
    return deepcopy(document) if document else {}


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


class _Bindings(Sequence[ServiceBinding]):
    """The bindings of an instance, read when they are looked at; most handlers never do."""

    def __init__(self, read: Callable[[], list[BindingRecord]]) -> None:
        self._read = read

    @functools.cached_property
    def _all(self) -> list[ServiceBinding]:
        return [service_binding(record) for record in self._read()]

    @overload
    def __getitem__(self, index: int) -> ServiceBinding: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ServiceBinding]: ...
    def __getitem__(self, index: int | slice) -> ServiceBinding | Sequence[ServiceBinding]:
        return self._all[index]

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[ServiceBinding]:
        return iter(self._all)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._all == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "<bindings>"
