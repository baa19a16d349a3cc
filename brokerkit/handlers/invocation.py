"""Invocation of handlers, and the check that an accepted operation can be polled."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager

from flask import current_app

from .._internal.forks import EndForkedChild
from ..catalog.models import ServiceOffering, ServicePlan
from ..errors import HandlerMistake
from ..requests import InstanceRequest, Operation
from .group import Handler
from .table import HandlerTable

_POLL_OPERATION: dict[Operation, Operation] = {
    Operation.PROVISION: Operation.LAST_OPERATION,
    Operation.UPDATE: Operation.LAST_OPERATION,
    Operation.DEPROVISION: Operation.LAST_OPERATION,
    Operation.BIND: Operation.LAST_BINDING_OPERATION,
    Operation.UNBIND: Operation.LAST_BINDING_OPERATION,
}
"""For each operation, the operation that polls it after a 202."""

_BIND = Operation.BIND  # a global is faster than a lookup in the enum


@contextmanager
def naming_handler(handler: Handler) -> Iterator[None]:
    """Prefix the message of a `HandlerMistake` with the handler."""
    try:
        yield
    except HandlerMistake as mistake:
        raise HandlerMistake(f"{handler} {mistake}") from None


def call_handler(handler: Handler, request: InstanceRequest) -> tuple[Handler, object]:
    """Call a handler, which may be an async function.

    A child process that the handler forks ends when it leaves the handler.

    Returns:
        The handler and its result.
    """
    with EndForkedChild():
        result = handler.function(request)
        if hasattr(result, "__await__"):
            result = current_app.ensure_sync(_wait_for)(result)
    return handler, result


async def _wait_for(result: Awaitable[object]) -> object:
    with EndForkedChild():  # here too, because the coroutine may run in another thread
        return await result


def check_pollable(
    table: HandlerTable,
    operation: Operation,
    handler: Handler,
    offering: ServiceOffering,
    plan: ServicePlan | None,
) -> None:
    """Check that the platform can poll an accepted operation and fetch its result.

    Args:
        table: The handlers.
        operation: The accepted operation.
        handler: The handler that accepted it.
        offering: The service offering.
        plan: The plan that polls will name, or None if it is unknown.

    Raises:
        HandlerMistake: There is no handler for the polls, or the platform could not fetch the binding.
    """
    poll_operation = _POLL_OPERATION.get(operation)
    if poll_operation is not None and not table.handlers_for(poll_operation, offering, plan):
        raise HandlerMistake(
            f"{handler} returned Accepted, but there is no @{poll_operation} handler to poll; register one"
        )
    if operation is _BIND and not offering.bindings_retrievable:
        raise HandlerMistake(
            f"{handler} returned Accepted, but no platform could fetch the credentials; set"
            f" bindings_retrievable in the offering {offering.name!r}, and register a @get_binding handler"
        )
