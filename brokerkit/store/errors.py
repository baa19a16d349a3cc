"""What goes wrong with a store."""

from __future__ import annotations

from ..errors import BrokerError


class StoreError(Exception):
    """The store cannot be used as it is; the message says what to do about it."""


class StoreUnavailable(BrokerError):
    """The database does not answer, or cannot write, for now: 503, with `Retry-After`.

    What was in progress goes on when it is back.
    """

    status = 503
    error = "StoreUnavailable"
    description = "The service broker cannot reach its memory; try again in a while."
    headers = (("Retry-After", "10"),)
