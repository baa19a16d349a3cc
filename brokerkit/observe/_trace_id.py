"""The id of the trace that a request belongs to, as tracing tools show it."""

from __future__ import annotations

import re
from collections.abc import Mapping

_PATTERNS = {
    "traceparent": re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?"),
    "b3": re.compile(r"((?:[0-9a-f]{16}){1,2})-[0-9a-f]{16}(?:-.*)?", re.IGNORECASE),
    "x-b3-traceid": re.compile(r"((?:[0-9a-f]{16}){1,2})", re.IGNORECASE),
}


def trace_id_of(trace_context: Mapping[str, str]) -> str | None:
    """The 32 digits of W3C, else those of B3; None if there is no trace, or none that can be read (R-REQ-5).

    Args:
        trace_context: As in `RequestHeaders`.
    """
    for name, pattern in _PATTERNS.items():
        match = pattern.fullmatch(trace_context.get(name, ""))
        if match and match[1].strip("0"):
            return match[1].lower().zfill(32)  # B3 allows half of it, and tools fill it up
    return None
