"""Parsing of the options `-p` and `-c` to the parameters of a request.

No message contains a value, because it may be a password.
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
    """Parse the parameters of a request.

    Args:
        pairs: The values of `-p`: ``size=3``, ``disk.size=3``. They take precedence over `document`.
        document: The value of `-c`: a JSON object, or ``@`` and the name of a file with one.

    Returns:
        The parameters; None if neither option is given.

    Raises:
        click.BadParameter: A value is invalid.
    """
    if not pairs and document is None:
        return None
    parameters = {} if document is None else _object(document)
    for pair in pairs:
        _put(parameters, pair)
    return parameters


def _object(document: str) -> dict[str, Any]:
    raw = document.encode()
    if document.startswith("@"):
        name = document[1:]
        try:
            raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        except OSError as error:
            raise _invalid("-c", f"{name} cannot be read: {error.strerror}") from None
    try:
        return decode_object(raw)
    except ValueError:
        raise _invalid(
            "-c", "expected a JSON object such as '{\"size\": 3}', or @ and a file with one"
        ) from None


def _put(parameters: dict[str, Any], pair: str) -> None:
    key, equals, text = pair.partition("=")
    *path, last = key.split(".")
    if not equals or not all((*path, last)):
        raise _invalid("-p", "expected a name and a value, such as size=3 or disk.size=3")
    target = parameters
    for name in path:
        target = target.setdefault(name, {})
        if not isinstance(target, dict):
            raise _invalid("-p", f"{key}: {name} already has a value that is not an object")
    target[last] = _value(text)


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return text


def _invalid(option: str, message: str) -> click.BadParameter:
    return click.BadParameter(message, param_hint=option)
