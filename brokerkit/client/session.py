"""The session of a platform with a broker: requests, validation, polling and orphan mitigation."""

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
from . import endpoints
from .endpoints import APIRequest
from .errors import (
    BrokerMistake,
    BrokerRefused,
    BrokerUnreachable,
    ClientError,
    OperationFailed,
    PollingTimeout,
)
from .exchange import Exchange
from .orphan_mitigation import leaves_an_orphan, mitigate
from .platforms import Platform
from .responses import parse_response, unrequired
from .time_limit import MIN_TIMEOUT, TimeLimit

if TYPE_CHECKING:
    from .transport import Transport

POLL_EVERY = 1.0
"""The polling interval in seconds, for responses without ``Retry-After`` (R-LAST-2)."""

PATIENCE = 60.0
"""The default for the seconds that consecutive polls may go without a response, or with a 5xx."""


class Session:
    """A thread-safe session of one platform with one broker.

    Args:
        transport: The transport to the broker.
        platform: The platform to act as.
        mitigate_for: The time limit in seconds to delete an orphaned resource. 0 leaves it.
        observe: Called with each exchange. Optional.
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
        """Fetch the catalog as a JSON object, without validating its fields.

        Raises:
            ClientError: The request failed, or the body is not a JSON object.
        """
        exchange = self._send(endpoints.catalog())
        if exchange.failure is not None:
            raise BrokerMistake((exchange.failure,), exchange)
        if exchange.status is not None and exchange.status >= 400:
            raise BrokerRefused(exchange)
        if exchange.status != 200:
            raise BrokerMistake((f"the status is {exchange.status}; it must be 200",), exchange)
        if exchange.document is None:
            raise BrokerMistake(("the body is not a JSON object",), exchange)
        return exchange

    def request(self, request: APIRequest, offering: ServiceOffering | str | None = None) -> Struct:
        """Send any request but the one for the catalog, and parse its response.

        Args:
            request: The request.
            offering: The offering, or its id. With the offering, a binding's fields are validated against its
                `requires` (R-BIND-2).

        Raises:
            ClientError: The broker returned an error or an invalid response, or no response.
        """
        exchange = self._send(request)
        result = self._result(request.operation, exchange)
        if isinstance(result, Binding) and isinstance(offering, ServiceOffering):
            faults = unrequired(result, offering)
            if faults:
                raise BrokerMistake(faults, exchange)
        return result

    def create(self, request: APIRequest, cleanup: APIRequest, offering: ServiceOffering | str) -> Struct:
        """Send a request that creates a resource, and delete the resource if the request may orphan it.

        Args:
            request: A provision or a bind.
            cleanup: The DELETE of the same resource.
            offering: As for :meth:`request`.

        Raises:
            ClientError: As :meth:`request`; its `mitigation` reports the deletion (R-ERR-4).
        """
        try:
            return self.request(request, offering)
        except ClientError as error:
            if self._mitigate_for > 0 and leaves_an_orphan(error.exchange):
                error.mitigation = mitigate(self, cleanup, TimeLimit(self._mitigate_for, self.sleep))
            raise

    def poll(self, request: APIRequest, *, timeout: float = math.inf) -> tuple[LastOperation, Exchange]:
        """Poll an operation once."""
        exchange = self._send(request, timeout=timeout)
        if exchange.status == 410:  # a success for a deletion only, which `wait` handles (R-LAST-3)
            raise BrokerRefused(exchange)
        result = self._result(request.operation, exchange)
        assert isinstance(result, LastOperation), "the response to a poll is a LastOperation"
        if result.description:  # progress displays show it
            result = replace(result, description=exchange.clean(result.description))
        return result, exchange

    def wait(
        self,
        request: APIRequest,
        *,
        deleting: bool,
        timeout: float,
        patience: float,
        progress: Callable[[LastOperation], None] | None,
        sleep: Callable[[float], None],
    ) -> LastOperation:
        """Poll until an operation has finished. The arguments are those of `BrokerClient.wait`."""
        limit = TimeLimit(timeout, sleep)
        left_at_response = limit.left
        while True:
            try:
                result, exchange = self.poll(request, timeout=max(MIN_TIMEOUT, limit.left))
                left_at_response = limit.left
            except (BrokerRefused, BrokerUnreachable) as error:
                is_patient = left_at_response - limit.left < patience and limit.left > 0
                exchange = error.exchange
                if deleting and exchange.status == 410:  # R-LAST-3
                    result = LastOperation.succeeded()
                elif _is_transient(error) and is_patient:
                    cause = f"status {exchange.status}" if exchange.status else "no response"
                    result = LastOperation.in_progress(f"({cause}; retrying)")
                else:
                    raise
            if progress is not None:
                progress(result)
            if result.state == "succeeded":
                return result
            if result.state == "failed":
                raise OperationFailed(result, exchange)
            pause = POLL_EVERY if result.retry_after is None else float(result.retry_after)
            if limit.left <= 0:
                raise PollingTimeout(timeout, exchange)
            limit.sleep(min(pause, limit.left))

    def _result(self, operation: Operation, exchange: Exchange) -> Struct:
        response = parse_response(operation, exchange)
        if response.faults:
            raise BrokerMistake(response.faults, exchange)
        if response.result is None:
            raise BrokerRefused(exchange)
        return response.result

    def _send(self, request: APIRequest, *, timeout: float = math.inf) -> Exchange:
        exchange = self.exchange(request, timeout=timeout)
        if exchange.status is None:
            raise BrokerUnreachable(exchange)
        return exchange

    def exchange(self, request: APIRequest, *, for_user: bool = True, timeout: float = math.inf) -> Exchange:
        """Send a request.

        Args:
            request: The request.
            for_user: Whether to send the user's identity. Orphan mitigation is the platform's own request.
            timeout: An upper limit in seconds for the transport's timeout. Defaults to none.
        """
        for_user = for_user and request.operation is not Operation.CATALOG
        exchange = self.transport.send(
            request,
            {
                "X-Broker-API-Version": self._platform.api_version,
                "X-Broker-API-Originating-Identity": self._platform.originating_identity
                if for_user
                else None,
                "X-Broker-API-Request-Identity": str(uuid4()),
                **self._platform.headers,
            },
            timeout=min(timeout, self.transport.timeout),
        )
        if self._observe is not None:
            self._observe(exchange)
        return exchange


def _is_transient(error: BrokerRefused | BrokerUnreachable) -> bool:
    """Whether a retry may succeed, as after a restart of the broker."""
    return isinstance(error, BrokerUnreachable) or error.status >= 500
