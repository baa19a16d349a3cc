"""The dispatch of decoded requests to handlers, for brokers without a store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from time import perf_counter
from typing import Any, Protocol

from .._events import publish
from ..catalog.models import Catalog, ServicePlan
from ..errors import BadRequest, BindingDoesNotExist, BrokerError, HandlerMistake, InstanceDoesNotExist
from ..handlers.group import Handler
from ..handlers.invocation import call_handler, check_pollable
from ..handlers.table import HandlerTable
from ..protocol.encoding import EMPTY_RESULTS, EncodedResponse, check_stateless, encode_result
from ..protocol.validation import check_bind, check_provision, check_update
from ..requests import InstanceRequest, Operation, UpdateRequest
from ..results import Accepted

_UNSUPPORTED_OPERATIONS: dict[Operation, tuple[int, str, str]] = {
    Operation.UPDATE: (
        422,
        "UpdateNotSupported",
        "Service instances of this service plan cannot be updated.",
    ),
    Operation.BIND: (
        400,
        "BindNotSupported",
        "This service plan does not support service bindings.",
    ),
    Operation.UNBIND: (
        400,
        "BindNotSupported",
        "This service plan does not support service bindings.",
    ),
    Operation.GET_INSTANCE: (
        404,
        "FetchNotSupported",
        "Service instances of this service offering cannot be fetched.",
    ),
    Operation.GET_BINDING: (
        404,
        "FetchNotSupported",
        "Service bindings of this service offering cannot be fetched.",
    ),
    Operation.LAST_OPERATION: (400, "UnknownOperation", "This operation does not exist."),
    Operation.LAST_BINDING_OPERATION: (400, "UnknownOperation", "This operation does not exist."),
}
"""Status code, error code and description for operations that are not in the catalog and have no handler."""


class Dispatch(Protocol):
    """The interface that serves authenticated, decoded requests."""

    def ensure_started(self) -> None:
        """Start the background work of this process, unless it is running or the broker has none."""
        ...

    def serve(
        self, table: HandlerTable, operation: Operation, request: Any
    ) -> tuple[object, EncodedResponse]:
        """Serve a request and send the signals.

        Args:
            table: The handlers for the current catalog.
            operation: Any operation except the catalog.
            request: The decoded request.

        Returns:
            The result and the response.

        Raises:
            BrokerError: The request was rejected.
        """
        ...


class StatelessDispatch:
    """The dispatch of a broker without a store, which calls a handler for each request.

    Args:
        sender: The broker, as the sender of signals.
    """

    def __init__(self, sender: object) -> None:
        self._sender = sender

    def ensure_started(self) -> None:
        """Do nothing: a broker without a store has no background work."""

    def serve(
        self, table: HandlerTable, operation: Operation, request: Any
    ) -> tuple[object, EncodedResponse]:
        """Call the handler and encode its result; see :meth:`Dispatch.serve`.

        Raises:
            BrokerError: The catalog does not offer the operation, or the request was rejected.
            HandlerMistake: The handler returned a result that the API does not allow.
        """
        check = _REQUEST_CHECKS.get(operation)
        if check is not None:
            check(table.catalog, request)
        handlers = table.handlers_for(operation, request.offering, request.plan)
        if not handlers:
            raise missing_handler_error(operation)
        started = perf_counter()
        handler, result = (
            _call_candidates(handlers, operation, request)
            if len(handlers) > 1
            else call_handler(handlers[0], request)
        )
        if result is None:
            result = EMPTY_RESULTS.get(operation)
        elif type(result) is Accepted:
            plan = _get_polled_plan(table, operation, request)
            check_pollable(table, operation, handler, request.offering, plan)
        try:  # without `naming_handler`, which takes longer than the check itself
            check_stateless(result)
            response = encode_result(
                operation,
                result,
                offering=request.offering,
                accepts_incomplete=getattr(request, "accepts_incomplete", False),
            )
        except HandlerMistake as mistake:
            raise HandlerMistake(f"{handler} {mistake}") from None
        publish(self._sender, operation, request, result, seconds=perf_counter() - started)
        return result, response


def _check_update(catalog: Catalog, request: UpdateRequest) -> None:
    """Check an update. Without a store, only `previous_values` names the current plan of the instance."""
    previous = catalog.find_plan(request.previous_values.plan_id or "")
    check_update(catalog, request, previous[1] if previous and previous[0] is request.offering else None)


_REQUEST_CHECKS: dict[Operation, Callable[[Catalog, Any], None]] = {
    Operation.PROVISION: check_provision,
    Operation.UPDATE: _check_update,
    Operation.BIND: check_bind,
}


def _call_candidates(
    handlers: Sequence[Handler], operation: Operation, request: InstanceRequest
) -> tuple[Handler, object]:
    """Call one handler after another until one finds the resource, for a request without a plan."""
    if operation is Operation.UPDATE:  # an update must not run in the wrong handler
        raise BadRequest("previous_values.plan_id: is required if the request has no plan_id")
    *others, last = handlers
    for handler in others:
        with suppress(InstanceDoesNotExist, BindingDoesNotExist):
            return call_handler(handler, request)
    return call_handler(last, request)


def _get_polled_plan(table: HandlerTable, operation: Operation, request: Any) -> ServicePlan | None:
    """Get the plan that the platform will send with its polls. After an update, the old one (R-UPD-6)."""
    if operation is not Operation.UPDATE:
        plan: ServicePlan = request.plan
        return plan
    previous = table.catalog.find_plan(request.previous_values.plan_id or "")
    return previous[1] if previous else None


def missing_handler_error(operation: Operation) -> Exception:
    """Build the error for an operation that no handler serves."""
    if operation not in _UNSUPPORTED_OPERATIONS:
        return HandlerMistake(f"No @{operation} handler serves a plan of the new catalog; register one")
    status, error, description = _UNSUPPORTED_OPERATIONS[operation]
    return BrokerError(description, status=status, error=error)
