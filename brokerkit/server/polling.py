"""How an operation goes: as the store knows, or as its handler says, and then the store knows."""

from __future__ import annotations

import logging
from typing import Any, TypeAlias

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
from ..store.keys import resource_key
from ..store.models import (
    Attempt,
    BindingRecord,
    Change,
    InstanceRecord,
    Mode,
    OperationRecord,
    Progress,
    Snapshot,
)
from ..store.store import Store

_logger = logging.getLogger("brokerkit")

QUIET = 60.0
"""For how many seconds an operation must not have changed for a request to ask how it goes."""

Subject: TypeAlias = InstanceRecord | BindingRecord


def poll(
    running: Runtime, table: HandlerTable, request: LastOperationRequest | LastBindingOperationRequest
) -> tuple[object, EncodedResponse]:
    """Tell how an operation goes (R-LAST).

    Raises:
        BrokerError: There is no such operation, or its handler refused.
        HandlerMistake: Its handler answered what no platform may be told.
    """
    operation, now = _operation(running, request)
    update_context(request, operation.id)
    if operation.state is Progress.IN_PROGRESS and operation.mode is Mode.POLLED:
        operation = _ask(running, table, operation, request) or operation
    outcome = running.store.outcome_of(operation)
    result = last_operation(operation, outcome, now)
    return result, encode_result(_asked(request), result, offering=request.offering, accepts_incomplete=True)


def poll_quiet_operation(
    running: Runtime, table: HandlerTable, request: InstanceRequest, subject: Subject, now: float
) -> bool:
    """Ask how an operation goes that keeps its instance or binding busy, and that nobody may be polling.

    A platform that lost the answer to its request never polls.

    Returns:
        Whether it has moved on.
    """
    operation = subject.operation
    if operation is None or operation.state is not Progress.IN_PROGRESS or operation.mode is not Mode.POLLED:
        return False
    if now - operation.updated_at < QUIET:
        return False
    names: dict[str, Any] = {"headers": request.headers, "instance_id": request.instance_id}
    if operation.binding_key is None:
        poll_request: LastOperationRequest | LastBindingOperationRequest = LastOperationRequest(**names)
    else:
        assert isinstance(request, BindingRequest), "only such are about a binding"
        poll_request = LastBindingOperationRequest(binding_id=request.binding_id, **names)
    try:
        moved = _ask(running, table, operation, poll_request)
    except Exception:  # it is busy, then, as far as anybody knows
        _logger.exception("how the operation %s goes could not be found out", operation.id)
        return False
    return moved is not None and moved.state is not Progress.IN_PROGRESS


def _asked(request: LastOperationRequest | LastBindingOperationRequest) -> Operation:
    of_binding = isinstance(request, LastBindingOperationRequest)
    return Operation.LAST_BINDING_OPERATION if of_binding else Operation.LAST_OPERATION


def _operation(
    running: Runtime, request: LastOperationRequest | LastBindingOperationRequest
) -> tuple[OperationRecord, float]:
    """The operation that a platform asks for: by its id, or the last one."""
    store = running.store
    binding_id = getattr(request, "binding_id", None)
    keys = (resource_key(request.instance_id), None if binding_id is None else resource_key(binding_id))
    if request.operation is not None:
        found = store.find_operation(request.operation)
        if found is not None and (found[0].instance_key, found[0].binding_key) == keys:
            return found
    known = store.find(request.instance_id, binding_id)
    subject = known.instance if binding_id is None else known.binding
    last: tuple[OperationRecord, float] | None = None
    if subject is not None and subject.operation is not None:
        last = subject.operation, known.now
    elif binding_id is not None:
        last = store.last_operation_of_binding(request.instance_id, binding_id)
    if last is None or (subject is None and not _tells_of_an_unbind(last[0])):
        raise InstanceDoesNotExist if binding_id is None else BindingDoesNotExist
    if request.operation is not None:
        raise BrokerError("There is no such operation.", status=400, error="UnknownOperation")
    return last


def _tells_of_an_unbind(operation: OperationRecord) -> bool:
    """Of a binding that is gone, only that is remembered (R-LAST-5); else it went with its instance."""
    return operation.kind is Operation.UNBIND and operation.state is Progress.SUCCEEDED


def _ask(
    running: Runtime,
    table: HandlerTable,
    operation: OperationRecord,
    request: LastOperationRequest | LastBindingOperationRequest,
) -> OperationRecord | None:
    """Ask the handler, and move the operation on.

    Returns:
        The operation as it is then; None if it is as it was.
    """
    store = running.store
    known = _with_what_is_to_come(store, operation)
    service, plan = resolve_plan(table.catalog, operation.service_id, operation.plan_id)
    handlers = table.handlers_for(_asked(request), service, plan)
    if not handlers or known.instance is None:
        raise HandlerMistake(
            f"no @{_asked(request)} handler serves the plan {plan.name!r} any more, whose operation"
            f" {operation.id} is in progress; put the plan or the handler back"
        )
    told: dict[str, Any] = {
        "offering": service,
        "plan": plan,
        "operation": store.outcome_of(operation).accepted,
        "instance": service_instance(store, table.catalog, known.instance),
    }
    if known.binding is not None:
        told["binding"] = service_binding(known.binding)
    asked = replace(request, **told)
    try:
        handler, result = call_handler(handlers[0], asked)
        with naming_handler(handler):
            encode_result(_asked(request), result, offering=service, accepts_incomplete=True)
            assert isinstance(result, LastOperation), "nothing else can be written"
            moved = _moved(running, table, operation, known, result)
    except BrokerError as error:
        if not is_gone(operation.kind, error):
            raise
        moved = _moved(running, table, operation, known, LastOperation.succeeded())
    if not moved:
        return None
    found = store.find_operation(operation.id)
    return found[0] if found else None


def _with_what_is_to_come(store: Store, operation: OperationRecord) -> Snapshot:
    """What is known, with what the handler of an update already said of the instance."""
    known = store.find_by_key(operation.instance_key, operation.binding_key)
    coming = store.outcome_of(operation).result
    if coming is None or known.instance is None:
        return known
    return replace(known, instance=replace(known.instance, result=coming))


def _moved(
    running: Runtime,
    table: HandlerTable,
    operation: OperationRecord,
    known: Snapshot,
    found: LastOperation,
) -> bool:
    """Let the store know what a handler found, and tell the signals. False if nothing changed."""
    store = running.store
    attempt = Attempt.of(operation)
    request: Any = load_request(store, table.catalog, operation, known.instance, known.binding)
    before = store.outcome_of(operation)
    told, seconds = OperationRef.of(operation), max(0.0, known.now - operation.created_at)
    if found.state == "in progress":
        outcome = replace(before, description=found.description, retry_after=found.retry_after)
        if outcome == before or not store.record_progress(attempt, outcome):
            return False
        running.publisher.progressed(told, request, found, seconds)
        return True
    outcome = replace(
        before,
        description=found.description,
        instance_usable=found.instance_usable,
        update_repeatable=found.update_repeatable,
        retry_after=None,
        result=None,
    )
    if found.state == "failed":
        if store.end(attempt, Progress.FAILED, outcome, failure_change(operation.kind)):
            running.publisher.failed(told, request, outcome, seconds)
        return True
    result, change = _succeeded(table, operation, known, found, request)
    if store.end(attempt, Progress.SUCCEEDED, outcome, change):
        running.publisher.succeeded(told, request, result, seconds, outcome)
    return True


def _succeeded(
    table: HandlerTable, operation: OperationRecord, known: Snapshot, found: LastOperation, request: Any
) -> tuple[object, Change]:
    result = found.result
    if result is None:
        result = EMPTY_RESULTS.get(operation.kind)
    if result is None:  # of a bind, whose credentials must come from somewhere
        if not table.handlers_for(Operation.GET_BINDING, request.offering, request.plan):
            raise HandlerMistake(
                "returned LastOperation.succeeded() for a bind without its result; return"
                " LastOperation.succeeded(result=Binding(…)), or register a @get_binding handler"
            )
        result = Binding()
    encode_result(operation.kind, result, offering=request.offering, accepts_incomplete=True)
    plan = planned_change(operation.kind, request, known.instance)
    return result, success_change(operation.kind, plan, result, known.instance, known.binding)
