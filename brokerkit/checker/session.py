"""What all journeys of a check share: sending, noting what was seen, and knowing when to stop."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Event, Lock
from typing import Any
from uuid import uuid4

from .._asking import Ask
from .._transport import Transport
from ..exchange import Exchange
from ..platforms import Platform
from ..requests import Operation
from .ledger import Ledger, Resource
from .rule import Seen
from .situations import Situation

_TRIES = 4
"""How many times it tries to reach a broker that cannot be connected to."""
_BETWEEN_TRIES = 0.5
_SILENT = 12
"""After how many requests in a row that nobody answered it gives up."""
_MOST = 1024 * 1024
MOST_OF_A_CATALOG = 4 * _MOST
"""How many bytes of a catalog are read."""
_MOST_AFTER = 16 * 1024
_KEPT = 16 * _MOST

Headers = Mapping[str, str | None]


class Stopped(Exception):
    """The check is to stop."""


class BrokerGone(Exception):
    """Nobody listens at the broker's address, or nobody answers."""

    def __init__(self, exchange: Exchange, last: Exchange | None) -> None:
        what = "answers no more" if exchange.reached else "cannot be reached"
        after = f"; the last answer before was that to {last.asked}" if last is not None else ""
        super().__init__(f"the service broker {what}: {exchange.failure}{after}")
        self.last = last


class Session:
    """Sends requests for journeys, and keeps what they see; safe for threads.

    Args:
        transport: How to reach the broker.
        platform: Who asks.
    """

    def __init__(self, transport: Transport, platform: Platform) -> None:
        self.transport = transport
        self.platform = platform
        self.ledger = Ledger()
        self.stop = Event()
        self._lock = Lock()
        self._seen: list[Seen] = []
        self._skipped: dict[Situation, str] = {}
        self._last: Exchange | None = None
        self._silent = 0
        self._unanswered: Exchange | None = None
        self._kept = 0
        self.sent = 0

    @property
    def seen(self) -> list[Seen]:
        """All that was seen until now."""
        with self._lock:
            return list(self._seen)

    @property
    def skipped(self) -> Mapping[Situation, str]:
        """Why some situations were not come to; the first reason of each."""
        with self._lock:
            return dict(self._skipped)

    def send(
        self,
        ask: Ask,
        headers: Headers | None = None,
        *,
        hang_up: bool = False,
        even_if_stopped: bool = False,
        timeout: float | None = None,
    ) -> Exchange:
        """Send a request, and wait for the answer.

        Args:
            ask: What is asked.
            headers: More headers; None leaves one out.
            hang_up: Do not wait for the answer.
            even_if_stopped: Also when the check is to stop, as what cleans up must.
            timeout: How many seconds the answer may take, if not as ever.

        Raises:
            Stopped: The check is to stop.
            BrokerGone: Nobody listens there, or answers any more.
        """
        told = {**self.headers, **(headers or {})}
        for left in reversed(range(_TRIES)):
            if self.stop.is_set() and not even_if_stopped:
                raise Stopped
            if self._silent >= _SILENT and not even_if_stopped and self._unanswered is not None:
                raise BrokerGone(self._unanswered, self._last)
            exchange = self.transport.send(
                ask, told, timeout=timeout, hang_up=hang_up, most=self._most(ask.operation)
            )
            with self._lock:
                self.sent += 1
                self._kept += len(exchange.answer)
                self._hear(exchange, hang_up)
            if exchange.reached:
                return exchange
            if not left or even_if_stopped:
                raise BrokerGone(exchange, self._last)
            self.stop.wait(_BETWEEN_TRIES)
        raise AssertionError("it returns or raises")

    def _hear(self, exchange: Exchange, hang_up: bool) -> None:
        """Note if the broker still answers."""
        if exchange.status is not None:
            self._last, self._silent = exchange, 0
        elif exchange.reached and not hang_up:
            self._unanswered, self._silent = exchange, self._silent + 1

    def _most(self, operation: Operation) -> int:
        """How many bytes of an answer to read: all are kept, and a broker may send as many as it likes."""
        if self._kept > _KEPT:
            return _MOST_AFTER
        return MOST_OF_A_CATALOG if operation is Operation.CATALOG else _MOST

    @property
    def headers(self) -> dict[str, str | None]:
        """What every request carries."""
        return {
            "X-Broker-API-Version": self.platform.api_version,
            "X-Broker-API-Originating-Identity": self.platform.originating_identity,
            **self.platform.headers,
            "X-Broker-API-Request-Identity": str(uuid4()),  # also of platforms that send none
        }

    def note(
        self,
        situation: Situation,
        where: str,
        ask: Ask,
        exchange: Exchange,
        *before: Exchange,
        **facts: Any,
    ) -> None:
        """Keep what was seen, for the rules."""
        seen = Seen(
            situation=situation,
            operation=ask.operation,
            where=where,
            exchange=exchange,
            before=before,
            facts=facts,
        )
        with self._lock:
            self._seen.append(seen)

    def skip(self, why: str, *situations: Situation) -> None:
        """Say why situations are not come to."""
        with self._lock:
            for situation in situations:
                self._skipped.setdefault(situation, why)

    def wait(self, seconds: float) -> None:
        """Let some time pass.

        Raises:
            Stopped: The check is to stop.
        """
        if self.stop.wait(seconds):
            raise Stopped


def new_instance() -> Resource:
    """An instance id that nobody has."""
    return Resource(str(uuid4()))


def new_binding(instance: Resource) -> Resource:
    """A binding id that nobody has."""
    return Resource(instance.instance_id, str(uuid4()))
