"""The lease of an attempt: the time without a heartbeat after which its process counts as dead."""

from __future__ import annotations

from math import inf

from .errors import StoreError

DEFAULT_LEASE = 30.0


class Lease:
    """A lease in two parts: its term, and a grace period to renew it after a challenge.

    An entry in an executor's queue has no lease. It counts as lost after as long as its operation has waited
    already, but after one lease at least, and twenty leases at most.

    Args:
        value: The sum of both parts in seconds, as a number or as a string from a URL.

    Raises:
        StoreError: The value is invalid.
    """

    def __init__(self, value: object) -> None:
        self.seconds = _seconds(value)
        self.term = self.seconds * 2 / 3
        self.grace = self.seconds / 3
        self.longest_in_queue = self.seconds * 20


def _seconds(value: object) -> float:
    try:
        seconds = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        seconds = 0.0
    if not 0 < seconds < inf:
        raise StoreError(f"the lease of a store is {value!r}; use a number of seconds greater than 0")
    return seconds
