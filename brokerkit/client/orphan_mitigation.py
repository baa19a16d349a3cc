"""Orphan mitigation: delete a resource that a failed provision or bind may have left behind (R-ERR-4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..results import LastOperation
from . import endpoints
from .endpoints import APIRequest
from .errors import WORDS_OF_422, ClientError, Mitigation
from .exchange import Exchange
from .time_limit import MIN_TIMEOUT, TimeLimit

_FIRST_PAUSE, _MAX_PAUSE = 0.2, 10.0


class Sender(Protocol):
    """The part of a session that mitigation needs."""

    def exchange(self, request: APIRequest, *, for_user: bool = True, timeout: float = ...) -> Exchange:
        """Send a request."""
        ...

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
        """Poll until an operation has finished."""
        ...


def leaves_an_orphan(exchange: Exchange) -> bool:
    """Whether a failed provision or bind may have left an orphaned resource (R-ERR-4).

    Args:
        exchange: The failed request.
    """
    status = exchange.status
    if status is None:
        return exchange.was_sent
    if status == 422:  # Cloud Controller treats a 422 without a known error code as an invalid response
        return exchange.error_code not in WORDS_OF_422
    return status >= 500 or 201 <= status <= 299  # 200 is about a resource that existed before


def mitigate(session: Sender, cleanup: APIRequest, limit: TimeLimit) -> Mitigation:
    """Send DELETE requests until the broker confirms the deletion or the time limit is over.

    Args:
        session: Sends the requests.
        cleanup: The DELETE of the resource.
        limit: The time limit.
    """
    pause, deletes = _FIRST_PAUSE, 0
    while True:
        deletes += 1
        last = session.exchange(cleanup, for_user=False, timeout=max(MIN_TIMEOUT, limit.left))
        if last.status in (200, 410):
            return Mitigation(gone=True, deletes=deletes, last=last)
        if last.status == 202:
            try:
                session.wait(
                    endpoints.poll_of(cleanup, last.operation),
                    deleting=True,
                    timeout=max(0.0, limit.left),
                    patience=0.0,
                    progress=None,
                    sleep=limit.sleep,
                )
                return Mitigation(gone=True, deletes=deletes, last=last)
            except ClientError as error:
                last = error.exchange
        if pause > limit.left:
            return Mitigation(gone=False, deletes=deletes, last=last)
        limit.sleep(pause)
        pause = min(2 * pause, _MAX_PAUSE)
