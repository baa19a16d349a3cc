"""The fields of a log record that identify its request, each on one line and of bounded length."""

from __future__ import annotations

from typing import TypeAlias

from .._context import CallContext
from .._internal.text import ID_LIMIT, single_line
from ..requests import Operation, Request, RequestHeaders
from ._common import plan_names_of, user_of
from ._trace_id import trace_id_of

Fields: TypeAlias = dict[str, str | int | None]


def context_fields(
    operation: Operation | None,
    *,
    operation_id: str | None,
    instance_id: str | None,
    binding_id: str | None,
    request: Request | None,
    headers: RequestHeaders | None,
    attempt: int | None = None,
) -> Fields:
    """Build the fields of a record about a request or an attempt; None for an unknown value.

    Args:
        operation: The requested operation.
        operation_id: Its id in the store.
        instance_id: The id of the instance.
        binding_id: The id of the binding.
        request: The request, if it was decoded.
        headers: The request's headers, if they were decoded.
        attempt: The number of the attempt, for background work.
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
        if isinstance(value, str) and not (len(value) <= ID_LIMIT and value.isprintable()):
            fields[name] = single_line(value)
    return fields


def fields_of_call(call: CallContext) -> Fields:
    """Build the fields of a record that is logged during a request or an attempt."""
    request = call.request
    return context_fields(
        call.operation,
        operation_id=call.operation_id,
        instance_id=call.instance_id,
        binding_id=call.binding_id,
        request=request,
        headers=call.headers,
        attempt=attempt_of(request) if call.is_attempt else None,
    )


def attempt_of(request: Request | None) -> int | None:
    """Return the number of the attempt that a background handler's request is for."""
    return getattr(request, "attempt", None)


NO_CONTEXT = context_fields(
    None, operation_id=None, instance_id=None, binding_id=None, request=None, headers=None
)
"""The fields of a record outside of requests."""
