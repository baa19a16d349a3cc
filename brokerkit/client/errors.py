"""How an order goes wrong: the client's errors, what they leave in doubt, and what became of that."""

from __future__ import annotations

from typing import cast

from msgspec import Struct

from .._internal.text import plural
from ..errors import AsyncRequired, ConcurrencyError, MaintenanceInfoConflict, RequiresApp
from ..results import LastOperation
from .exchange import Exchange

WORDS_OF_422 = frozenset(
    str(kind.error) for kind in (AsyncRequired, ConcurrencyError, RequiresApp, MaintenanceInfoConflict)
)
"""The words with a fixed meaning (R-ERR-3)."""


class ClientError(Exception):
    """A request that did not go well; :attr:`exchange` is the request and its answer, secrets masked."""

    def __init__(self, told: str, exchange: Exchange) -> None:
        super().__init__(told)
        self.exchange = exchange
        #: What became of what the request may have left behind; None if nothing was done about it.
        self.mitigation: Mitigation | None = None

    def __str__(self) -> str:
        told = f"{super().__str__()}\n{self.exchange}"
        return told if self.mitigation is None else f"{told}\n{self.mitigation}"


class BrokerUnreachable(ClientError):
    """There was no answer: no connection, or not in time."""

    def __init__(self, exchange: Exchange) -> None:
        why = exchange.clean(exchange.failure or "nobody knows why")
        super().__init__(f"the service broker did not answer: {why}", exchange)


class BrokerRefused(ClientError):
    """The broker refused or failed, as it may (R-ERR-1).

    Args:
        exchange: The request and the answer.
    """

    def __init__(self, exchange: Exchange) -> None:
        document = exchange.document or {}
        self.status = cast(int, exchange.status)
        self.error = None if exchange.error_code is None else exchange.clean(exchange.error_code)
        self.description = None if exchange.description is None else exchange.clean(exchange.description)
        usable, repeatable = document.get("instance_usable"), document.get("update_repeatable")
        #: After a failed update or deprovision: can the instance still be used? (R-ERR-2)
        self.instance_usable = usable if isinstance(usable, bool) else None
        #: After a failed update: may it be tried again? (R-ERR-2)
        self.update_repeatable = repeatable if isinstance(repeatable, bool) else None
        word = f" {self.error}" if self.error else ""
        why = self.description or "it does not say why"
        super().__init__(f"the service broker refused with {self.status}{word}: {why}", exchange)


class BrokerMistake(ClientError):
    """The broker answered what the API does not allow; :attr:`faults` has each fault, with its place."""

    def __init__(self, faults: tuple[str, ...], exchange: Exchange) -> None:
        self.faults = tuple(exchange.clean(fault) for fault in faults)
        super().__init__(
            "\n  ".join(["the service broker's answer is not one of the API:", *self.faults]), exchange
        )


class OperationFailed(ClientError):
    """Polling found that the operation failed; :attr:`last_operation` says how."""

    def __init__(self, last_operation: LastOperation, exchange: Exchange) -> None:
        self.last_operation = last_operation
        why = exchange.clean(last_operation.description or "the service broker does not say why")
        super().__init__(f"the operation failed: {why}", exchange)


class PollingTimeout(ClientError):
    """The operation was still in progress when its time was over; the last poll is in :attr:`exchange`."""

    def __init__(self, seconds: float, exchange: Exchange) -> None:
        super().__init__(f"the operation is still in progress after {seconds:g} seconds", exchange)


class Mitigation(Struct, frozen=True, kw_only=True):
    """What became of an orphan: what a provision or bind that went wrong may have left (R-ERR-4).

    Args:
        gone: Is it deleted for certain?
        deletes: How many DELETEs were sent.
        last: The last request of it.
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


def leaves_an_orphan(exchange: Exchange) -> bool:
    """May a provision or bind have left what a platform cannot take for made (R-ERR-4)?

    Args:
        exchange: One that did not go well.
    """
    status = exchange.status
    if status is None:
        return exchange.was_sent
    if status == 422:  # Cloud Controller takes one without a word that it knows for a broken broker
        return exchange.error_code not in WORDS_OF_422
    return status >= 500 or 201 <= status <= 299  # a 200 is about what was there before
