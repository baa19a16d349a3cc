"""From what is typed after `-p` and `-c` to the parameters of a request.

No message repeats a value, since it may be a password.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from .._internal.json_decode import decode_object


def read_parameters(pairs: Sequence[str], document: str | None) -> dict[str, Any] | None:
    """The parameters; None if nothing was said of them.

    Args:
        pairs: Those after `-p`: ``size=3``, ``disk.size=3``; they win.
        document: What follows `-c`: a JSON object, or ``@`` and the name of a file with one.

    Raises:
        click.BadParameter: It is neither.
    """
    if not pairs and document is None:
        return None
    found = {} if document is None else _object(document)
    for pair in pairs:
        _put(found, pair)
    return found


def _object(told: str) -> dict[str, Any]:
    raw = told.encode()
    if told.startswith("@"):
        name = told[1:]
        try:
            raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        except OSError as error:
            raise _wrong("-c", f"{name} cannot be read: {error.strerror}") from None
    try:
        return decode_object(raw)
    except ValueError:
        raise _wrong("-c", "takes a JSON object, '{\"size\": 3}', or @ and a file that holds one") from None


def _put(found: dict[str, Any], pair: str) -> None:
    key, equals, text = pair.partition("=")
    *path, last = key.split(".")
    if not equals or not all((*path, last)):
        raise _wrong("-p", "takes a name and a value: size=3, or disk.size=3")
    place = found
    for name in path:
        place = place.setdefault(name, {})
        if not isinstance(place, dict):
            raise _wrong("-p", f"{key}: {name} has a value of its own already")
    place[last] = _value(text)


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return text


def _wrong(option: str, told: str) -> click.BadParameter:
    return click.BadParameter(told, param_hint=option)
