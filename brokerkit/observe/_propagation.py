"""A trace that goes on: from a platform to a request, and from a request to its work in the background.

What is read and written is `RequestHeaders.trace_context`, in W3C's words and in those of B3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from opentelemetry.context import Context
from opentelemetry.propagators.b3 import B3MultiFormat, B3SingleFormat
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator


class _Format(NamedTuple):
    """A way to write down which span it is.

    Args:
        headers: What it writes; the first one says that it was used.
        propagator: Reads and writes it.
        deferred: How it says yes, where a platform left it to us whether its trace is recorded.
    """

    headers: tuple[str, ...]
    propagator: TextMapPropagator
    deferred: Mapping[str, str] = {}


_W3C = _Format(("traceparent", "tracestate"), TraceContextTextMapPropagator())
_FORMATS = (
    _W3C,
    _Format(("b3",), B3SingleFormat()),
    # Cloud Foundry leaves it to us. The propagator would read that as "no", and nothing would be recorded.
    _Format(
        ("x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags"),
        B3MultiFormat(),
        {"x-b3-sampled": "1"},
    ),
)
"""In the order in which they are believed."""

_NOWHERE = Context()


def read(trace_context: Mapping[str, str]) -> SpanContext:
    """The span that made a request: W3C's if it is valid, else that of `b3`, else that of `x-b3-…`.

    What is broken counts as missing.

    Args:
        trace_context: The headers, by their names in lower case.

    Returns:
        The span; an invalid one if there is none.
    """
    for headers, propagator, deferred in _FORMATS:
        if headers[0] in trace_context:
            told = {**deferred, **{name: trace_context[name] for name in headers if name in trace_context}}
            found = get_current_span(propagator.extract(told, _NOWHERE)).get_span_context()
            if found.is_valid:
                return found
    return INVALID_SPAN_CONTEXT


def write(trace_context: dict[str, str], here: Context) -> None:
    """Replace a span by the current one: in W3C's words, and in those that were used.

    So who hands the headers on reaches those too who understand nothing else.

    Args:
        trace_context: The headers; all that was in them is gone.
        here: A context with a span.
    """
    spoken = [each for each in _FORMATS if each is _W3C or each.headers[0] in trace_context]
    trace_context.clear()
    for each in spoken:
        each.propagator.inject(trace_context, here)
