"""Deletes what a check made, whatever became of the check."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from time import monotonic

from ..client import endpoints as asking
from ..client.endpoints import APIRequest
from ..client.exchange import Exchange
from .report import Leftover
from .resource_tracker import Entry, Resource
from .session import BrokerGone, CheckSession, new_binding, new_instance

_PAUSE = 0.5
_LEAST = 1.0
"""How many seconds an answer may take when the time is nearly over."""


def clean_up(
    session: CheckSession,
    seconds: float,
    *,
    at_most: float,
    telling: Callable[[str], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Delete all that is in the ledger; what is left in it then could not be deleted.

    Args:
        session: What the check used.
        seconds: For how long to try with a broker that deletes nothing.
        at_most: For how long to wait for one that is deleting.
        telling: Told what is being deleted.
        sleep: Waits between tries.
    """
    cleaning = _Cleaning(session, seconds, at_most, telling)
    while cleaning.go_round():
        sleep(_PAUSE)


class _Cleaning:
    """Goes round all that is left, until nothing is or the time is over."""

    def __init__(
        self, session: CheckSession, seconds: float, at_most: float, telling: Callable[[str], None]
    ) -> None:
        self._session = session
        self._seconds = seconds
        self._end = monotonic() + at_most
        self._telling = telling
        self._polls: dict[Resource, APIRequest] = {}
        self._goes_on()

    def _goes_on(self) -> None:
        """The broker is doing something: it has all the time again."""
        self._until = min(monotonic() + self._seconds, self._end)

    def go_round(self) -> bool:
        """Ask once for everything that is left; is there more to do?"""
        ledger = self._session.ledger
        for entry in ledger:
            if monotonic() > self._until:
                return False
            if entry.resource.binding_id is None and any(
                each.instance_id == entry.resource.instance_id for each in self._polls if each.binding_id
            ):
                continue  # it can be deleted when its bindings are
            self._telling(f"deleting {entry.resource.what} {entry.resource[-1] or entry.resource[0]}")
            try:
                self._delete(entry)
            except BrokerGone as gone:
                ledger.failed(entry, str(gone))
        return any(True for _ in ledger)

    def _send(self, ask: APIRequest) -> Exchange:
        timeout = min(self._session.transport.timeout, max(self._until - monotonic(), _LEAST))
        return self._session.send(ask, even_if_stopped=True, timeout=timeout)

    def _delete(self, entry: Entry) -> None:
        """Send a DELETE, or poll the one that was accepted."""
        ledger, resource = self._session.ledger, entry.resource
        poll = self._polls.pop(resource, None)
        answer = self._send(poll or entry.delete)
        gone = answer.status == 410 or (poll is None and answer.status == 200)
        gone = gone or (answer.status == 200 and answer.state == "succeeded")
        if gone or (poll is None and answer.status == 404 and self._says_so_of_nothing(entry, answer)):
            ledger.deleted(resource)
            self._goes_on()
        elif poll is None and answer.status == 202:
            ledger.failed(entry, answer.response_line, there=True)
            self._polls[resource] = asking.poll(
                *resource, operation=answer.operation, service_id=entry.service_id, plan_id=entry.plan_id
            )
        else:
            if answer.status == 200 and answer.state == "in progress" and poll is not None:
                self._polls[resource] = poll
                self._goes_on()
            ledger.failed(entry, answer.response_line)

    def _says_so_of_nothing(self, entry: Entry, answer: Exchange) -> bool:
        """Is the 404 how the broker says that it is gone, though 410 were right?

        If it is the broker that answers, and it says the same of what never was.
        """
        if answer.document is None:
            return False
        of_binding = entry.resource.binding_id is not None
        nothing = new_binding(entry.resource) if of_binding else new_instance()
        same = self._send(entry._replace(resource=nothing).delete)
        return same.status == 404 and same.document is not None and self._send(asking.catalog()).status == 200


def leftovers(session: CheckSession) -> Iterator[Leftover]:
    """What is in the ledger, each with the command that deletes it."""
    for entry in session.ledger:
        ask = entry.delete
        exchange = Exchange(
            method=ask.method,
            url=f"{session.transport.url}{ask.target}",
            headers={
                "Authorization": session.transport.login.header or "",
                "X-Broker-API-Version": session.platform.api_version,
            },
            secrets=session.transport.login.secrets,
            verify=session.transport.verify,
        )
        yield Leftover(
            what=entry.resource.what,
            instance_id=entry.resource.instance_id,
            binding_id=entry.resource.binding_id,
            why=entry.why or "it was not tried",
            curl=exchange.curl,
        )
