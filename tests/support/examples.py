"""The number of examples of tests with hypothesis."""

from __future__ import annotations

from hypothesis import settings


def examples(count: int) -> int:
    """Return the number of examples to try: `count`, or a tenth of it with the profile `quick`."""
    return max(1, count // 10) if settings.get_current_profile_name() == "quick" else count
