"""What all journeys of a check share: sending, noting what was seen, and knowing when to stop."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Event, Lock
from typing import Any
from uuid import uuid4

from ..client import endpoints as asking
from ..client.endpoints import APIRequest
from ..client.exchange import Exchange
from ..client.platforms import Platform
from ..client.responses import retry_after
from ..client.transport import Transport
from ..requests import Operation
from .resource_tracker import Resource, ResourceTracker
from .rule import Observation
from .situations import Situation
from .truncation import LONG, truncate_exchange

_TRIES = 4
"""How many times it tries to reach a broker that cannot be connected to."""
_BETWEEN_TRIES = 0.5
_SILENT = 12
"""After how many requests in a row that nobody answered it gives up."""
_TRIES_IF_TOO_MANY = 10
"""How many times it sends a request that is refused for coming too soon."""
_WAIT_IF_UNTOLD, _LONGEST_WAIT = 1.0, 10.0
"""For how many seconds it waits before that: if the broker does not say, and at most."""
_MOST = 1024 * 1024
MOST_OF_A_CATALOG = 4 * _MOST
"""How many bytes of a catalog are read."""
_KEPT = 64 * _MOST
"""How many bytes of long answers are kept; beyond that they are not judged."""

Headers = Mapping[str, str | None]


class Stopped(Exception):
    """The check is to stop."""


class BrokerGone(Exception):
    """Nobody listens at the broker's address, nobody answers, or somebody else does."""

    def __init__(self, exchange: Exchange, last: Exchange | None) -> None:
        what = "answers no more" if exchange.was_sent else "cannot be reached"
        if exchange.status in (401, 403):
            what = "takes the login no more"
        told = (
            exchange.failure
            if exchange.status is None
            else f"{exchange.request_line}: {exchange.response_line[:300]}"
        )
        after = f"; the last answer before was that to {last.request_line}" if last is not None else ""
        super().__init__(f"the service broker {what}: {told}{after}")
        self.last = last


class CheckSession:
    """Sends requests for journeys, and keeps what they see; safe for threads.

    Args:
        transport: How to reach the broker.
        platform: Who asks.
    """

    def __init__(self, transport: Transport, platform: Platform) -> None:
        self.transport = transport
        self.platform = platform
        self.ledger = ResourceTracker()
        self.stop = Event()
        self._lock = Lock()
        self._seen: list[Observation] = []
        self._skipped: dict[Situation, str] = {}
        self._last: Exchange | None = None
        self._silent = 0
        self._unanswered: Exchange | None = None
        self._kept = 0
        self.sent = 0
        self.is_known = False
        """Did it tell its catalog? What does so no more is not the broker."""

    @property
    def seen(self) -> list[Observation]:
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
        ask: APIRequest,
        headers: Headers | None = None,
        *,
        hang_up: bool = False,
        even_if_stopped: bool = False,
        timeout: float | None = None,
        whole: bool = False,
    ) -> Exchange:
        """Send a request, and wait for the answer; again, if it is refused for coming too soon (429).

        Args:
            ask: What is asked.
            headers: More headers; None leaves one out.
            hang_up: Do not wait for the answer.
            even_if_stopped: Also when the check is to stop, as what cleans up must.
            timeout: How many seconds the answer may take, if not as ever.
            whole: Keep all of the answer, however long.

        Raises:
            Stopped: The check is to stop.
            BrokerGone: Nobody listens there, or answers any more; or it is not the broker that does.
        """
        carried = {**self.headers, **(headers or {})}
        for left in reversed(range(_TRIES_IF_TOO_MANY)):
            exchange = self._reach(ask, carried, hang_up, even_if_stopped, timeout)
            if exchange.status != 429 or even_if_stopped:
                break
            if not left:
                raise BrokerGone(exchange, self._last)
            told = retry_after(exchange)
            self.wait(_WAIT_IF_UNTOLD if told is None else min(float(told), _LONGEST_WAIT))
        if self.is_known and _may_be_of_another(exchange, headers or {}):
            self._see_that_it_is_there(even_if_stopped, timeout)
        return exchange if whole else self._shortened(exchange)

    def _reach(
        self,
        ask: APIRequest,
        headers: Headers,
        hang_up: bool,
        even_if_stopped: bool,
        timeout: float | None,
    ) -> Exchange:
        """Send it, a few times if nobody can be reached."""
        for left in reversed(range(_TRIES)):
            if self.stop.is_set() and not even_if_stopped:
                raise Stopped
            if self._silent >= _SILENT and not even_if_stopped and self._unanswered is not None:
                raise BrokerGone(self._unanswered, self._last)
            most = MOST_OF_A_CATALOG if ask.operation is Operation.CATALOG else _MOST
            exchange = self.transport.send(ask, headers, timeout=timeout, hang_up=hang_up, max_bytes=most)
            with self._lock:
                self.sent += 1
                self._hear(ask, exchange, hang_up)
            if exchange.was_sent:
                return exchange
            if not left or even_if_stopped:
                raise BrokerGone(exchange, self._last)
            self.stop.wait(_BETWEEN_TRIES)
        raise AssertionError("it returns or raises")

    def _see_that_it_is_there(self, even_if_stopped: bool, timeout: float | None) -> None:
        """Ask for the catalog, which a broker tells to whoever may know, and a router in its place does not.

        Raises:
            BrokerGone: It is not there.
        """
        catalog = self._reach(asking.catalog(), self.headers, False, even_if_stopped, timeout)
        is_there = catalog.status == 200 and catalog.document is not None
        if catalog.status not in (None, 429) and not is_there:
            raise BrokerGone(catalog, self._last)

    def _shortened(self, exchange: Exchange) -> Exchange:
        exchange, size = truncate_exchange(exchange)
        with self._lock:
            self._kept += size
        return exchange

    def _hear(self, ask: APIRequest, exchange: Exchange, hang_up: bool) -> None:
        """Note if the broker still answers; its catalog is what it may tell to the last."""
        if exchange.status is not None:
            self._last = exchange
            if ask.operation is not Operation.CATALOG:
                self._silent = 0
        elif exchange.was_sent and not hang_up:
            self._unanswered, self._silent = exchange, self._silent + 1

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
        ask: APIRequest,
        exchange: Exchange,
        *before: Exchange,
        **facts: Any,
    ) -> None:
        """Keep what was seen, for the rules."""
        if len(exchange.response_body) >= LONG and self._kept > _KEPT:
            self.skip("the answers are too long to keep all of them", situation)
            return
        seen = Observation(
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


def _may_be_of_another(exchange: Exchange, headers: Headers) -> bool:
    """Is it a refusal that a router or a proxy may have sent, or of the login, which was right before?"""
    status = exchange.status or 0
    if status == 401:
        return "Authorization" not in headers
    return status >= 400 and status != 410 and exchange.document is None


def new_instance() -> Resource:
    """An instance id that nobody has."""
    return Resource(str(uuid4()))


def new_binding(instance: Resource) -> Resource:
    """A binding id that nobody has."""
    return Resource(instance.instance_id, str(uuid4()))
