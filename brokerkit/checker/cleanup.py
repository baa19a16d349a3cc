"""Cleanup: the deletion of everything that a check created, even after an interruption."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from time import monotonic

from ..client import endpoints
from ..client.endpoints import APIRequest
from ..client.exchange import Exchange
from .report import Leftover
from .resource_tracker import Entry, Resource
from .session import BrokerGone, CheckSession, new_binding, new_instance

_PAUSE = 0.5
_MIN_TIMEOUT = 1.0
"""The minimum timeout in seconds of a request at the end of the cleanup."""


def clean_up(
    session: CheckSession,
    seconds: float,
    *,
    at_most: float,
    on_progress: Callable[[str], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Delete all resources in the tracker. Those that remain in it could not be deleted.

    Args:
        session: The session of the check.
        seconds: The maximum duration in seconds without progress.
        at_most: The maximum duration in seconds.
        on_progress: Receives a description of each deletion. Defaults to none.
        sleep: Waits between two rounds. Defaults to :func:`time.sleep`.
    """
    cleanup = _Cleanup(session, seconds, at_most, on_progress)
    while cleanup.run_round():
        sleep(_PAUSE)


class _Cleanup:
    """State of a cleanup: its deadline, and the deletions in progress."""

    def __init__(
        self, session: CheckSession, seconds: float, at_most: float, on_progress: Callable[[str], None]
    ) -> None:
        self._session = session
        self._seconds = seconds
        self._end = monotonic() + at_most
        self._on_progress = on_progress
        self._polls: dict[Resource, APIRequest] = {}
        self._extend_deadline()

    def _extend_deadline(self) -> None:
        """Extend the deadline after the broker made progress."""
        self._until = min(monotonic() + self._seconds, self._end)

    def run_round(self) -> bool:
        """Send one request for each remaining resource; return whether any remain."""
        tracker = self._session.tracker
        for entry in tracker:
            if monotonic() > self._until:
                return False
            if entry.resource.binding_id is None and any(
                resource.instance_id == entry.resource.instance_id
                for resource in self._polls
                if resource.binding_id
            ):
                continue  # A broker may refuse to delete an instance that has bindings.
            self._on_progress(f"deleting {entry.resource.what} {entry.resource[-1] or entry.resource[0]}")
            try:
                self._delete(entry)
            except BrokerGone as error:
                tracker.failed(entry, str(error))
        return any(True for _ in tracker)

    def _send(self, request: APIRequest) -> Exchange:
        timeout = min(self._session.transport.timeout, max(self._until - monotonic(), _MIN_TIMEOUT))
        return self._session.send(request, even_if_stopped=True, timeout=timeout)

    def _delete(self, entry: Entry) -> None:
        """Send a DELETE request, or poll an accepted one."""
        tracker, resource = self._session.tracker, entry.resource
        poll = self._polls.pop(resource, None)
        response = self._send(poll or entry.delete)
        is_deleted = response.status == 410 or (poll is None and response.status == 200)
        is_deleted = is_deleted or (response.status == 200 and response.state == "succeeded")
        if is_deleted or (
            poll is None and response.status == 404 and self._uses_404_for_410(entry, response)
        ):
            tracker.deleted(resource)
            self._extend_deadline()
        elif poll is None and response.status == 202:
            tracker.failed(entry, response.response_line, exists=True)
            self._polls[resource] = endpoints.poll(
                *resource, operation=response.operation, service_id=entry.service_id, plan_id=entry.plan_id
            )
        else:
            if response.status == 200 and response.state == "in progress" and poll is not None:
                self._polls[resource] = poll
                self._extend_deadline()
            tracker.failed(entry, response.response_line)

    def _uses_404_for_410(self, entry: Entry, response: Exchange) -> bool:
        """Check whether the broker returns 404 for a deleted resource, although 410 is correct.

        That is so if the response is the broker's own, and an unknown resource returns the same.
        """
        if response.document is None:
            return False
        is_binding = entry.resource.binding_id is not None
        unknown = new_binding(entry.resource) if is_binding else new_instance()
        other = self._send(entry._replace(resource=unknown).delete)
        if other.status != 404 or other.document is None:
            return False
        return self._send(endpoints.catalog()).status == 200


def leftovers(session: CheckSession) -> Iterator[Leftover]:
    """Yield the remaining resources, each with a curl command that deletes it."""
    for entry in session.tracker:
        request = entry.delete
        exchange = Exchange(
            method=request.method,
            url=f"{session.transport.url}{request.target}",
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
            why=entry.why or "deletion was not attempted",
            curl=exchange.curl,
        )
