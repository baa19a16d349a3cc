"""What is kept of a long answer: enough to judge and to show it, so that many of them fit into memory."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from ..client.exchange import Exchange

LONG = 16 * 1024
"""Of how many bytes an answer is cut, and of how many characters each text in it; no rule asks for more."""


def truncate_exchange(exchange: Exchange) -> tuple[Exchange, int]:
    """The same with what is kept of its answer, and how many bytes that has beyond :data:`LONG`.

    Args:
        exchange: A request and its answer.
    """
    if len(exchange.response_body) <= LONG:
        return exchange, 0
    document = _short(exchange.document)
    kept = replace(exchange, response_body=exchange.response_body[:LONG])
    kept.__dict__["document"] = document  # which the cut answer is no more
    return kept, len(msgspec.json.encode(document))


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
