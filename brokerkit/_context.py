"""The current call of a thread: the request that it serves, or the attempt that it runs.

A log record that is written somewhere inside a handler gets its ids from here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from .requests import Operation, Request, RequestHeaders

_NO_IDS: dict[str, str] = {}


class CallContext:
    """The known facts about a request, or about an attempt of a background handler.

    Args:
        operation: The requested operation; None if the path or method is not part of the API.
        ids: The `instance_id` and the `binding_id` of the request, as far as it has them. Defaults to none.

    Attributes:
        instance_id: The id of the service instance; None if there is none.
        binding_id: The id of the service binding; None if there is none.
        headers: The decoded request headers; None until they are read.
        request: The decoded request; None until it is read. With a store, it becomes the request that the
            handler gets.
        operation_id: The id of the operation in the store; None while there is none.
        is_attempt: Whether this is an attempt of a background handler.
        is_over: Whether the call has ended. A thread that the handler started may still have this context.
    """

    __slots__ = (
        "binding_id",
        "headers",
        "instance_id",
        "is_attempt",
        "is_over",
        "operation",
        "operation_id",
        "request",
    )

    def __init__(self, operation: Operation | None, ids: Mapping[str, str] = _NO_IDS) -> None:
        self.operation = operation
        self.instance_id = ids.get("instance_id")
        self.binding_id = ids.get("binding_id")
        self.headers: RequestHeaders | None = None
        self.request: Request | None = None
        self.operation_id: str | None = None
        self.is_attempt = False
        self.is_over = False


CURRENT_CALL: ContextVar[CallContext | None] = ContextVar("brokerkit_current", default=None)
"""The current call. A thread that a handler starts has it only if it runs in a copy of the context."""


@contextmanager
def attempt_context(operation: Operation, operation_id: str) -> Iterator[CallContext]:
    """Set the current call to an attempt of an operation, whose request is not known yet."""
    current = CallContext(operation)
    current.operation_id = operation_id
    current.is_attempt = True
    token = CURRENT_CALL.set(current)
    try:
        yield current
    finally:
        current.is_over = True
        CURRENT_CALL.reset(token)


def update_context(request: Request, operation_id: str | None = None) -> None:
    """Add the request, and the operation id if there is one, to the current call."""
    current = CURRENT_CALL.get()
    if current is not None:
        current.request = request
        if operation_id is not None:
            current.operation_id = operation_id
