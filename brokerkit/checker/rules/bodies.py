"""What is wrong with the body of a success, told by field: what several chapters need."""

from __future__ import annotations

from ..._reading import read
from ..rule import Seen

OF_A_BINDING = (
    "credentials",
    "syslog_drain_url",
    "route_service_url",
    "volume_mounts",
    "endpoints",
    "metadata",
)
"""What a binding is, which is told when it is there."""


def faults(seen: Seen, *fields: str) -> str | None:
    """What is wrong with these fields of an answer; with all of them, where none are named."""
    found = [
        line for line in read(seen.operation, seen.exchange).faults if not fields or line.startswith(fields)
    ]
    return f"answered {seen.status} with {'; '.join(found)}" if found else None
