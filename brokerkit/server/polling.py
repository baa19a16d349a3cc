"""Responses to polls, from the store or from the polling handler. The handler's result is stored."""

from __future__ import annotations

import logging
from typing import Any

from msgspec.structs import replace

from .._context import update_context
from ..background.runtime import Runtime
from ..errors import BindingDoesNotExist, BrokerError, HandlerMistake, InstanceDoesNotExist
from ..handlers.invocation import call_handler, naming_handler
from ..handlers.table import HandlerTable
from ..lifecycle.conversion import load_request, resolve_plan, service_binding, service_instance
from ..lifecycle.events import OperationRef
from ..lifecycle.outcomes import failure_change, is_gone, planned_change, success_change
from ..lifecycle.responses import last_operation
from ..protocol.encoding import EMPTY_RESULTS, EncodedResponse, encode_result
from ..requests import (
    BindingRequest,
    InstanceRequest,
    LastBindingOperationRequest,
    LastOperationRequest,
    Operation,
)
from ..results import Binding, LastOperation
from ..store.models import (
    Attempt,
    Change,
    InstanceRecord,
    Mode,
    OperationRecord,
    Progress,
    Snapshot,
)
from ..store.resource_keys import resource_key
from ..store.store import Store

_logger = logging.getLogger(__name__)

QUIET = 60.0
"""If an operation has not changed for this many seconds, a conflicting request polls it."""

_MAX_POLLS = 10
"""The maximum number of operations on bindings that one request polls. When they end, others follow."""


def poll(
    runtime: Runtime, table: HandlerTable, request: LastOperationRequest | LastBindingOperationRequest
) -> tuple[object, EncodedResponse]:
    """Serve a poll of an operation (R-LAST).

    Returns:
        The result, and the response.

    Raises:
        BrokerError: The operation does not exist, or the handler refused the request.
        HandlerMistake: The handler returned an invalid result.
    """
    operation, now = _operation(runtime, request)
    update_context(request, operation.id)
    if operation.state is Progress.IN_PROGRESS and operation.mode is Mode.POLLED:
        operation = _call_handler(runtime, table, operation, request) or operation
    outcome = runtime.store.outcome_of(operation)
    result = last_operation(operation, outcome, now)
    return result, encode_result(
        _endpoint(request), result, offering=request.offering, accepts_incomplete=True
    )


def poll_quiet_operations(
    runtime: Runtime, table: HandlerTable, request: InstanceRequest, instance: InstanceRecord, now: float
) -> bool:
    """Poll the operations that block a request, if they have not changed for :data:`QUIET` seconds.

    The operation on the instance blocks all requests, and those on its bindings block its update and its
    deletion. Otherwise an operation would block them until its deadline if the platform lost the 202 response
    and never polls.

    Returns:
        Whether an operation has ended.
    """
    names: dict[str, Any] = {"headers": request.headers, "instance_id": request.instance_id}
    operation = instance.operation
    if operation is not None and operation.state is Progress.IN_PROGRESS:
        is_quiet = operation.mode is Mode.POLLED and now - operation.updated_at >= QUIET
        return is_quiet and _poll_quiet(runtime, table, operation, LastOperationRequest(**names))
    if not instance.busy_bindings or isinstance(request, BindingRequest):
        return False
    has_ended = False
    for snapshot in runtime.store.quiet_bindings(instance.key, QUIET, _MAX_POLLS):
        binding = snapshot.binding
        assert binding is not None and binding.operation is not None, "the query joins both"  # noqa: PT018
        poll_request = LastBindingOperationRequest(binding_id=binding.attributes.binding_id, **names)
        has_ended |= _poll_quiet(runtime, table, binding.operation, poll_request)
    return has_ended


def _poll_quiet(
    runtime: Runtime,
    table: HandlerTable,
    operation: OperationRecord,
    poll_request: LastOperationRequest | LastBindingOperationRequest,
) -> bool:
    """Poll an operation for another request, and return whether it has ended."""
    try:
        updated = _call_handler(runtime, table, operation, poll_request)
    except Exception:  # the operation counts as in progress
        _logger.exception("Cannot poll the operation %s", operation.id)
        return False
    return updated is not None and updated.state is not Progress.IN_PROGRESS


def _endpoint(request: LastOperationRequest | LastBindingOperationRequest) -> Operation:
    of_binding = isinstance(request, LastBindingOperationRequest)
    return Operation.LAST_BINDING_OPERATION if of_binding else Operation.LAST_OPERATION


def _operation(
    runtime: Runtime, request: LastOperationRequest | LastBindingOperationRequest
) -> tuple[OperationRecord, float]:
    """Return the requested operation and the current time. Without an id, return the last operation."""
    store = runtime.store
    binding_id = getattr(request, "binding_id", None)
    keys = (resource_key(request.instance_id), None if binding_id is None else resource_key(binding_id))
    if request.operation is not None:
        row = store.find_operation(request.operation)
        if row is not None and (row[0].instance_key, row[0].binding_key) == keys:
            return row
    snapshot = store.find(request.instance_id, binding_id)
    subject = snapshot.instance if binding_id is None else snapshot.binding
    last: tuple[OperationRecord, float] | None = None
    if subject is not None and subject.operation is not None:
        last = subject.operation, snapshot.now
    elif binding_id is not None:
        last = store.last_operation_of_binding(request.instance_id, binding_id)
    if last is None or (subject is None and not _is_finished_unbind(last[0])):
        raise InstanceDoesNotExist if binding_id is None else BindingDoesNotExist
    if request.operation is not None:
        raise BrokerError("The operation does not exist.", status=400, error="UnknownOperation")
    return last


def _is_finished_unbind(operation: OperationRecord) -> bool:
    """Whether an operation is a successful unbind, the only poll result of a deleted binding (R-LAST-5)."""
    return operation.kind is Operation.UNBIND and operation.state is Progress.SUCCEEDED


def _call_handler(
    runtime: Runtime,
    table: HandlerTable,
    operation: OperationRecord,
    request: LastOperationRequest | LastBindingOperationRequest,
) -> OperationRecord | None:
    """Call the polling handler and store its result.

    Returns:
        The updated operation; None if it did not change.
    """
    store = runtime.store
    snapshot = _with_pending_result(store, operation)
    offering, plan = resolve_plan(table.catalog, operation.service_id, operation.plan_id)
    handlers = table.handlers_for(_endpoint(request), offering, plan)
    if not handlers or snapshot.instance is None:
        raise HandlerMistake(
            f"the plan {plan.name!r} no longer has a @{_endpoint(request)} handler, but its operation"
            f" {operation.id} is in progress; restore the plan or the handler"
        )
    fields: dict[str, Any] = {
        "offering": offering,
        "plan": plan,
        "operation": store.outcome_of(operation).accepted,
        "instance": service_instance(store, table.catalog, snapshot.instance),
    }
    if snapshot.binding is not None:
        fields["binding"] = service_binding(snapshot.binding)
    resolved = replace(request, **fields)
    try:
        handler, result = call_handler(handlers[0], resolved)
        with naming_handler(handler):
            encode_result(_endpoint(request), result, offering=offering, accepts_incomplete=True)
            assert isinstance(result, LastOperation), "encode_result() rejects other types"
            changed = _store_result(runtime, table, operation, snapshot, result)
    except BrokerError as error:
        if not is_gone(operation.kind, error):
            raise
        changed = _store_result(runtime, table, operation, snapshot, LastOperation.succeeded())
    if not changed:
        return None
    row = store.find_operation(operation.id)
    return row[0] if row else None


def _with_pending_result(store: Store, operation: OperationRecord) -> Snapshot:
    """Return the stored state for the polling handler, with the pending result of an update."""
    snapshot = store.find_by_key(operation.instance_key, operation.binding_key)
    pending = store.outcome_of(operation).result
    if pending is None or snapshot.instance is None:
        return snapshot
    return replace(snapshot, instance=replace(snapshot.instance, result=pending))


def _store_result(
    runtime: Runtime,
    table: HandlerTable,
    operation: OperationRecord,
    snapshot: Snapshot,
    result: LastOperation,
) -> bool:
    """Store and publish the result of a polling handler. Return False if nothing changed."""
    store = runtime.store
    attempt = Attempt.of(operation)
    request: Any = load_request(store, table.catalog, operation, snapshot.instance, snapshot.binding)
    previous = store.outcome_of(operation)
    ref, seconds = OperationRef.of(operation), max(0.0, snapshot.now - operation.created_at)
    if result.state == "in progress":
        outcome = replace(previous, description=result.description, retry_after=result.retry_after)
        if outcome == previous or not store.record_poll(attempt, outcome):
            return False
        runtime.publisher.progressed(ref, request, result, seconds)
        return True
    outcome = replace(
        previous,
        description=result.description,
        instance_usable=result.instance_usable,
        update_repeatable=result.update_repeatable,
        retry_after=None,
        result=None,
    )
    if result.state == "failed":
        if store.end(attempt, Progress.FAILED, outcome, failure_change(operation.kind)):
            runtime.publisher.failed(ref, request, outcome, seconds)
        return True
    final, change = _success(table, operation, snapshot, result, request)
    if store.end(attempt, Progress.SUCCEEDED, outcome, change):
        runtime.publisher.succeeded(ref, request, final, seconds, outcome)
    return True


def _success(
    table: HandlerTable, operation: OperationRecord, snapshot: Snapshot, polled: LastOperation, request: Any
) -> tuple[object, Change]:
    """Return the final result of an operation that succeeded, and the change of its resource."""
    result = polled.result
    if result is None:
        result = EMPTY_RESULTS.get(operation.kind)
    if result is None:  # a bind: the credentials must come from the result or from a fetch
        if not table.handlers_for(Operation.GET_BINDING, request.offering, request.plan):
            raise HandlerMistake(
                "returned LastOperation.succeeded() for a bind without its result; return"
                " LastOperation.succeeded(result=Binding(…)), or register a @get_binding handler"
            )
        result = Binding()
    encode_result(operation.kind, result, offering=request.offering, accepts_incomplete=True)
    planned = planned_change(operation.kind, request, snapshot.instance)
    return result, success_change(operation.kind, planned, result, snapshot.instance, snapshot.binding)
