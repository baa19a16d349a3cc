"""Truncation of long responses, so that many of them fit into memory."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from ..client.exchange import Exchange

LONG = 16 * 1024
"""The number of bytes of a body, and of characters of a string in it, that are stored. No rule needs more."""


def truncate_exchange(exchange: Exchange) -> tuple[Exchange, int]:
    """Truncate the body of an exchange, and the strings in its JSON document.

    Args:
        exchange: The exchange.

    Returns:
        The exchange, and the size of its document in bytes if the body was longer than :data:`LONG`.
    """
    if len(exchange.response_body) <= LONG:
        return exchange, 0
    document = _short(exchange.document)
    truncated = replace(exchange, response_body=exchange.response_body[:LONG])
    truncated.__dict__["document"] = document  # A truncated body can no longer be parsed.
    return truncated, len(msgspec.json.encode(document))


def _short(value: Any) -> Any:
    match value:
        case str():
            return value[:LONG]
        case dict():
            return {name: _short(inner) for name, inner in value.items()}
        case list():
            return [_short(inner) for inner in value]
        case _:
            return value
