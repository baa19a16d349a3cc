"""What shape a secret has: its names, with a mask for each value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .._internal.masking import MASK
from ._log_fields import escape_line_breaks

_DEEPEST = 5
_MOST = 100
"""How many names and values are shown in all."""
_MORE = "…"


def redacted_shape(value: object) -> object:
    """A JSON value with a mask for all but its names, of a bounded size.

    Args:
        value: `parameters`, or `credentials`.
    """
    return _outline(value, _DEEPEST, iter(range(_MOST)))


def _outline(value: object, deep: int, left: Iterator[int]) -> object:
    if deep and isinstance(value, Mapping):
        shown: dict[str, object] = {}
        for name, inner in value.items():
            if next(left, None) is None:
                shown[_MORE] = _MORE
                break
            shown[escape_line_breaks(str(name))] = _outline(inner, deep - 1, left)
        return shown
    if deep and isinstance(value, list | tuple):
        items: list[object] = []
        for inner in value:
            if next(left, None) is None:
                items.append(_MORE)
                break
            items.append(_outline(inner, deep - 1, left))
        return items
    return MASK
