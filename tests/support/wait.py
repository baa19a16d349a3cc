"""Wait for conditions, never for fixed times."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def wait_until(condition: Callable[[], Any], *, timeout: float = 30.0, pause: float = 0.005) -> Any:
    """Call a condition until its result is true, and return the result.

    Args:
        condition: Called repeatedly.
        timeout: Seconds until the test fails. Defaults to 30.
        pause: Seconds between two calls. Defaults to 0.005.

    Raises:
        AssertionError: The timeout expired.
    """
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        assert time.monotonic() < deadline, f"the condition was not met within {timeout} seconds"
        time.sleep(pause)
    return result
