"""Waiting for facts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def until(fact: Callable[[], Any], *, timeout: float = 30.0, pause: float = 0.005) -> Any:
    """Wait for a fact, and return it."""
    ends = time.monotonic() + timeout
    while not (found := fact()):
        assert time.monotonic() < ends, "it never came to that"
        time.sleep(pause)
    return found
