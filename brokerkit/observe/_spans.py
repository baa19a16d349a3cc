"""The span that a thread is in: that of the request or attempt that it is at."""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import NamedTuple

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span, StatusCode, set_span_in_context

from .._context import CURRENT_CALL, CallContext
from ._propagation import write


class _OpenSpan(NamedTuple):
    """A span that has begun.

    Args:
        current: What the thread is at.
        span: The span.
        before: The context that it was begun in.
        token: Leads back there.
        outer: What was open before it: an app may ask a broker within a request.
    """

    current: CallContext
    span: Span
    before: Context
    token: Token[Context]
    outer: _OpenSpan | None


_OPEN: ContextVar[_OpenSpan | None] = ContextVar("brokerkit_open_span", default=None)


def begin(span: Span, trace_context: dict[str, str]) -> None:
    """Make a span the current one, here and for all that comes of it elsewhere.

    Args:
        span: That of the request or attempt that this thread is at.
        trace_context: What goes on with it, as headers; it is changed.
    """
    leave_unfinished()
    current = CURRENT_CALL.get()
    assert current is not None, "it is known before anybody is told"
    before = context.get_current()
    here = set_span_in_context(span, before)
    write(trace_context, here)
    _OPEN.set(_OpenSpan(current, span, before, context.attach(here), _OPEN.get()))


def current_span() -> Span:
    """The span of what this thread is at; an invalid one if that has none."""
    opened = _found()
    return INVALID_SPAN if opened is None else opened.span


def leave() -> Span:
    """Go back to what was current before what this thread is at.

    Returns:
        Its span; an invalid one if it has none.
    """
    opened = _found()
    if opened is None:
        return INVALID_SPAN
    _OPEN.set(opened.outer)
    context.detach(opened.token)
    return opened.span


def leave_unfinished() -> None:
    """Go back to before what is over and was never told to have ended, as when it raised SystemExit."""
    while (opened := _OPEN.get()) is not None and opened.current.is_over:
        if trace.get_current_span() is opened.span:
            context.attach(opened.before)
        if opened.span.is_recording():
            opened.span.set_status(StatusCode.ERROR)
            opened.span.end()
        _OPEN.set(opened.outer)


def _found() -> _OpenSpan | None:
    leave_unfinished()
    opened = _OPEN.get()
    return None if opened is None or opened.current is not CURRENT_CALL.get() else opened
