"""The rules, as a table: what is asked × how the instance or binding stands → what to do.

To be read beside `docs/rules.md`. It decides from what is remembered alone, and does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import msgspec
from msgspec.structs import replace

from ..catalog.models import ServicePlan
from ..requests import BindRequest, Operation, ProvisionRequest, UpdateRequest
from ..store.models import (
    BindingAttributes,
    BindingRecord,
    InstanceAttributes,
    InstanceRecord,
    Progress,
    Snapshot,
    State,
)

DEFAULT_DEADLINE = 7 * 24 * 3600.0
"""When an operation fails by itself whose plan does not say, in seconds: as long as Cloud Foundry polls."""


class ResourceStatus(Enum):
    """How an instance or binding stands."""

    ABSENT = "absent"
    CREATING = "creating"
    READY = "ready"
    FAILED = "failed"
    UPDATING = "updating"
    DELETING = "deleting"


class Decision(Enum):
    """What to do with a request."""

    CALL_HANDLER = "ask the handler"
    REPLAY_RESULT = "answer from memory: it is as asked"
    REPLAY_ACCEPTED = "202 again, with the operation that is in progress"
    CANCEL = "end what is being made, then ask the handler"
    NOT_FOUND = "404, or 410 to a DELETE"
    CONFLICT = "409"
    BUSY = "422 ConcurrencyError"


_S, _V = ResourceStatus, Decision
_Rules = Mapping[ResourceStatus, Decision | tuple[Decision, Decision]]

RULES: dict[Operation, _Rules] = {
    Operation.PROVISION: {
        _S.ABSENT: _V.CALL_HANDLER,
        _S.CREATING: (_V.REPLAY_ACCEPTED, _V.CONFLICT),  # R-PROV-4, R-PROV-5
        _S.READY: (_V.REPLAY_RESULT, _V.CONFLICT),  # R-PROV-3, R-PROV-5
        _S.FAILED: _V.CONFLICT,
        _S.UPDATING: (_V.BUSY, _V.CONFLICT),
        _S.DELETING: (_V.BUSY, _V.CONFLICT),
    },
    Operation.GET_INSTANCE: {  # R-GETI
        _S.ABSENT: _V.NOT_FOUND,
        _S.CREATING: _V.NOT_FOUND,
        _S.READY: _V.REPLAY_RESULT,
        _S.FAILED: _V.NOT_FOUND,
        _S.UPDATING: _V.BUSY,
        _S.DELETING: _V.BUSY,
    },
    Operation.UPDATE: {
        _S.ABSENT: _V.NOT_FOUND,
        _S.CREATING: _V.BUSY,
        _S.READY: (_V.REPLAY_RESULT, _V.CALL_HANDLER),  # R-UPD-1: without effect, or not
        _S.FAILED: _V.NOT_FOUND,
        _S.UPDATING: (_V.REPLAY_ACCEPTED, _V.BUSY),  # R-UPD-1
        _S.DELETING: _V.BUSY,
    },
    Operation.DEPROVISION: {
        _S.ABSENT: _V.NOT_FOUND,  # R-DEL-1
        _S.CREATING: _V.CANCEL,  # R-DEL-3
        _S.READY: _V.CALL_HANDLER,
        _S.FAILED: _V.CALL_HANDLER,  # R-DEL-5
        _S.UPDATING: _V.BUSY,
        _S.DELETING: _V.REPLAY_ACCEPTED,  # R-DEL-1
    },
    Operation.BIND: {
        _S.ABSENT: _V.CALL_HANDLER,
        _S.CREATING: (_V.REPLAY_ACCEPTED, _V.CONFLICT),  # R-BIND-1
        _S.READY: (_V.REPLAY_RESULT, _V.CONFLICT),  # R-BIND-1
        _S.FAILED: _V.CONFLICT,
        _S.DELETING: (_V.BUSY, _V.CONFLICT),
    },
    Operation.GET_BINDING: {  # R-GETB
        _S.ABSENT: _V.NOT_FOUND,
        _S.CREATING: _V.NOT_FOUND,
        _S.READY: _V.REPLAY_RESULT,
        _S.FAILED: _V.NOT_FOUND,
        _S.DELETING: _V.NOT_FOUND,
    },
    Operation.UNBIND: {
        _S.ABSENT: _V.NOT_FOUND,  # R-UNB-1
        _S.CREATING: _V.CANCEL,  # R-UNB-3
        _S.READY: _V.CALL_HANDLER,
        _S.FAILED: _V.CALL_HANDLER,
        _S.DELETING: _V.REPLAY_ACCEPTED,  # R-UNB-1
    },
}
"""Of a pair, the first is for a request that is identical to what is remembered, the second for others."""

INSTANCE_RULES: dict[Operation, Mapping[ResourceStatus, Decision]] = {
    Operation.BIND: {  # R-BIND-5
        _S.ABSENT: _V.NOT_FOUND,
        _S.CREATING: _V.BUSY,
        _S.FAILED: _V.NOT_FOUND,
        _S.UPDATING: _V.BUSY,
        _S.DELETING: _V.BUSY,
    },
    Operation.UNBIND: {
        _S.ABSENT: _V.NOT_FOUND,
        _S.UPDATING: _V.BUSY,
        _S.DELETING: _V.BUSY,
    },
}
"""What the instance says to a request about a binding of it, before the handler is asked."""


def decide(operation: Operation, known: Snapshot, *, same: bool = True) -> Decision:
    """Decide what to do with a request.

    Args:
        operation: What is asked.
        known: What is remembered.
        same: Is the request identical to what is remembered, or, of an update, to what is in effect or in
            progress already?
    """
    of_binding = operation in _OF_BINDINGS
    subject = known.binding if of_binding else known.instance
    verdict = RULES[operation][resource_status(subject)]
    if isinstance(verdict, tuple):
        verdict = verdict[0] if same else verdict[1]
    if verdict is not Decision.CALL_HANDLER and verdict is not Decision.CANCEL:
        return verdict
    if of_binding:
        return INSTANCE_RULES[operation].get(resource_status(known.instance), verdict)
    if known.instance is not None and known.instance.busy_bindings:
        return Decision.BUSY  # a binding of it is being made or deleted
    return verdict


_OF_BINDINGS = frozenset({Operation.BIND, Operation.GET_BINDING, Operation.UNBIND})

_IN_PROGRESS = {
    Operation.PROVISION: ResourceStatus.CREATING,
    Operation.UPDATE: ResourceStatus.UPDATING,
    Operation.DEPROVISION: ResourceStatus.DELETING,
    Operation.BIND: ResourceStatus.CREATING,
    Operation.UNBIND: ResourceStatus.DELETING,
}
_AT_REST = {
    State.CREATING: ResourceStatus.CREATING,
    State.READY: ResourceStatus.READY,
    State.FAILED: ResourceStatus.FAILED,
    State.DELETED: ResourceStatus.ABSENT,
}


def resource_status(subject: InstanceRecord | BindingRecord | None) -> ResourceStatus:
    """How an instance or binding stands: by its operation if one is in progress, else by its state."""
    if subject is None:
        return ResourceStatus.ABSENT
    operation = subject.operation
    if operation is not None and operation.state is Progress.IN_PROGRESS:
        return _IN_PROGRESS[operation.kind]
    return _AT_REST[subject.state]


# What is identical


def requested_instance(request: ProvisionRequest) -> InstanceAttributes:
    """What a provision asks for. Without a version, the instance gets the catalog's."""
    told = request.maintenance_info or request.plan.maintenance_info
    return InstanceAttributes(
        instance_id=request.instance_id,
        parameters=request.parameters,
        context=request.context,
        organization_guid=request.organization_guid,
        space_guid=request.space_guid,
        maintenance_version=told.version if told else None,
    )


def is_identical_instance(instance: InstanceRecord | None, request: ProvisionRequest) -> bool:
    """Does a provision ask for the instance that is there (R-PROV-3)?"""
    if instance is None:
        return False
    known = instance.attributes
    return (
        instance.service_id == request.offering.id
        and instance.plan_id == request.plan.id
        and known.organization_guid == request.organization_guid
        and known.space_guid == request.space_guid
        and _is_same_json(known.parameters, request.parameters)
    )


def updated_instance(
    instance: InstanceRecord, request: UpdateRequest, plan: ServicePlan
) -> InstanceAttributes:
    """What an instance is after an update: its parameters and context changed by those that were given."""
    known = instance.attributes
    version = known.maintenance_version
    if request.maintenance_info is not None:
        version = request.maintenance_info.version
    elif plan.id != instance.plan_id:
        version = plan.maintenance_info.version if plan.maintenance_info else None
    return replace(
        known,
        parameters={**known.parameters, **request.parameters},
        context=request.context or known.context,
        maintenance_version=version,
    )


def is_identical_update(one: tuple[str, InstanceAttributes], other: tuple[str, InstanceAttributes]) -> bool:
    """Is an instance the same with this plan and attributes as with those (R-UPD-1)?"""
    return one[0] == other[0] and _is_same_json(one[1], other[1])


def requested_binding(request: BindRequest, predecessor: BindingRecord | None) -> BindingAttributes:
    """What a bind asks for. A successor has its predecessor's parameters unless told (R-BIND-6)."""
    inherits = predecessor is not None and not request.parameters
    return BindingAttributes(
        binding_id=request.binding_id,
        plan_id=request.plan.id,
        parameters=predecessor.attributes.parameters if predecessor and inherits else request.parameters,
        inherits_parameters=inherits,
        context=request.context,
        app_guid=request.app_guid,
        bind_resource=request.bind_resource,
        predecessor=request.predecessor,
    )


def is_identical_binding(known: Snapshot, request: BindRequest) -> bool:
    """Does a bind ask for the binding that is there (R-BIND-1)?"""
    if known.binding is None or known.instance is None:
        return False
    there = known.binding.attributes
    inherited = there.inherits_parameters and not request.parameters
    return (
        known.instance.service_id == request.offering.id
        and there.plan_id == request.plan.id
        and there.app_guid == request.app_guid
        and there.predecessor == request.predecessor
        and all(there.context.get(name) == request.context.get(name) for name in _OWNERS)
        and _is_same_json(there.bind_resource, request.bind_resource)
        and (inherited or _is_same_json(there.parameters, request.parameters))
    )


_OWNERS = ("organization_guid", "space_guid")
_encoder = msgspec.json.Encoder(order="deterministic")


def _is_same_json(one: object, other: object) -> bool:
    """In JSON, true is not 1, and the order of an object's fields says nothing."""
    return _encoder.encode(one) == _encoder.encode(other)
