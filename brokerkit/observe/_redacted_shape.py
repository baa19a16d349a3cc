"""The structure of a secret JSON value: its names, with a mask for each value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .._internal.masked_struct import MASK
from .._internal.text import single_line

_MAX_DEPTH = 5
_MAX_ENTRIES = 100
"""The number of names and list items in the whole result."""
_ELLIPSIS = "…"


def redacted_shape(value: object) -> object:
    """Return a JSON value of bounded size with its names, and a mask for each value.

    Args:
        value: A request's `parameters`, or `credentials`.
    """
    return _shape(value, _MAX_DEPTH, iter(range(_MAX_ENTRIES)))


def _shape(value: object, depth: int, budget: Iterator[int]) -> object:
    if depth and isinstance(value, Mapping):
        members: dict[str, object] = {}
        for name, member in value.items():
            if next(budget, None) is None:
                members[_ELLIPSIS] = _ELLIPSIS
                break
            members[single_line(str(name))] = _shape(member, depth - 1, budget)
        return members
    if depth and isinstance(value, list | tuple):
        items: list[object] = []
        for item in value:
            if next(budget, None) is None:
                items.append(_ELLIPSIS)
                break
            items.append(_shape(item, depth - 1, budget))
        return items
    return MASK
