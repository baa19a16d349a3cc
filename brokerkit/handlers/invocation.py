"""Call a handler, and check that an accepted operation can be polled."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager

from flask import current_app

from ..catalog.models import ServiceOffering, ServicePlan
from ..errors import HandlerMistake
from ..requests import InstanceRequest, Operation
from .group import Handler
from .table import HandlerTable

_POLLED: dict[Operation, Operation] = {
    Operation.PROVISION: Operation.LAST_OPERATION,
    Operation.UPDATE: Operation.LAST_OPERATION,
    Operation.DEPROVISION: Operation.LAST_OPERATION,
    Operation.BIND: Operation.LAST_BINDING_OPERATION,
    Operation.UNBIND: Operation.LAST_BINDING_OPERATION,
}
"""How a platform asks on after a 202."""

_BIND = Operation.BIND  # looking a member up in its enum is slow


@contextmanager
def naming_handler(handler: Handler) -> Iterator[None]:
    """Begin the message of a mistake with whose it is."""
    try:
        yield
    except HandlerMistake as mistake:
        raise HandlerMistake(f"{handler} {mistake}") from None


def call_handler(handler: Handler, request: InstanceRequest) -> tuple[Handler, object]:
    """Ask a handler, also an async one.

    Returns:
        The handler, and what it answered.
    """
    result = handler.function(request)
    if hasattr(result, "__await__"):
        result = current_app.ensure_sync(_wait_for)(result)
    return handler, result


async def _wait_for(result: Awaitable[object]) -> object:
    return await result


def check_pollable(
    table: HandlerTable,
    operation: Operation,
    handler: Handler,
    offering: ServiceOffering,
    plan: ServicePlan | None,
) -> None:
    """Make sure that somebody can answer the polls for what a handler accepted.

    Args:
        table: The handlers.
        operation: What was accepted.
        handler: By whom.
        offering: The offering.
        plan: The plan that will be polled for, where it is known.

    Raises:
        HandlerMistake: Nobody can.
    """
    polled = _POLLED.get(operation)
    if polled is not None and not table.handlers_for(polled, offering, plan):
        raise HandlerMistake(
            f"{handler} returned Accepted, but no @{polled} handler is there to be polled; register one"
        )
    if operation is _BIND and not offering.bindings_retrievable:
        raise HandlerMistake(
            f"{handler} returned Accepted, but the offering {offering.name!r} has no"
            " bindings_retrievable, so no platform could fetch the credentials; set it, and register a"
            " @get_binding handler"
        )
