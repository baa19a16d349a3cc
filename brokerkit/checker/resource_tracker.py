"""Tracking of the resources that a check may have created, so that the cleanup can delete them."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock
from typing import NamedTuple

from ..client import endpoints
from ..client.endpoints import APIRequest
from ..client.exchange import Exchange
from ..requests import Operation


class Resource(NamedTuple):
    """The id of a service instance or a service binding."""

    instance_id: str
    binding_id: str | None = None

    @property
    def what(self) -> str:
        """``"service instance"`` or ``"service binding"``."""
        return "service instance" if self.binding_id is None else "service binding"


class Entry(NamedTuple):
    """A resource that may exist.

    Args:
        resource: The service instance or service binding.
        service_id: The id of its offering.
        plan_id: The id of its plan.
        puts: The number of PUT requests that were not rejected, any of which may have created it.
        why: The cause of a failed deletion, if any.
    """

    resource: Resource
    service_id: str
    plan_id: str
    puts: int = 0
    why: str | None = None

    @property
    def delete(self) -> APIRequest:
        """The request that deletes the resource."""
        instance_id, binding_id = self.resource
        return endpoints.delete(
            instance_id, binding_id, service_id=self.service_id, plan_id=self.plan_id, can_poll=True
        )


class ResourceTracker:
    """Thread-safe store of resources that may exist and were not yet deleted.

    Contains rejected resources too, because a faulty broker may have created them. The cleanup tries to
    delete those once, and does not report a failure.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._entries: dict[Resource, Entry] = {}

    def requested(self, resource: Resource, service_id: str, plan_id: str) -> None:
        """Record that a PUT request for a resource is about to be sent."""
        with self._lock:
            entry = self._entries.get(resource) or Entry(resource, service_id, plan_id)
            self._entries[resource] = entry._replace(puts=entry.puts + 1)

    def rejected(self, resource: Resource) -> None:
        """Record that the last PUT request was rejected or never sent."""
        with self._lock:
            entry = self._entries.get(resource)
            if entry is not None:
                self._entries[resource] = entry._replace(puts=max(entry.puts - 1, 0))

    def changed_plan(self, resource: Resource, plan_id: str) -> None:
        """Record the new plan of an instance: its DELETE request must name it."""
        with self._lock:
            entry = self._entries.get(resource)
            if entry is not None:
                self._entries[resource] = entry._replace(plan_id=plan_id)

    def responded(self, resource: Resource, operation: Operation, exchange: Exchange) -> None:
        """Record the response to a PUT or DELETE request."""
        status = exchange.status or 0
        if operation in (Operation.PROVISION, Operation.BIND):
            if 400 <= status < 500:
                self.rejected(resource)
        elif operation in (Operation.DEPROVISION, Operation.UNBIND) and status in (200, 410):
            self.deleted(resource)

    def deleted(self, resource: Resource) -> None:
        """Record a confirmed deletion. An instance is deleted with all of its bindings."""
        with self._lock:
            self._entries.pop(resource, None)
            if resource.binding_id is None:
                for key in [key for key in self._entries if key.instance_id == resource.instance_id]:
                    del self._entries[key]

    def failed(self, entry: Entry, why: str, *, exists: bool = False) -> None:
        """Record a failed or running deletion. Removes a rejected resource unless it exists."""
        with self._lock:
            if entry.puts or exists:
                self._entries[entry.resource] = entry._replace(why=why, puts=max(entry.puts, 1))
            else:
                self._entries.pop(entry.resource, None)

    def __iter__(self) -> Iterator[Entry]:
        """Iterate over the resources: rejected ones first, and bindings before instances."""
        with self._lock:
            entries = list(self._entries.values())
        return iter(sorted(entries, key=lambda entry: (not entry.puts, entry.resource.binding_id is None)))
