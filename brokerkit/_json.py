"""JSON objects from outside, of a depth that nothing which recurses over them need fear."""

from __future__ import annotations

from typing import Any

import msgspec

MAX_DEPTH = 100
"""How deep an object may be nested. No platform needs more."""

_object = msgspec.json.Decoder(dict[str, Any])


class TooDeep(ValueError):
    """JSON that is nested deeper than :data:`MAX_DEPTH`."""


def decode_object(raw: bytes) -> dict[str, Any]:
    """Decode a JSON object.

    Raises:
        TooDeep: It is nested deeper than :data:`MAX_DEPTH`.
        msgspec.ValidationError: It is JSON, but no object.
        ValueError: It is no JSON, or not in UTF-8. The two above are ValueErrors too.
    """
    try:
        document = _object.decode(raw)
    except RecursionError:
        raise TooDeep from None
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and _deeper_than(document, MAX_DEPTH):
        raise TooDeep
    return document


def _deeper_than(document: dict[str, Any], limit: int) -> bool:
    level: list[dict[str, Any] | list[Any]] = [document]
    for _ in range(limit):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True
