"""The number of examples and variants that tests try. `make quick` tries fewer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from hypothesis import settings

T = TypeVar("T")


def is_quick() -> bool:
    """Whether the hypothesis profile `quick` is active."""
    return bool(settings.get_current_profile_name() == "quick")


def examples(count: int) -> int:
    """Return the number of examples to try: `count`, or a tenth of it with the profile `quick`."""
    return max(1, count // 10) if is_quick() else count


def variants(values: Sequence[T]) -> Sequence[T]:
    """Return the variants of a test to try: all of them, or every eighth one with the profile `quick`."""
    return values[::8] if is_quick() else values
