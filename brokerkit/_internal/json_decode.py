"""Decoding of JSON objects from outside: a bounded depth, and readable error messages."""

from __future__ import annotations

import re
from typing import Any

import msgspec

MAX_DEPTH = 100
"""The maximum nesting depth of an object. No platform needs more."""

_object = msgspec.json.Decoder(dict[str, Any])


class TooDeep(ValueError):
    """A JSON object that is nested deeper than :data:`MAX_DEPTH`."""


def decode_object(raw: bytes) -> dict[str, Any]:
    """Decode a JSON object.

    Raises:
        TooDeep: The object is nested deeper than :data:`MAX_DEPTH`.
        msgspec.ValidationError: The value is not an object.
        ValueError: The bytes are not JSON or not UTF-8. Base class of the two errors above.
    """
    try:
        document = _object.decode(raw)
    except RecursionError:
        raise TooDeep from None
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and is_deeper_than(document, MAX_DEPTH):
        raise TooDeep
    return document


def is_deeper_than(document: object, limit: int) -> bool:
    """Whether a JSON value is nested deeper than a number of levels."""
    level = [document] if isinstance(document, dict | list) else []
    for _ in range(limit):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


_WRONG_TYPE = re.compile(r"Expected `(?P<expected>[^`]+)`, got `(?P<actual>[^`]+)`")
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]+)`")
_TYPE_NAMES = {
    "str": "a string",
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "object": "an object",
    "array": "an array",
    "null": "null",
}


def describe_validation_error(error: msgspec.ValidationError) -> str:
    """Convert an error of msgspec to a message: ``parameters: expected an object, got an array``."""
    message, _, path = str(error).partition(" - at `$")
    path = path.removesuffix("`").removeprefix(".")
    if match := _MISSING.fullmatch(message):
        return f"{'.'.join(filter(None, (path, match['name'])))}: is required"
    if match := _WRONG_TYPE.fullmatch(message):
        types = (name for name in match["expected"].split(" | ") if name != "null")
        expected = " or ".join(_TYPE_NAMES.get(name, name) for name in types)
        message = f"expected {expected}, got {_TYPE_NAMES.get(match['actual'], match['actual'])}"
    return f"{path or 'the body'}: {message}"
