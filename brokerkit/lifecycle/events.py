"""Telling the signals what became of an operation: once it is stored, and to the audit trail too."""

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
    """What was asked for, and when.

    Args:
        operation_id: The operation.
        kind: What.
        requested_at: When, in seconds since 1970.
        attempt: How often it was begun.
    """

    operation_id: str
    kind: Operation
    requested_at: float
    attempt: int = 1

    @classmethod
    def now(cls, operation_id: str, kind: Operation, attempt: int = 1) -> OperationRef:
        """It is asked for at this moment."""
        return cls(operation_id, kind, time.time(), attempt)

    @classmethod
    def of(cls, operation: OperationRecord) -> OperationRef:
        """As the store knows it."""
        return cls(operation.id, operation.kind, operation.created_at, operation.attempt)


class EventPublisher:
    """Tells of the operations of one broker.

    Args:
        sender: The broker.
    """

    def __init__(self, sender: object) -> None:
        self.sender = sender

    def accepted(
        self, asked: OperationRef, request: InstanceRequest, result: Accepted, seconds: float
    ) -> None:
        """It goes on after its answer."""
        self._publish(asked, request, result, seconds)
        self._audit(asked, request, Progress.IN_PROGRESS, _NO_OUTCOME, seconds)

    def progressed(
        self, asked: OperationRef, request: InstanceRequest, result: LastOperation, seconds: float
    ) -> None:
        """It got further."""
        self._publish(asked, request, result, seconds)

    def succeeded(
        self,
        asked: OperationRef,
        request: InstanceRequest,
        result: object,
        seconds: float,
        outcome: Outcome = _NO_OUTCOME,
    ) -> None:
        """It is done, with what its handler answered, and the outcome that the store has of it."""
        self._publish(asked, request, result, seconds)
        self._audit(asked, request, Progress.SUCCEEDED, outcome, seconds)

    def failed(self, asked: OperationRef, request: InstanceRequest, outcome: Outcome, seconds: float) -> None:
        """It failed, or was given up, after its answer."""
        result = LastOperation.failed(
            outcome.description,
            instance_usable=outcome.instance_usable,
            update_repeatable=outcome.update_repeatable,
        )
        self._publish(asked, request, result, seconds)
        self.failed_inline(asked, request, outcome, seconds)

    def failed_inline(
        self, asked: OperationRef, request: InstanceRequest, outcome: Outcome, seconds: float
    ) -> None:
        """It failed, and its answer says so: `request_finished` tells of that."""
        self._audit(asked, request, Progress.FAILED, outcome, seconds)

    def _publish(self, asked: OperationRef, request: InstanceRequest, result: object, seconds: float) -> None:
        publish(self.sender, asked.kind, request, result, seconds=seconds, operation_id=asked.operation_id)

    def _audit(
        self, asked: OperationRef, request: InstanceRequest, state: Progress, outcome: Outcome, seconds: float
    ) -> None:
        if signals.audited.receivers:
            record = audit_record(asked, request, state, outcome, asked.requested_at + seconds)
            signals.send(signals.audited, self.sender, record=record)


def audit_record(
    asked: OperationRef, request: Any, state: Progress, outcome: Outcome, changed_at: float
) -> AuditRecord:
    """The one way from a request, and what became of it, to a record of the audit trail.

    Args:
        asked: What was asked for.
        request: The request that asked for it, of an instance or a binding.
        state: How it stands.
        outcome: What is told of that.
        changed_at: When it came to that, in seconds since 1970.
    """
    headers, service, plan = request.headers, request.offering, request.plan
    previous_plan_id = getattr(getattr(request, "previous_values", None), "plan_id", None)
    names = {each.id: each.name for each in service.plans}
    return AuditRecord(
        operation_id=asked.operation_id,
        operation=asked.kind,
        instance_id=request.instance_id,
        binding_id=getattr(request, "binding_id", None),
        offering=service.name,
        offering_id=service.id,
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
        attempt=asked.attempt,
        asked_at=datetime.fromtimestamp(asked.requested_at, UTC),
        ended_at=None if state is Progress.IN_PROGRESS else datetime.fromtimestamp(changed_at, UTC),
    )
