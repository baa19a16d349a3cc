"""Who answers a request: in a broker without a store, its handler, asked at once."""

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

_UPDATE = Operation.UPDATE  # looking a member up in its enum is slow


class Dispatch(Protocol):
    """Who answers what reached the broker in order."""

    def ensure_started(self) -> None:
        """A request came: this process serves."""
        ...

    def serve(
        self, table: HandlerTable, operation: Operation, request: Any
    ) -> tuple[object, EncodedResponse]:
        """Answer a request, and tell the signals.

        Returns:
            The result, and how it is written.

        Raises:
            BrokerError: It is refused.
        """
        ...


class StatelessDispatch:
    """Asks the handler, and believes it.

    Args:
        sender: The broker, for the signals.
    """

    def __init__(self, sender: object) -> None:
        self._sender = sender

    def ensure_started(self) -> None:
        """As :meth:`Dispatch.ensure_started`; there is nothing to do."""

    def serve(
        self, table: HandlerTable, operation: Operation, request: Any
    ) -> tuple[object, EncodedResponse]:
        """As :meth:`Dispatch.serve`.

        Raises:
            BrokerError: There is no handler, and the catalog promises none; or something refused it.
            HandlerMistake: The handler answered what no platform may be told.
        """
        check = _CHECKS.get(operation)
        if check is not None:
            check(table.catalog, request)
        handlers = table.handlers_for(operation, request.offering, request.plan)
        if not handlers:
            raise missing_handler_error(operation)
        began = perf_counter()
        handler, result = (
            _ask(handlers, operation, request) if len(handlers) > 1 else call_handler(handlers[0], request)
        )
        if result is None:
            result = EMPTY_RESULTS.get(operation)
        elif type(result) is Accepted:
            plan = _plan_when_polled(table, operation, request)
            check_pollable(table, operation, handler, request.offering, plan)
        try:  # not `blaming`, which costs a poll more than the check does
            check_stateless(result)
            answer = encode_result(
                operation,
                result,
                offering=request.offering,
                accepts_incomplete=getattr(request, "accepts_incomplete", False),
            )
        except HandlerMistake as mistake:
            raise HandlerMistake(f"{handler} {mistake}") from None
        publish(self._sender, operation, request, result, seconds=perf_counter() - began)
        return result, answer


def _check_update(catalog: Catalog, request: UpdateRequest) -> None:
    """The instance has the plan that the platform says."""
    before = catalog.find_plan(request.previous_values.plan_id or "")
    check_update(catalog, request, before[1] if before and before[0] is request.offering else None)


_CHECKS: dict[Operation, Callable[[Catalog, Any], None]] = {
    Operation.PROVISION: check_provision,
    Operation.UPDATE: _check_update,
    Operation.BIND: check_bind,
}


def _ask(
    handlers: Sequence[Handler], operation: Operation, request: InstanceRequest
) -> tuple[Handler, object]:
    """Where a fetch or poll did not name the plan, ask each handler until one knows the resource."""
    if operation is _UPDATE:  # which changes something, and so must reach the right one at once
        raise BadRequest("previous_values.plan_id: is required where there is no plan_id")
    *others, last = handlers
    for handler in others:
        with suppress(InstanceDoesNotExist, BindingDoesNotExist):
            return call_handler(handler, request)
    return call_handler(last, request)


def _plan_when_polled(table: HandlerTable, operation: Operation, request: Any) -> ServicePlan | None:
    """The plan that a platform names when it polls: of an update, the one before (R-UPD-6)."""
    if operation is not _UPDATE:
        plan: ServicePlan = request.plan
        return plan
    before = table.catalog.find_plan(request.previous_values.plan_id or "")
    return before[1] if before else None


def missing_handler_error(operation: Operation) -> Exception:
    """What to raise where no handler is there to be asked."""
    if operation not in _UNSERVED:
        return HandlerMistake(f"no @{operation} handler serves a plan of the new catalog; register one")
    status, error, description = _UNSERVED[operation]
    return BrokerError(description, status=status, error=error)
