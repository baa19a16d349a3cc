"""What a line of the log says of its request: the same names on each line, and values that stay on a line."""

from __future__ import annotations

from typing import TypeAlias

from .._context import CallContext
from .._internal.text import printable
from ..requests import Operation, Request, RequestHeaders
from ._common import plan_names_of, truncate, user_of
from ._trace_id import trace_id_of

Fields: TypeAlias = dict[str, str | int | None]

_LONGEST = 100
"""In characters, of an id or a name."""


def escape_line_breaks(text: str, longest: int = _LONGEST) -> str:
    """A text that neither ends a line nor steers a terminal, cut where it is too long."""
    text = truncate(text, longest)
    return text if text.isprintable() else printable(text)


def context_of(
    operation: Operation | None,
    *,
    operation_id: str | None,
    instance_id: str | None,
    binding_id: str | None,
    request: Request | None,
    headers: RequestHeaders | None,
    attempt: int | None = None,
) -> Fields:
    """The fields of a line about a request or an attempt; None for what is not known.

    Args:
        operation: What was asked.
        operation_id: Its id in the store.
        instance_id: Of which instance.
        binding_id: Of which binding.
        request: The request, if it could be read.
        headers: What its headers say, if they could be read.
        attempt: Which attempt it is, of work in the background.
    """
    offering, plan = plan_names_of(request)
    identity = headers.originating_identity if headers else None
    fields: Fields = {
        "operation": operation.value if operation else None,
        "operation_id": operation_id,
        "instance_id": instance_id,
        "binding_id": binding_id,
        "offering": offering,
        "plan": plan,
        "attempt": attempt,
        "username": headers.username if headers else None,
        "platform": identity.platform if identity else None,
        "platform_user": user_of(identity),
        "request_identity": headers.request_identity if headers else None,
        "correlation_id": headers.correlation_id if headers else None,
        "trace_id": trace_id_of(headers.trace_context) if headers and headers.trace_context else None,
    }
    for name, value in fields.items():
        if isinstance(value, str) and not (len(value) <= _LONGEST and value.isprintable()):
            fields[name] = escape_line_breaks(value)
    return fields


def context_at(current: CallContext) -> Fields:
    """The fields of a line that is logged in the middle of it."""
    request = current.request
    return context_of(
        current.operation,
        operation_id=current.operation_id,
        instance_id=current.instance_id,
        binding_id=current.binding_id,
        request=request,
        headers=current.headers,
        attempt=attempt_of(request) if current.is_attempt else None,
    )


def attempt_of(request: Request | None) -> int | None:
    """Which attempt a request in the background is in."""
    return getattr(request, "attempt", None)


NO_CONTEXT = context_of(
    None, operation_id=None, instance_id=None, binding_id=None, request=None, headers=None
)
"""The fields of a line that belongs to no request."""
