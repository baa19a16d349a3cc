"""Signals and audit records of stored operations."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from .. import signals
from .._events import publish
from ..audit import AuditRecord
from ..requests import InstanceRequest, Operation
from ..results import Accepted, LastOperation
from ..store.models import OperationRecord, Outcome, Progress

_NO_OUTCOME = Outcome()


class OperationRef(Struct, frozen=True):
    """A reference to an operation, with the fields that its events need.

    Args:
        operation_id: The id of the operation.
        kind: The kind of the operation.
        requested_at: The time of the request, in seconds since 1970.
        attempt: The number of attempts that have started. Defaults to 1.
    """

    operation_id: str
    kind: Operation
    requested_at: float
    attempt: int = 1

    @classmethod
    def now(cls, operation_id: str, kind: Operation, attempt: int = 1) -> OperationRef:
        """Return a reference to an operation that is requested now."""
        return cls(operation_id, kind, time.time(), attempt)

    @classmethod
    def of(cls, operation: OperationRecord) -> OperationRef:
        """Return a reference to a stored operation."""
        return cls(operation.id, operation.kind, operation.created_at, operation.attempt)


class EventPublisher:
    """Publisher of the signals and audit records of one broker's operations.

    Args:
        sender: The broker.
    """

    def __init__(self, sender: object) -> None:
        self.sender = sender

    def accepted(self, ref: OperationRef, request: InstanceRequest, result: Accepted, seconds: float) -> None:
        """Publish that an operation continues after the response."""
        self._publish(ref, request, result, seconds)
        self._audit(ref, request, Progress.IN_PROGRESS, _NO_OUTCOME, seconds)

    def progressed(
        self, ref: OperationRef, request: InstanceRequest, result: LastOperation, seconds: float
    ) -> None:
        """Publish the progress of an operation."""
        self._publish(ref, request, result, seconds)

    def succeeded(
        self,
        ref: OperationRef,
        request: InstanceRequest,
        result: object,
        seconds: float,
        outcome: Outcome = _NO_OUTCOME,
    ) -> None:
        """Publish that an operation succeeded, with the handler's result and the stored outcome."""
        self._publish(ref, request, result, seconds)
        self._audit(ref, request, Progress.SUCCEEDED, outcome, seconds)

    def failed(self, ref: OperationRef, request: InstanceRequest, outcome: Outcome, seconds: float) -> None:
        """Publish that an operation failed or was cancelled after the response."""
        result = LastOperation.failed(
            outcome.description,
            instance_usable=outcome.instance_usable,
            update_repeatable=outcome.update_repeatable,
        )
        self._publish(ref, request, result, seconds)
        self.failed_inline(ref, request, outcome, seconds)

    def failed_inline(
        self, ref: OperationRef, request: InstanceRequest, outcome: Outcome, seconds: float
    ) -> None:
        """Record that a synchronous operation failed. `request_finished` reports the error response."""
        self._audit(ref, request, Progress.FAILED, outcome, seconds)

    def _publish(self, ref: OperationRef, request: InstanceRequest, result: object, seconds: float) -> None:
        publish(self.sender, ref.kind, request, result, seconds=seconds, operation_id=ref.operation_id)

    def _audit(
        self, ref: OperationRef, request: InstanceRequest, state: Progress, outcome: Outcome, seconds: float
    ) -> None:
        if signals.audited.receivers:
            record = audit_record(ref, request, state, outcome, ref.requested_at + seconds)
            signals.send(signals.audited, self.sender, record=record)


def audit_record(
    ref: OperationRef, request: Any, state: Progress, outcome: Outcome, changed_at: float
) -> AuditRecord:
    """Build the audit record of an operation, for a signal or for a command.

    Args:
        ref: The operation.
        request: The request for a change of an instance or a binding.
        state: The state of the operation.
        outcome: The outcome of the operation.
        changed_at: The time of the change to this state, in seconds since 1970.
    """
    headers, offering, plan = request.headers, request.offering, request.plan
    previous_plan_id = getattr(getattr(request, "previous_values", None), "plan_id", None)
    names = {listed.id: listed.name for listed in offering.plans}
    return AuditRecord(
        operation_id=ref.operation_id,
        operation=ref.kind,
        instance_id=request.instance_id,
        binding_id=getattr(request, "binding_id", None),
        offering=offering.name,
        offering_id=offering.id,
        plan=plan.name,
        plan_id=plan.id,
        previous_plan=names.get(previous_plan_id, previous_plan_id),
        previous_plan_id=previous_plan_id,
        organization_guid=getattr(request, "organization_guid", None),
        space_guid=getattr(request, "space_guid", None),
        app_guid=getattr(request, "app_guid", None),
        username=headers.username,
        originating_identity=headers.originating_identity,
        request_identity=headers.request_identity,
        correlation_id=headers.correlation_id,
        state="cancelled" if outcome.cancelled else state.value,
        description=outcome.description,
        attempt=ref.attempt,
        asked_at=datetime.fromtimestamp(ref.requested_at, UTC),
        ended_at=None if state is Progress.IN_PROGRESS else datetime.fromtimestamp(changed_at, UTC),
    )
