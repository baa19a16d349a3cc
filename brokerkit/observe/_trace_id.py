"""The id of a request's trace, in the form that tracing tools show."""

from __future__ import annotations

import re
from collections.abc import Mapping

_PATTERNS = {
    "traceparent": re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?"),
    "b3": re.compile(r"((?:[0-9a-f]{16}){1,2})-[0-9a-f]{16}(?:-.*)?", re.IGNORECASE),
    "x-b3-traceid": re.compile(r"((?:[0-9a-f]{16}){1,2})", re.IGNORECASE),
}


def trace_id_of(trace_context: Mapping[str, str]) -> str | None:
    """Return the 32 digits of the trace's id, from the W3C header or else from B3 headers (R-REQ-5).

    Args:
        trace_context: Header names in lower case to values, as in `RequestHeaders`.

    Returns:
        The id; None if there is no valid one.
    """
    for name, pattern in _PATTERNS.items():
        match = pattern.fullmatch(trace_context.get(name, ""))
        if match and match[1].strip("0"):
            return match[1].lower().zfill(32)  # B3 also has ids of 16 digits; tools pad them
    return None
