"""Who answers a request: the handler, asked at once."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import Any

from flask import current_app

from ._encoding import PLAIN_SUCCESS, HandlerMistake
from ._handler_table import HandlerTable
from .catalog import ServicePlan
from .errors import BadRequest, BindingDoesNotExist, BrokerError, InstanceDoesNotExist
from .handlers import Handler
from .requests import InstanceRequest, Operation
from .results import Accepted

_UNSERVED: dict[Operation, tuple[int, str, str]] = {
    Operation.UPDATE: (422, "UpdateNotSupported", "Instances of this plan cannot be updated."),
    Operation.BIND: (400, "BindNotSupported", "Instances of this plan cannot be bound."),
    Operation.UNBIND: (400, "BindNotSupported", "Instances of this plan have no bindings."),
    Operation.GET_INSTANCE: (404, "FetchNotSupported", "Instances of this offering cannot be fetched."),
    Operation.GET_BINDING: (404, "FetchNotSupported", "Bindings of this offering cannot be fetched."),
    Operation.LAST_OPERATION: (400, "UnknownOperation", "There is no such operation."),
    Operation.LAST_BINDING_OPERATION: (400, "UnknownOperation", "There is no such operation."),
}
"""The refusal where the catalog promises nothing and no handler is there to be asked."""

_POLLED: dict[Operation, Operation] = {
    Operation.PROVISION: Operation.LAST_OPERATION,
    Operation.UPDATE: Operation.LAST_OPERATION,
    Operation.DEPROVISION: Operation.LAST_OPERATION,
    Operation.BIND: Operation.LAST_BINDING_OPERATION,
    Operation.UNBIND: Operation.LAST_BINDING_OPERATION,
}
"""How a platform asks on after a 202."""

_UPDATE, _BIND = Operation.UPDATE, Operation.BIND  # looking a member up in its enum is slow


def dispatch(table: HandlerTable, operation: Operation, request: Any) -> tuple[Handler, object]:
    """Ask the handler of a request.

    Returns:
        The handler that answered, and its result; a plain success for None, where that is one.

    Raises:
        BrokerError: There is no handler, and the catalog promises none; or the handler refused.
        HandlerMistake: The handler accepted what nobody could poll.
    """
    handlers = table.serving(operation, request.service, request.plan)
    if not handlers:
        raise _unserved(operation)
    handler, result = _ask(handlers, operation, request) if len(handlers) > 1 else _call(handlers[0], request)
    if result is None:
        return handler, PLAIN_SUCCESS.get(operation)
    if type(result) is Accepted:
        _check_pollable(table, operation, request, handler)
    return handler, result


def _ask(
    handlers: Sequence[Handler], operation: Operation, request: InstanceRequest
) -> tuple[Handler, object]:
    """Where a fetch or poll did not name the plan, ask each handler until one knows the resource."""
    if operation is _UPDATE:  # which changes something, and so must reach the right one at once
        raise BadRequest("previous_values.plan_id: is required where there is no plan_id")
    *others, last = handlers
    for handler in others:
        with suppress(InstanceDoesNotExist, BindingDoesNotExist):
            return _call(handler, request)
    return _call(last, request)


def _call(handler: Handler, request: InstanceRequest) -> tuple[Handler, object]:
    result = handler.function(request)
    if hasattr(result, "__await__"):
        result = current_app.ensure_sync(_wait_for)(result)
    return handler, result


async def _wait_for(result: Awaitable[object]) -> object:
    return await result


def _check_pollable(table: HandlerTable, operation: Operation, request: Any, handler: Handler) -> None:
    polled = _POLLED.get(operation)
    plan = _plan_when_polled(table, operation, request)
    if polled is not None and not table.serving(polled, request.service, plan):
        raise HandlerMistake(
            f"{handler} returned Accepted, but no @{polled} handler is there to be polled; register one"
        )
    if operation is _BIND and not request.service.bindings_retrievable:
        raise HandlerMistake(
            f"{handler} returned Accepted, but the offering {request.service.name!r} has no"
            " bindings_retrievable, so no platform could fetch the credentials; set it, and register a"
            " @get_binding handler"
        )


def _plan_when_polled(table: HandlerTable, operation: Operation, request: Any) -> ServicePlan | None:
    """The plan that a platform names when it polls: of an update, the one before (R-UPD-6)."""
    if operation is not _UPDATE:
        plan: ServicePlan = request.plan
        return plan
    before = table.catalog.offered(request.previous_values.plan_id or "")
    return before[1] if before else None


def _unserved(operation: Operation) -> Exception:
    if operation not in _UNSERVED:
        return HandlerMistake(f"no @{operation} handler serves a plan of the new catalog; register one")
    status, error, description = _UNSERVED[operation]
    return BrokerError(description, status=status, error=error)
