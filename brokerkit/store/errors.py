"""Errors of a store."""

from __future__ import annotations

from ..errors import BrokerError


class StoreError(Exception):
    """An error in a store's configuration, keys or tables. The message includes the remedy, if known."""


class StoreUnavailable(BrokerError):
    """A temporary failure of the database: it cannot be reached, or cannot write.

    The response is 503 with `Retry-After`. Operations in progress continue when the database is back.
    """

    status = 503
    error = "StoreUnavailable"
    description = "The service broker cannot reach its database. Try again later."
    headers = (("Retry-After", "10"),)
