"""How a platform talks to a broker: it asks, reads answers, waits, and cleans up after what went wrong."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import uuid4

from msgspec import Struct
from msgspec.structs import replace

from ..catalog.models import ServiceOffering
from ..requests import Operation
from ..results import Binding, LastOperation
from . import endpoints as asking
from .endpoints import APIRequest
from .errors import (
    BrokerMistake,
    BrokerRefused,
    BrokerUnreachable,
    ClientError,
    Mitigation,
    OperationFailed,
    PollingTimeout,
    leaves_an_orphan,
)
from .exchange import Exchange
from .platforms import Platform
from .responses import parse_response, unrequired

if TYPE_CHECKING:
    from .transport import Transport

POLL_EVERY = 1.0
"""After how many seconds to poll again, where the broker does not say (R-LAST-2)."""

PATIENCE = 60.0
"""For how many seconds polls may go without an answer, unless told."""

_LEAST = 1.0
"""How many seconds an answer may take when the time is nearly over."""


class Session:
    """Asks one broker as one platform, and reads its answers; safe for threads.

    Args:
        transport: How to reach the broker.
        platform: Who asks.
        mitigate_for: For how many seconds it tries to delete an orphan; 0 leaves it.
        observe: Called with each exchange.
    """

    def __init__(
        self,
        transport: Transport,
        platform: Platform,
        *,
        mitigate_for: float,
        observe: Callable[[Exchange], None] | None,
    ) -> None:
        self.transport = transport
        self._platform = platform
        self._mitigate_for = mitigate_for
        self._observe = observe
        self.sleep: Callable[[float], None] = time.sleep

    def catalog(self) -> Exchange:
        """Ask for the catalog; what came is a JSON object, and nothing more is known of it."""
        exchange = self._send(asking.catalog())
        if exchange.failure is not None:
            raise BrokerMistake((exchange.failure,), exchange)
        if exchange.status is not None and exchange.status >= 400:
            raise BrokerRefused(exchange)
        if exchange.status != 200:
            raise BrokerMistake((f"the status is {exchange.status}; it must be 200",), exchange)
        if exchange.document is None:
            raise BrokerMistake(("the body is not a JSON object",), exchange)
        return exchange

    def request(self, ask: APIRequest, offering: ServiceOffering | str | None = None) -> Struct:
        """Ask anything but the catalog, and read the answer.

        Args:
            ask: What is asked.
            offering: The offering, or its id; the first lets it check what a binding may have (R-BIND-2).

        Raises:
            ClientError: It is a refusal or none of the API's, or there is none.
        """
        exchange = self._send(ask)
        found = self._result(ask.operation, exchange)
        if isinstance(found, Binding) and isinstance(offering, ServiceOffering):
            faults = unrequired(found, offering)
            if faults:
                raise BrokerMistake(faults, exchange)
        return found

    def create(self, ask: APIRequest, undo: APIRequest, offering: ServiceOffering | str) -> Struct:
        """Ask for something new, and see to it that nothing is left where the answer leaves that in doubt.

        Args:
            ask: A provision or a bind.
            undo: The DELETE for what it makes.
            offering: As for :meth:`ask`.

        Raises:
            ClientError: As :meth:`ask`; its `mitigation` says what was done about it (R-ERR-4).
        """
        try:
            return self.request(ask, offering)
        except ClientError as error:
            if self._mitigate_for > 0 and leaves_an_orphan(error.exchange):
                error.mitigation = self._mitigate(undo)
            raise

    def poll(self, ask: APIRequest, *, within: float = math.inf) -> tuple[LastOperation, Exchange]:
        """Ask once how an operation goes."""
        exchange = self._send(ask, within=within)
        if exchange.status == 410:  # a success to those who delete, as `wait` knows (R-LAST-3)
            raise BrokerRefused(exchange)
        found = self._result(ask.operation, exchange)
        assert isinstance(found, LastOperation), "nothing else answers a poll"
        if found.description:  # it is shown while it is waited for
            found = replace(found, description=exchange.clean(found.description))
        return found, exchange

    def wait(
        self,
        ask: APIRequest,
        *,
        deleting: bool,
        timeout: float,
        patience: float,
        progress: Callable[[LastOperation], None] | None,
        sleep: Callable[[float], None],
    ) -> LastOperation:
        """Ask until an operation is done; the arguments are those of `BrokerClient.wait`."""
        clock = _Clock(timeout, sleep)
        heard = clock.left
        while True:
            try:
                found, exchange = self.poll(ask, within=max(_LEAST, clock.left))
                heard = clock.left
            except (BrokerRefused, BrokerUnreachable) as error:
                if deleting and error.exchange.status == 410:  # R-LAST-3
                    found, exchange = LastOperation.succeeded(), error.exchange
                elif _is_passing(error) and heard - clock.left < patience and clock.left > 0:
                    status = error.exchange.status
                    told = f"it answered {status}" if status else "it does not answer"
                    found, exchange = LastOperation.in_progress(f"({told}; asking again)"), error.exchange
                else:
                    raise
            if progress is not None:
                progress(found)
            if found.state == "succeeded":
                return found
            if found.state == "failed":
                raise OperationFailed(found, exchange)
            pause = POLL_EVERY if found.retry_after is None else float(found.retry_after)
            if clock.left <= 0:
                raise PollingTimeout(timeout, exchange)
            clock.sleep(min(pause, clock.left))

    def _mitigate(self, undo: APIRequest) -> Mitigation:
        """Send DELETEs until the broker says that it is gone (R-ERR-4)."""
        clock = _Clock(self._mitigate_for, self.sleep)
        pause, deletes = 0.2, 0
        while True:
            deletes += 1
            last = self._exchange(undo, of_user=False, within=max(_LEAST, clock.left))
            if last.status in (200, 410):
                return Mitigation(gone=True, deletes=deletes, last=last)
            if last.status == 202:
                try:
                    self.wait(
                        asking.poll_of(undo, last.operation),
                        deleting=True,
                        timeout=max(0.0, clock.left),
                        patience=0.0,
                        progress=None,
                        sleep=clock.sleep,
                    )
                    return Mitigation(gone=True, deletes=deletes, last=last)
                except ClientError as error:
                    last = error.exchange
            if pause > clock.left:
                return Mitigation(gone=False, deletes=deletes, last=last)
            clock.sleep(pause)
            pause = min(2 * pause, 10.0)

    def _result(self, operation: Operation, exchange: Exchange) -> Struct:
        reading = parse_response(operation, exchange)
        if reading.faults:
            raise BrokerMistake(reading.faults, exchange)
        if reading.result is None:
            raise BrokerRefused(exchange)
        return reading.result

    def _send(self, ask: APIRequest, *, within: float = math.inf) -> Exchange:
        exchange = self._exchange(ask, within=within)
        if exchange.status is None:
            raise BrokerUnreachable(exchange)
        return exchange

    def _exchange(self, ask: APIRequest, *, of_user: bool = True, within: float = math.inf) -> Exchange:
        """Send a request.

        Args:
            ask: What is asked.
            of_user: Is it a user's wish? Else the platform does not say whose it is.
            within: In how many seconds at most, where that is less than ever.
        """
        of_user = of_user and ask.operation is not Operation.CATALOG
        exchange = self.transport.send(
            ask,
            {
                "X-Broker-API-Version": self._platform.api_version,
                "X-Broker-API-Originating-Identity": self._platform.originating_identity if of_user else None,
                "X-Broker-API-Request-Identity": str(uuid4()),
                **self._platform.headers,
            },
            timeout=min(within, self.transport.timeout),
        )
        if self._observe is not None:
            self._observe(exchange)
        return exchange


def _is_passing(error: BrokerRefused | BrokerUnreachable) -> bool:
    """May it be otherwise in a moment, as while a broker is restarted?"""
    return isinstance(error, BrokerUnreachable) or error.status >= 500


class _Clock:
    """How long to go on. What was slept counts in full, however short a test made it."""

    def __init__(self, seconds: float, sleep: Callable[[float], None]) -> None:
        self._until = time.monotonic() + seconds
        self._seconds = seconds
        self._sleep = sleep

    @property
    def left(self) -> float:
        return min(self._until - time.monotonic(), self._seconds)

    def sleep(self, pause: float) -> None:
        self._seconds -= pause
        self._sleep(pause)
