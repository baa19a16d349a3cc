"""Trace headers in W3C and B3 formats: from a platform to a request, and from a request to its attempts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from opentelemetry.context import Context
from opentelemetry.propagators.b3 import B3MultiFormat, B3SingleFormat
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ..signals import TraceContext


class _Format(NamedTuple):
    """A format of trace headers.

    Args:
        headers: The headers of the format; the first one shows that the format is used.
        propagator: The propagator that reads and writes the format.
        defaults: Values for missing headers, if a platform leaves the sampling decision to the broker.
    """

    headers: tuple[str, ...]
    propagator: TextMapPropagator
    defaults: Mapping[str, str] = {}


_W3C = _Format(("traceparent", "tracestate"), TraceContextTextMapPropagator())
_FORMATS = (
    _W3C,
    _Format(("b3",), B3SingleFormat()),
    # Cloud Foundry leaves the decision open. The propagator alone would treat that as "not sampled".
    _Format(
        ("x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags"),
        B3MultiFormat(),
        {"x-b3-sampled": "1"},
    ),
)
"""In order of precedence."""

_EMPTY = Context()


def extract(trace_context: Mapping[str, str]) -> SpanContext:
    """Return the caller's span, from the first format with a valid one: W3C, `b3`, `x-b3-...`.

    Args:
        trace_context: Header names in lower case to values.

    Returns:
        The span context; an invalid one if there is none. Malformed headers count as missing.
    """
    for headers, propagator, defaults in _FORMATS:
        if headers[0] in trace_context:
            carrier = {**defaults, **{name: trace_context[name] for name in headers if name in trace_context}}
            span_context = get_current_span(propagator.extract(carrier, _EMPTY)).get_span_context()
            if span_context.is_valid:
                return span_context
    return INVALID_SPAN_CONTEXT


def inject(trace_context: Mapping[str, str], context: Context) -> TraceContext:
    """Build the headers for a span: in the W3C format, and in each other format that the caller used.

    A service that gets these headers from a handler may support only the platform's format.

    Args:
        trace_context: The headers from the caller.
        context: A context with the span.
    """
    injected = TraceContext()
    for candidate in _FORMATS:
        if candidate is _W3C or candidate.headers[0] in trace_context:
            candidate.propagator.inject(injected, context)
    return injected
