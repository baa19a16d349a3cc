"""Conversion of records to objects for handlers, and of requests to stored documents and back."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar, get_type_hints, overload

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
from .json_copy import json_copy

_T = TypeVar("_T")

_KINDS: dict[Operation, Callable[..., InstanceRequest]] = {
    Operation.PROVISION: ProvisionRequest,
    Operation.UPDATE: UpdateRequest,
    Operation.DEPROVISION: DeprovisionRequest,
    Operation.BIND: BindRequest,
    Operation.UNBIND: UnbindRequest,
}

# Build decoders at import time: msgspec inspects types lazily, which is not thread-safe.
_PREBUILT_DECODERS = [msgspec.json.Decoder(kind) for kind in (RequestHeaders, BindResource, PreviousValues)]

_DERIVED_FIELDS = {"offering", "plan", "instance", "binding", "attempt"}
"""Request fields that are not stored: the catalog and the store supply them when a request is loaded."""


_SUMMARY_FIELDS = (
    "headers",
    "instance_id",
    "binding_id",
    "accepts_incomplete",
    "organization_guid",
    "space_guid",
    "app_guid",
)


def dump_request(request: InstanceRequest) -> dict[str, Any]:
    """Convert a request to a document with all its fields, for a handler that runs later."""
    return {name: getattr(request, name) for name in request.__struct_fields__ if name not in _DERIVED_FIELDS}


def dump_request_summary(request: InstanceRequest) -> dict[str, Any]:
    """Convert a request of a synchronous handler to a document with the fields of the audit trail only."""
    fields = {name: getattr(request, name, None) for name in _SUMMARY_FIELDS}
    return {name: value for name, value in fields.items() if value is not None}


def load_request(
    store: Store,
    catalog: Catalog,
    operation: OperationRecord,
    instance: InstanceRecord | None,
    binding: BindingRecord | None,
) -> InstanceRequest:
    """Rebuild the request that started an operation, for the handler of its current attempt."""
    kind = _KINDS[operation.kind]
    document = store.request_of(operation)
    hints = _hints(kind)
    fields = {name: msgspec.convert(value, hints[name]) for name, value in document.items() if name in hints}
    offering, plan = resolve_plan(catalog, operation.service_id, operation.plan_id)
    if instance is not None and operation.kind is not Operation.PROVISION:
        fields["instance"] = service_instance(store, catalog, instance)
    if binding is not None and operation.kind is Operation.UNBIND:
        fields["binding"] = service_binding(binding)
    return kind(offering=offering, plan=plan, attempt=max(operation.tries, 1), **fields)


@functools.cache
def _hints(kind: Callable[..., InstanceRequest]) -> dict[str, Any]:
    return get_type_hints(kind)


def resolve_plan(catalog: Catalog, offering_id: str, plan_id: str) -> tuple[ServiceOffering, ServicePlan]:
    """Return an offering and a plan of the catalog, or placeholders if the catalog no longer has them."""
    pair = catalog.find_plan(plan_id)
    if pair is not None and pair[0].id == offering_id:
        return pair
    plan = ServicePlan(id=plan_id, name=plan_id, description="No longer in the catalog")
    offering = catalog.offering(offering_id) or ServiceOffering(
        id=offering_id,
        name=offering_id,
        description="No longer in the catalog",
        bindable=False,
        plans=[plan],
    )
    return offering, plan


def service_instance(store: Store, catalog: Catalog, record: InstanceRecord) -> ServiceInstance:
    """Convert the record of an instance to the object that handlers receive."""
    offering, plan = resolve_plan(catalog, record.service_id, record.plan_id)
    attributes, result = record.attributes, record.result
    version = attributes.maintenance_version
    return ServiceInstance(
        instance_id=attributes.instance_id,
        offering=offering,
        plan=plan,
        parameters=_copy(attributes.parameters),
        context=_copy(attributes.context),
        organization_guid=attributes.organization_guid,
        space_guid=attributes.space_guid,
        maintenance_info=None if version is None else MaintenanceInfo(version),
        dashboard_url=result.dashboard_url,
        metadata=_copy_optional(result.metadata),
        data=_copy(result.data),
        bindings=_Bindings(functools.partial(store.bindings_of, record.key)),
        created_at=_utc(record.created_at),
        updated_at=_utc(record.updated_at),
    )


def service_binding(record: BindingRecord) -> ServiceBinding:
    """Convert the record of a binding to the object that handlers receive."""
    attributes = record.attributes
    return ServiceBinding(
        binding_id=attributes.binding_id,
        parameters=_copy(attributes.parameters),
        context=_copy(attributes.context),
        app_guid=attributes.app_guid,
        bind_resource=json_copy(attributes.bind_resource),
        predecessor=attributes.predecessor,
        result=_copy_optional(record.result.binding),
        data=_copy(record.result.data),
        created_at=_utc(record.created_at),
        updated_at=_utc(record.updated_at),
    )


def _copy(document: dict[str, Any]) -> dict[str, Any]:
    """Copy a stored document, so that a handler cannot change the record."""
    return json_copy(document) if document else {}


def _copy_optional(value: _T | None) -> _T | None:
    return None if value is None else json_copy(value)


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


class _Bindings(Sequence[ServiceBinding]):
    """The bindings of an instance, loaded on first access because most handlers do not use them."""

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
