"""JSON objects from outside: of a bounded depth, and their faults in words."""

from __future__ import annotations

import re
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
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and is_deeper_than(document, MAX_DEPTH):
        raise TooDeep
    return document


def is_deeper_than(document: object, limit: int) -> bool:
    """Is a JSON value nested deeper than so many levels?"""
    level = [document] if isinstance(document, dict | list) else []
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


_FAULT = re.compile(r"Expected `(?P<wanted>[^`]+)`, got `(?P<got>[^`]+)`")
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]+)`")
_WORDS = {
    "str": "a string",
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "object": "an object",
    "array": "an array",
    "null": "null",
}


def describe_validation_error(error: msgspec.ValidationError) -> str:
    """What msgspec says of a fault, in words: ``parameters: expected an object, got an array``."""
    message, _, place = str(error).partition(" - at `$")
    place = place.removesuffix("`").removeprefix(".")
    if match := _MISSING.fullmatch(message):
        return f"{'.'.join(filter(None, (place, match['name'])))}: is required"
    if match := _FAULT.fullmatch(message):
        wanted = " or ".join(
            _WORDS.get(kind, kind) for kind in match["wanted"].split(" | ") if kind != "null"
        )
        message = f"expected {wanted}, got {_WORDS.get(match['got'], match['got'])}"
    return f"{place or 'the body'}: {message}"
