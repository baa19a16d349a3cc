"""Decision tables that map an operation and the status of its resource to the response of the broker.

The rule ids refer to `docs/rules.md`. The functions here only read a snapshot of the store.
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
"""The default maximum duration of an operation, in seconds.

It applies to plans without `maximum_polling_duration`. Cloud Foundry polls for at most this long.
"""


class ResourceStatus(Enum):
    """The status of an instance or binding."""

    ABSENT = "absent"
    CREATING = "creating"
    READY = "ready"
    FAILED = "failed"
    UPDATING = "updating"
    DELETING = "deleting"


class Decision(Enum):
    """The response of the broker to a request."""

    CALL_HANDLER = "call the handler"
    REPLAY_RESULT = "return the stored result, which is identical"
    REPLAY_ACCEPTED = "return 202 with the operation in progress"
    CANCEL = "cancel the operation in progress, then call the handler"
    NOT_FOUND = "404, or 410 for DELETE"
    CONFLICT = "409"
    BUSY = "422 ConcurrencyError"


_S, _D = ResourceStatus, Decision
_Rules = Mapping[ResourceStatus, Decision | tuple[Decision, Decision]]

RULES: dict[Operation, _Rules] = {
    Operation.PROVISION: {
        _S.ABSENT: _D.CALL_HANDLER,
        _S.CREATING: (_D.REPLAY_ACCEPTED, _D.CONFLICT),  # R-PROV-4, R-PROV-5
        _S.READY: (_D.REPLAY_RESULT, _D.CONFLICT),  # R-PROV-3, R-PROV-5
        _S.FAILED: _D.CONFLICT,
        _S.UPDATING: (_D.BUSY, _D.CONFLICT),
        _S.DELETING: (_D.BUSY, _D.CONFLICT),
    },
    Operation.GET_INSTANCE: {  # R-GETI
        _S.ABSENT: _D.NOT_FOUND,
        _S.CREATING: _D.NOT_FOUND,
        _S.READY: _D.REPLAY_RESULT,
        _S.FAILED: _D.NOT_FOUND,
        _S.UPDATING: _D.BUSY,
        _S.DELETING: _D.BUSY,
    },
    Operation.UPDATE: {
        _S.ABSENT: _D.NOT_FOUND,
        _S.CREATING: _D.BUSY,
        _S.READY: (_D.REPLAY_RESULT, _D.CALL_HANDLER),  # R-UPD-1: no effect, or an effect
        _S.FAILED: _D.NOT_FOUND,
        _S.UPDATING: (_D.REPLAY_ACCEPTED, _D.BUSY),  # R-UPD-1
        _S.DELETING: _D.BUSY,
    },
    Operation.DEPROVISION: {
        _S.ABSENT: _D.NOT_FOUND,  # R-DEL-1
        _S.CREATING: _D.CANCEL,  # R-DEL-3
        _S.READY: _D.CALL_HANDLER,
        _S.FAILED: _D.CALL_HANDLER,  # R-DEL-5
        _S.UPDATING: _D.BUSY,
        _S.DELETING: _D.REPLAY_ACCEPTED,  # R-DEL-1
    },
    Operation.BIND: {
        _S.ABSENT: _D.CALL_HANDLER,
        _S.CREATING: (_D.REPLAY_ACCEPTED, _D.CONFLICT),  # R-BIND-1
        _S.READY: (_D.REPLAY_RESULT, _D.CONFLICT),  # R-BIND-1
        _S.FAILED: _D.CONFLICT,
        _S.DELETING: (_D.BUSY, _D.CONFLICT),
    },
    Operation.GET_BINDING: {  # R-GETB
        _S.ABSENT: _D.NOT_FOUND,
        _S.CREATING: _D.NOT_FOUND,
        _S.READY: _D.REPLAY_RESULT,
        _S.FAILED: _D.NOT_FOUND,
        _S.DELETING: _D.NOT_FOUND,
    },
    Operation.UNBIND: {
        _S.ABSENT: _D.NOT_FOUND,  # R-UNB-1
        _S.CREATING: _D.CANCEL,  # R-UNB-3
        _S.READY: _D.CALL_HANDLER,
        _S.FAILED: _D.CALL_HANDLER,
        _S.DELETING: _D.REPLAY_ACCEPTED,  # R-UNB-1
    },
}
"""Decisions by operation and status. In a pair, the first is for a request identical to the stored one."""

INSTANCE_RULES: dict[Operation, Mapping[ResourceStatus, Decision]] = {
    Operation.BIND: {  # R-BIND-5
        _S.ABSENT: _D.NOT_FOUND,
        _S.CREATING: _D.BUSY,
        _S.FAILED: _D.NOT_FOUND,
        _S.UPDATING: _D.BUSY,
        _S.DELETING: _D.BUSY,
    },
    Operation.UNBIND: {
        _S.ABSENT: _D.NOT_FOUND,
        _S.UPDATING: _D.BUSY,
        _S.DELETING: _D.BUSY,
    },
}
"""Decisions for a binding by the status of its instance. They replace a handler call or a cancellation."""


def decide(operation: Operation, snapshot: Snapshot, *, identical: bool = True) -> Decision:
    """Decide how to respond to a request.

    Args:
        operation: The requested operation.
        snapshot: The stored state.
        identical: Whether the request is identical to the stored one. For an update: whether the request
            leads to the current state, or to the state after the update in progress. Defaults to True.
    """
    of_binding = operation in _BINDING_OPERATIONS
    subject = snapshot.binding if of_binding else snapshot.instance
    decision = RULES[operation][resource_status(subject)]
    if isinstance(decision, tuple):
        decision = decision[0] if identical else decision[1]
    if decision is not Decision.CALL_HANDLER and decision is not Decision.CANCEL:
        return decision
    if of_binding:
        return INSTANCE_RULES[operation].get(resource_status(snapshot.instance), decision)
    if snapshot.instance is not None and snapshot.instance.busy_bindings:
        return Decision.BUSY  # an operation on one of its bindings is in progress
    return decision


_BINDING_OPERATIONS = frozenset({Operation.BIND, Operation.GET_BINDING, Operation.UNBIND})

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
    """Return the status of a resource: from its operation in progress if any, otherwise from its state."""
    if subject is None:
        return ResourceStatus.ABSENT
    operation = subject.operation
    if operation is not None and operation.state is Progress.IN_PROGRESS:
        return _IN_PROGRESS[operation.kind]
    return _AT_REST[subject.state]


# Comparison of requests with stored instances and bindings


def requested_instance(request: ProvisionRequest) -> InstanceAttributes:
    """Return the requested attributes of an instance. The version defaults to the catalog's."""
    maintenance_info = request.maintenance_info or request.plan.maintenance_info
    return InstanceAttributes(
        instance_id=request.instance_id,
        parameters=request.parameters,
        context=request.context,
        organization_guid=request.organization_guid,
        space_guid=request.space_guid,
        maintenance_version=maintenance_info.version if maintenance_info else None,
    )


def is_identical_instance(instance: InstanceRecord | None, request: ProvisionRequest) -> bool:
    """Whether a provision request is identical to the stored instance (R-PROV-3)."""
    if instance is None:
        return False
    attributes = instance.attributes
    return (
        instance.service_id == request.offering.id
        and instance.plan_id == request.plan.id
        and attributes.organization_guid == request.organization_guid
        and attributes.space_guid == request.space_guid
        and _is_same_json(attributes.parameters, request.parameters)
    )


def updated_instance(
    instance: InstanceRecord, request: UpdateRequest, plan: ServicePlan
) -> InstanceAttributes:
    """Return the attributes of an instance after an update."""
    attributes = instance.attributes
    version = attributes.maintenance_version
    if request.maintenance_info is not None:
        version = request.maintenance_info.version
    elif plan.id != instance.plan_id:
        version = plan.maintenance_info.version if plan.maintenance_info else None
    return replace(
        attributes,
        parameters={**attributes.parameters, **request.parameters},
        context=request.context or attributes.context,
        maintenance_version=version,
    )


def is_identical_update(
    first: tuple[str, InstanceAttributes], second: tuple[str, InstanceAttributes]
) -> bool:
    """Whether two pairs of plan id and attributes describe the same instance (R-UPD-1)."""
    return first[0] == second[0] and _is_same_json(first[1], second[1])


def requested_binding(request: BindRequest, predecessor: BindingRecord | None) -> BindingAttributes:
    """Return the requested attributes of a binding. Parameters default to the predecessor's (R-BIND-6)."""
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


def is_identical_binding(snapshot: Snapshot, request: BindRequest) -> bool:
    """Whether a bind request is identical to the stored binding (R-BIND-1)."""
    if snapshot.binding is None or snapshot.instance is None:
        return False
    attributes = snapshot.binding.attributes
    inherited = attributes.inherits_parameters and not request.parameters
    return (
        snapshot.instance.service_id == request.offering.id
        and attributes.plan_id == request.plan.id
        and attributes.app_guid == request.app_guid
        and attributes.predecessor == request.predecessor
        and all(attributes.context.get(name) == request.context.get(name) for name in _OWNER_FIELDS)
        and _is_same_json(attributes.bind_resource, request.bind_resource)
        and (inherited or _is_same_json(attributes.parameters, request.parameters))
    )


_OWNER_FIELDS = ("organization_guid", "space_guid")
_encoder = msgspec.json.Encoder(order="deterministic")


def _is_same_json(first: object, second: object) -> bool:
    """Whether two values are equal in JSON, where true differs from 1 and field order is irrelevant."""
    return _encoder.encode(first) == _encoder.encode(second)
