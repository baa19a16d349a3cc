"""The span of the request or attempt that the current thread runs."""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import NamedTuple

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span, StatusCode, set_span_in_context

from .._context import CURRENT_CALL, CallContext


class _OpenSpan(NamedTuple):
    """A span that has started.

    Args:
        call: The request or attempt that the span is for.
        span: The span.
        previous: The context before the span.
        token: The token that restores that context.
        outer: The open span around it: an app may call a broker within a request.
    """

    call: CallContext
    span: Span
    previous: Context
    token: Token[Context]
    outer: _OpenSpan | None


_OPEN: ContextVar[_OpenSpan | None] = ContextVar("brokerkit_open_span", default=None)


def enter(span: Span) -> Context:
    """Make a span the current one, for the request or attempt that this thread runs.

    Args:
        span: The span.

    Returns:
        The context with the span.
    """
    end_abandoned_spans()
    call = CURRENT_CALL.get()
    assert call is not None, "the signal is sent within a request or an attempt"
    previous = context.get_current()
    current = set_span_in_context(span, previous)
    _OPEN.set(_OpenSpan(call, span, previous, context.attach(current), _OPEN.get()))
    return current


def current_span() -> Span:
    """Return the span of this thread's request or attempt; an invalid one if it has none."""
    opened = _current()
    return INVALID_SPAN if opened is None else opened.span


def leave() -> Span:
    """Restore the context before this thread's request or attempt.

    Returns:
        The span of the request or attempt; an invalid one if it has none.
    """
    opened = _current()
    if opened is None:
        return INVALID_SPAN
    _OPEN.set(opened.outer)
    context.detach(opened.token)
    return opened.span


def end_abandoned_spans() -> None:
    """End the spans of requests that ended without a signal, as after SystemExit, and restore the context."""
    while (opened := _OPEN.get()) is not None and opened.call.is_over:
        if trace.get_current_span() is opened.span:
            context.attach(opened.previous)
        if opened.span.is_recording():
            opened.span.set_status(StatusCode.ERROR)
            opened.span.end()
        _OPEN.set(opened.outer)


def _current() -> _OpenSpan | None:
    end_abandoned_spans()
    opened = _OPEN.get()
    return None if opened is None or opened.call is not CURRENT_CALL.get() else opened
