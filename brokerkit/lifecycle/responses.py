"""Answers that need no handler: what the store knows, as results."""

from __future__ import annotations

import math
from typing import Any

from msgspec.structs import replace

from ..catalog.models import MaintenanceInfo
from ..errors import (
    BindingAlreadyExists,
    BindingDoesNotExist,
    BrokerError,
    ConcurrencyError,
    InstanceAlreadyExists,
    InstanceDoesNotExist,
)
from ..requests import BindingRequest, Operation
from ..results import Accepted, Binding, InstanceDetails, LastOperation, Provisioned, Updated
from ..store.models import InstanceRecord, Mode, OperationRecord, Outcome, Progress, Snapshot
from .policy import Decision, ResourceStatus, resource_status

_LONGEST_PAUSE = 60

DEADLINE_EXCEEDED = Outcome(description="It took longer than its service plan allows.")


def refusal(verdict: Decision, request: object, known: Snapshot) -> BrokerError:
    """What a verdict is to the platform that is not to get what it asked for."""
    of_binding = isinstance(request, BindingRequest)
    subject = known.binding if of_binding else known.instance
    if verdict is Decision.BUSY:
        return ConcurrencyError()
    if verdict is Decision.CONFLICT:
        kind = BindingAlreadyExists if of_binding else InstanceAlreadyExists
        if resource_status(subject) is ResourceStatus.FAILED:
            return kind("What has this id could not be made; delete it first.")
        return kind()
    if of_binding and resource_status(known.instance) not in (ResourceStatus.ABSENT, ResourceStatus.FAILED):
        return BindingDoesNotExist()
    return InstanceDoesNotExist()


def stored_response(operation: Operation, known: Snapshot) -> Any:
    """The result of what is there already, as asked."""
    instance, binding = known.instance, known.binding
    assert instance is not None, "it is there"
    match operation:
        case Operation.PROVISION:
            return Provisioned(
                dashboard_url=instance.result.dashboard_url, metadata=instance.result.metadata, exists=True
            )
        case Operation.UPDATE:
            return Updated(dashboard_url=instance.result.dashboard_url, metadata=instance.result.metadata)
        case Operation.GET_INSTANCE:
            return instance_details(instance)
        case _:
            assert binding is not None, "it is there"
            made = binding.result.binding or Binding()
            if operation is Operation.BIND:
                return replace(made, exists=True)
            return replace(made, parameters=binding.attributes.parameters or None)


def instance_details(instance: InstanceRecord) -> InstanceDetails:
    """An instance, for its fetch (R-GETI)."""
    version = instance.attributes.maintenance_version
    return InstanceDetails(
        service_id=instance.service_id,
        plan_id=instance.plan_id,
        dashboard_url=instance.result.dashboard_url,
        parameters=instance.attributes.parameters or None,
        maintenance_info=None if version is None else MaintenanceInfo(version),
        metadata=instance.result.metadata,
    )


def replayed_acceptance(operation: OperationRecord, outcome: Outcome, instance: InstanceRecord) -> Accepted:
    """The 202 of an operation that is in progress (R-PROV-4)."""
    if operation.kind not in (Operation.PROVISION, Operation.UPDATE):
        return Accepted(operation=operation.id)
    result = outcome.result or instance.result
    return Accepted(operation=operation.id, dashboard_url=result.dashboard_url, metadata=result.metadata)


def last_operation(operation: OperationRecord, outcome: Outcome, now: float) -> LastOperation:
    """How an operation goes (R-LAST-1), and when to ask again (R-LAST-2)."""
    if operation.state is Progress.SUCCEEDED:
        return LastOperation.succeeded(outcome.description)
    if operation.state is Progress.FAILED:
        return LastOperation.failed(
            outcome.description,
            instance_usable=outcome.instance_usable if operation.kind in _MAY_TELL_USABLE else None,
            update_repeatable=(outcome.update_repeatable if operation.kind is Operation.UPDATE else None),
        )
    is_late = operation.mode is Mode.BACKGROUND and operation.deadline <= now
    if is_late and operation.binding_key is not None and operation.is_running_at(now):
        return LastOperation.failed(DEADLINE_EXCEEDED.description)  # as soon as who works on it is through
    return LastOperation.in_progress(
        outcome.description, retry_after=outcome.retry_after or _pause(operation, now)
    )


_MAY_TELL_USABLE = frozenset({Operation.UPDATE, Operation.DEPROVISION})


def _pause(operation: OperationRecord, now: float) -> int:
    """What has taken long will take long; what waits is not to be asked before."""
    pause = (now - operation.created_at) / 10
    is_followed = operation.follows is not None and operation.tries == 0  # it begins when it can
    waits = operation.mode is Mode.BACKGROUND and operation.lease_until is None and not is_followed
    if waits and operation.wake_at is not None:
        pause = max(pause, (operation.due_at or operation.wake_at) - now)
    return min(max(math.ceil(pause), 1), _LONGEST_PAUSE)
