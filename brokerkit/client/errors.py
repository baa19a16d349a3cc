"""The client's errors, and the orphan mitigation after a failed request."""

from __future__ import annotations

import copyreg
from typing import Any, cast

from msgspec import Struct

from .._internal.text import plural
from ..errors import AsyncRequired, ConcurrencyError, MaintenanceInfoConflict, RequiresApp
from ..results import LastOperation
from .exchange import Exchange

WORDS_OF_422 = frozenset(
    str(kind.error) for kind in (AsyncRequired, ConcurrencyError, RequiresApp, MaintenanceInfoConflict)
)
"""The error codes that the API defines for 422 (R-ERR-3)."""


class ClientError(Exception):
    """A failed request. :attr:`exchange` has the request and its response, with secrets masked."""

    def __init__(self, message: str, exchange: Exchange) -> None:
        super().__init__(message)
        self.exchange = exchange
        #: The result of the orphan mitigation; None if there was none.
        self.mitigation: Mitigation | None = None

    def __str__(self) -> str:
        text = f"{super().__str__()}\n{self.exchange}"
        return text if self.mitigation is None else f"{text}\n{self.mitigation}"

    def __reduce__(self) -> tuple[Any, ...]:
        """Support pickling, although the classes' constructors do not take the message that `args` has."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class BrokerUnreachable(ClientError):
    """A request without a response: there was no connection, or a timeout."""

    def __init__(self, exchange: Exchange) -> None:
        cause = exchange.clean(exchange.failure or "unknown cause")
        super().__init__(f"no response from the service broker: {cause}", exchange)


class BrokerRefused(ClientError):
    """An error response of the broker (R-ERR-1).

    Args:
        exchange: The request and the response.
    """

    def __init__(self, exchange: Exchange) -> None:
        document = exchange.document or {}
        self.status = cast(int, exchange.status)
        self.error = None if exchange.error_code is None else exchange.clean(exchange.error_code)
        self.description = None if exchange.description is None else exchange.clean(exchange.description)
        usable, repeatable = document.get("instance_usable"), document.get("update_repeatable")
        #: Whether the instance is still usable after a failed update or deprovision (R-ERR-2).
        self.instance_usable = usable if isinstance(usable, bool) else None
        #: Whether a failed update may be repeated (R-ERR-2).
        self.update_repeatable = repeatable if isinstance(repeatable, bool) else None
        code = f" {self.error}" if self.error else ""
        cause = self.description or "no description"
        super().__init__(f"the service broker returned {self.status}{code}: {cause}", exchange)


class BrokerMistake(ClientError):
    """A response that the API does not allow. :attr:`faults` lists each fault with its place."""

    def __init__(self, faults: tuple[str, ...], exchange: Exchange) -> None:
        self.faults = tuple(exchange.clean(fault) for fault in faults)
        super().__init__(
            "\n  ".join(["the service broker returned an invalid response:", *self.faults]), exchange
        )


class OperationFailed(ClientError):
    """An asynchronous operation that failed. :attr:`last_operation` is its final state."""

    def __init__(self, last_operation: LastOperation, exchange: Exchange) -> None:
        self.last_operation = last_operation
        cause = exchange.clean(last_operation.description or "no description")
        super().__init__(f"the operation failed: {cause}", exchange)


class PollingTimeout(ClientError):
    """An operation still in progress at the time limit. :attr:`exchange` is the last poll."""

    def __init__(self, seconds: float, exchange: Exchange) -> None:
        super().__init__(f"the operation is still in progress after {seconds:g} seconds", exchange)


class Mitigation(Struct, frozen=True, kw_only=True):
    """The result of orphan mitigation after a failed provision or bind (R-ERR-4).

    Args:
        gone: Whether the deletion was confirmed.
        deletes: The number of DELETE requests.
        last: The last exchange of the mitigation.
    """

    gone: bool
    deletes: int
    last: Exchange

    def __str__(self) -> str:
        last = f"{self.last.request_line} → {self.last.response_line}"
        if self.gone:
            return f"The resource that the request may have left behind was deleted: {last}"
        return (
            "The resource that the request may have left behind could not be deleted"
            f" after {plural(self.deletes, 'attempt')} and may still exist: {last}"
        )
