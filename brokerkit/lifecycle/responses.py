"""Responses from the store, without a handler call."""

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

_MAX_RETRY_AFTER = 60
"""The maximum of the `Retry-After` header, in seconds."""

DEADLINE_EXCEEDED = Outcome(description="The operation took longer than its service plan allows.")


def refusal(decision: Decision, request: object, snapshot: Snapshot) -> BrokerError:
    """Return the error for a request that is refused, by the decision."""
    of_binding = isinstance(request, BindingRequest)
    subject = snapshot.binding if of_binding else snapshot.instance
    if decision is Decision.BUSY:
        return ConcurrencyError()
    if decision is Decision.CONFLICT:
        kind = BindingAlreadyExists if of_binding else InstanceAlreadyExists
        if resource_status(subject) is ResourceStatus.FAILED:
            noun = "binding" if of_binding else "instance"
            return kind(f"The service {noun} with this id could not be created. Delete it first.")
        return kind()
    if of_binding and resource_status(snapshot.instance) not in (
        ResourceStatus.ABSENT,
        ResourceStatus.FAILED,
    ):
        return BindingDoesNotExist()
    return InstanceDoesNotExist()


def stored_response(operation: Operation, snapshot: Snapshot) -> Any:
    """Build the result for an existing, identical resource."""
    instance, binding = snapshot.instance, snapshot.binding
    assert instance is not None, "a stored response requires a stored instance"
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
            assert binding is not None, "a stored response requires a stored binding"
            result = binding.result.binding or Binding()
            if operation is Operation.BIND:
                return replace(result, exists=True)
            return replace(result, parameters=binding.attributes.parameters or None)


def instance_details(instance: InstanceRecord) -> InstanceDetails:
    """Build the result of fetching an instance (R-GETI)."""
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
    """Build the 202 result of an operation in progress (R-PROV-4)."""
    if operation.kind not in (Operation.PROVISION, Operation.UPDATE):
        return Accepted(operation=operation.id)
    result = outcome.result or instance.result
    return Accepted(operation=operation.id, dashboard_url=result.dashboard_url, metadata=result.metadata)


def last_operation(operation: OperationRecord, outcome: Outcome, now: float) -> LastOperation:
    """Build the poll result of an operation (R-LAST-1) and its polling interval (R-LAST-2)."""
    if operation.state is Progress.SUCCEEDED:
        return LastOperation.succeeded(outcome.description)
    if operation.state is Progress.FAILED:
        return LastOperation.failed(
            outcome.description,
            instance_usable=outcome.instance_usable if operation.kind in _REPORTING_USABLE else None,
            update_repeatable=outcome.update_repeatable if operation.kind is Operation.UPDATE else None,
        )
    return LastOperation.in_progress(
        outcome.description, retry_after=outcome.retry_after or _retry_after(operation, now)
    )


_REPORTING_USABLE = frozenset({Operation.UPDATE, Operation.DEPROVISION})


def _retry_after(operation: OperationRecord, now: float) -> int:
    """Return the polling interval in seconds: a tenth of the elapsed time, or until a scheduled retry."""
    interval = (now - operation.created_at) / 10
    # A first attempt that waits for another operation starts when that operation ends, not at `wake_at`.
    awaits_predecessor = operation.follows is not None and operation.tries == 0
    is_scheduled = operation.mode is Mode.BACKGROUND and operation.lease_until is None
    if is_scheduled and not awaits_predecessor and operation.wake_at is not None:
        interval = max(interval, (operation.due_at or operation.wake_at) - now)
    return min(max(math.ceil(interval), 1), _MAX_RETRY_AFTER)
