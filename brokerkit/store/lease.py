"""The lease of who works: for how long it is taken to be alive when it no longer says so."""

from __future__ import annotations

from math import inf

from .errors import StoreError

DEFAULT_LEASE = 30.0


class Lease:
    """A lease, in two parts: its term, and then the grace in which who is called out can say that it lives.

    What waits in a queue has none. It is taken for lost after one lease, then after twice as long, up to
    twenty.

    Args:
        told: How many seconds both are together, as a number or from a URL.

    Raises:
        StoreError: That is no lease.
    """

    def __init__(self, told: object) -> None:
        self.seconds = _seconds(told)
        self.term = self.seconds * 2 / 3
        self.grace = self.seconds / 3
        self.longest_in_queue = self.seconds * 20


def _seconds(told: object) -> float:
    try:
        seconds = float(told)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        seconds = 0.0
    if not 0 < seconds < inf:
        raise StoreError(f"the lease of a store is {told!r}; give a number of seconds, more than 0")
    return seconds
