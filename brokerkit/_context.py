"""What this thread is at: the request that it answers, or the attempt that it makes.

It is there for who was not handed it: a line that is logged somewhere inside a handler.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from .requests import Operation, Request, RequestHeaders

_NO_IDS: dict[str, str] = {}


class CallContext:
    """A request or an attempt, as far as it is known.

    Args:
        operation: What is asked; None if the path or method is none of the API's.
        ids: The `instance_id` and `binding_id` that it is about, as far as there are any.

    Attributes:
        instance_id: The instance that it is about.
        binding_id: The binding that it is about.
        headers: What the request's headers say; None until they are read.
        request: The request; None until it is read. With a store it becomes the one that the handler gets.
        operation_id: The operation of the store that it is about; None while there is none.
        is_attempt: Is it an attempt of work in the background?
        is_over: Has the thread left it, whichever way? Threads begun within it may still have it.
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
"""Threads of the handler's own have it only if they are begun in a copy of its context."""


@contextmanager
def attempt_context(operation: Operation, operation_id: str) -> Iterator[CallContext]:
    """Be at an attempt of an operation, whose request is not known yet."""
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
    """What the thread is at is known better now."""
    current = CURRENT_CALL.get()
    if current is not None:
        current.request = request
        if operation_id is not None:
            current.operation_id = operation_id
