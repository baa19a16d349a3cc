"""The session of a check: sends requests, stores observations, and detects an unreachable broker."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Event, Lock
from typing import Any
from uuid import uuid4

from ..client import endpoints
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

_CONNECT_ATTEMPTS = 4
"""The number of connection attempts per request."""
_CONNECT_PAUSE = 0.5
_MAX_UNANSWERED = 12
"""The number of consecutive requests without a response that end the check."""
_RATE_LIMIT_ATTEMPTS = 10
"""The number of attempts for a request that is rejected with 429."""
_DEFAULT_WAIT, _MAX_WAIT = 1.0, 10.0
"""The pause in seconds before the next attempt: without a Retry-After header, and at most."""
_MAX_SIZE = 1024 * 1024
MAX_CATALOG_SIZE = 4 * _MAX_SIZE
"""The maximum size of a catalog in bytes."""
_MAX_STORED = 64 * _MAX_SIZE
"""The total size in bytes of the long responses that are stored. Beyond it they are not evaluated."""

Headers = Mapping[str, str | None]


class Stopped(Exception):
    """The check was stopped."""


class BrokerGone(Exception):
    """The broker is unreachable, no longer responds, or was replaced by another server."""

    def __init__(self, exchange: Exchange, last: Exchange | None) -> None:
        fault = "no longer responds" if exchange.was_sent else "cannot be reached"
        if exchange.status in (401, 403):
            fault = "no longer accepts the credentials"
        detail = (
            exchange.failure
            if exchange.status is None
            else f"{exchange.request_line}: {exchange.response_line[:300]}"
        )
        after = f"; the last response was that to {last.request_line}" if last is not None else ""
        super().__init__(f"the service broker {fault}: {detail}{after}")
        self.last = last


class CheckSession:
    """Thread-safe session that sends the requests of all scenarios and stores their observations.

    Args:
        transport: The transport to the broker.
        platform: The platform to act as.
    """

    def __init__(self, transport: Transport, platform: Platform) -> None:
        self.transport = transport
        self.platform = platform
        self.tracker = ResourceTracker()
        self.stop = Event()
        self._lock = Lock()
        self._observations: list[Observation] = []
        self._skipped: dict[Situation, str] = {}
        self._last: Exchange | None = None
        self._unanswered_count = 0
        self._unanswered: Exchange | None = None
        self._stored = 0
        self.sent = 0
        self.is_known = False
        """Whether the broker returned its catalog. A server that no longer returns it is not the broker."""

    @property
    def observations(self) -> list[Observation]:
        """All observations so far."""
        with self._lock:
            return list(self._observations)

    @property
    def skipped(self) -> Mapping[Situation, str]:
        """The first reason why a situation did not occur, by situation."""
        with self._lock:
            return dict(self._skipped)

    def send(
        self,
        request: APIRequest,
        headers: Headers | None = None,
        *,
        hang_up: bool = False,
        even_if_stopped: bool = False,
        timeout: float | None = None,
        whole: bool = False,
    ) -> Exchange:
        """Send a request, and wait for the response. A request that is rejected with 429 is repeated.

        Args:
            request: The request.
            headers: Additional headers; None removes one.
            hang_up: Whether to close the connection without waiting for the response. Defaults to False.
            even_if_stopped: Whether to send it after the check was stopped. Defaults to False.
            timeout: The timeout in seconds. Defaults to that of the transport.
            whole: Whether to keep the response untruncated. Defaults to False.

        Raises:
            Stopped: The check was stopped.
            BrokerGone: The broker is unreachable, no longer responds, or was replaced.
        """
        carried = {**self.headers, **(headers or {})}
        for left in reversed(range(_RATE_LIMIT_ATTEMPTS)):
            exchange = self._connect(request, carried, hang_up, even_if_stopped, timeout)
            if exchange.status != 429 or even_if_stopped:
                break
            if not left:
                raise BrokerGone(exchange, self._last)
            delay = retry_after(exchange)
            self.wait(_DEFAULT_WAIT if delay is None else min(float(delay), _MAX_WAIT))
        if self.is_known and _may_be_foreign(exchange, headers or {}):
            self._verify_catalog(even_if_stopped, timeout)
        return exchange if whole else self._truncate(exchange)

    def _connect(
        self,
        request: APIRequest,
        headers: Headers,
        hang_up: bool,
        even_if_stopped: bool,
        timeout: float | None,
    ) -> Exchange:
        """Send a request, and retry if no connection is possible."""
        for left in reversed(range(_CONNECT_ATTEMPTS)):
            if self.stop.is_set() and not even_if_stopped:
                raise Stopped
            if (
                self._unanswered_count >= _MAX_UNANSWERED
                and not even_if_stopped
                and self._unanswered is not None
            ):
                raise BrokerGone(self._unanswered, self._last)
            most = MAX_CATALOG_SIZE if request.operation is Operation.CATALOG else _MAX_SIZE
            exchange = self.transport.send(request, headers, timeout=timeout, hang_up=hang_up, max_bytes=most)
            with self._lock:
                self.sent += 1
                self._count_response(request, exchange, hang_up)
            if exchange.was_sent:
                return exchange
            if not left or even_if_stopped:
                raise BrokerGone(exchange, self._last)
            self.stop.wait(_CONNECT_PAUSE)
        raise AssertionError("the loop returns or raises")

    def _verify_catalog(self, even_if_stopped: bool, timeout: float | None) -> None:
        """Request the catalog, to distinguish the broker from a router in its place.

        Raises:
            BrokerGone: The catalog is not available.
        """
        catalog = self._connect(endpoints.catalog(), self.headers, False, even_if_stopped, timeout)
        is_there = catalog.status == 200 and catalog.document is not None
        if catalog.status not in (None, 429) and not is_there:
            raise BrokerGone(catalog, self._last)

    def _truncate(self, exchange: Exchange) -> Exchange:
        exchange, size = truncate_exchange(exchange)
        with self._lock:
            self._stored += size
        return exchange

    def _count_response(self, request: APIRequest, exchange: Exchange, hang_up: bool) -> None:
        """Count consecutive requests without a response. A catalog response does not reset the count."""
        if exchange.status is not None:
            self._last = exchange
            if request.operation is not Operation.CATALOG:
                self._unanswered_count = 0
        elif exchange.was_sent and not hang_up:
            self._unanswered, self._unanswered_count = exchange, self._unanswered_count + 1

    @property
    def headers(self) -> dict[str, str | None]:
        """The headers of every request."""
        return {
            "X-Broker-API-Version": self.platform.api_version,
            "X-Broker-API-Originating-Identity": self.platform.originating_identity,
            **self.platform.headers,
            "X-Broker-API-Request-Identity": str(uuid4()),  # even if the platform sends none
        }

    def record(
        self,
        situation: Situation,
        where: str,
        request: APIRequest,
        exchange: Exchange,
        *previous: Exchange,
        **facts: Any,
    ) -> None:
        """Store an observation for the rules."""
        if len(exchange.response_body) >= LONG and self._stored > _MAX_STORED:
            self.skip("the responses are too long to store all of them", situation)
            return
        observation = Observation(
            situation=situation,
            operation=request.operation,
            where=where,
            exchange=exchange,
            previous=previous,
            facts=facts,
        )
        with self._lock:
            self._observations.append(observation)

    def skip(self, why: str, *situations: Situation) -> None:
        """Record why situations do not occur."""
        with self._lock:
            for situation in situations:
                self._skipped.setdefault(situation, why)

    def wait(self, seconds: float) -> None:
        """Wait for some seconds.

        Raises:
            Stopped: The check was stopped.
        """
        if self.stop.wait(seconds):
            raise Stopped


def _may_be_foreign(exchange: Exchange, headers: Headers) -> bool:
    """Check whether an error may come from a router, or rejects previously valid credentials."""
    status = exchange.status or 0
    if status == 401:
        return "Authorization" not in headers
    return status >= 400 and status != 410 and exchange.document is None


def new_instance() -> Resource:
    """Create an unused instance id."""
    return Resource(str(uuid4()))


def new_binding(instance: Resource) -> Resource:
    """Create an unused binding id."""
    return Resource(instance.instance_id, str(uuid4()))
