"""What a check may have made at the broker, so that all of it can be deleted again."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock
from typing import NamedTuple

from ..client import endpoints as asking
from ..client.endpoints import APIRequest
from ..client.exchange import Exchange
from ..requests import Operation


class Resource(NamedTuple):
    """A service instance, or a service binding."""

    instance_id: str
    binding_id: str | None = None

    @property
    def what(self) -> str:
        """Its kind in words."""
        return "service instance" if self.binding_id is None else "service binding"


class Entry(NamedTuple):
    """What may be there.

    Args:
        resource: The instance or binding.
        service_id: The offering that it is of.
        plan_id: The plan that it is of.
        puts: How many requests may have made it: those that were not refused.
        why: Why it could not be deleted, if that was tried.
    """

    resource: Resource
    service_id: str
    plan_id: str
    puts: int = 0
    why: str | None = None

    @property
    def delete(self) -> APIRequest:
        """The request that deletes it."""
        instance_id, binding_id = self.resource
        return asking.delete(
            instance_id, binding_id, service_id=self.service_id, plan_id=self.plan_id, can_poll=True
        )


class ResourceTracker:
    """Keeps what was asked for and not yet deleted; safe for threads.

    Also what was refused, because a broker that is wrong may have made it: that is deleted once, and nobody
    is told if it cannot be.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._entries: dict[Resource, Entry] = {}

    def requested(self, resource: Resource, service_id: str, plan_id: str) -> None:
        """Something is about to be made, or to be asked for again."""
        with self._lock:
            entry = self._entries.get(resource) or Entry(resource, service_id, plan_id)
            self._entries[resource] = entry._replace(puts=entry.puts + 1)

    def refused(self, resource: Resource) -> None:
        """What was asked for last was not made: it was refused, or never sent."""
        with self._lock:
            entry = self._entries.get(resource)
            if entry is not None:
                self._entries[resource] = entry._replace(puts=max(entry.puts - 1, 0))

    def changed_plan(self, resource: Resource, plan_id: str) -> None:
        """An instance has another plan, which its deletion must name."""
        with self._lock:
            entry = self._entries.get(resource)
            if entry is not None:
                self._entries[resource] = entry._replace(plan_id=plan_id)

    def responded(self, resource: Resource, operation: Operation, exchange: Exchange) -> None:
        """A PUT was answered, or a DELETE."""
        status = exchange.status or 0
        if operation in (Operation.PROVISION, Operation.BIND):
            if 400 <= status < 500:
                self.refused(resource)
        elif operation in (Operation.DEPROVISION, Operation.UNBIND) and status in (200, 410):
            self.deleted(resource)

    def deleted(self, resource: Resource) -> None:
        """It is deleted for certain; with an instance all of its bindings."""
        with self._lock:
            self._entries.pop(resource, None)
            if resource.binding_id is None:
                for each in [key for key in self._entries if key.instance_id == resource.instance_id]:
                    del self._entries[each]

    def failed(self, entry: Entry, why: str, *, there: bool = False) -> None:
        """It could not be deleted, or not yet; if it was refused, and is not `there`, that is all."""
        with self._lock:
            if entry.puts or there:
                self._entries[entry.resource] = entry._replace(why=why, puts=max(entry.puts, 1))
            else:
                self._entries.pop(entry.resource, None)

    def __iter__(self) -> Iterator[Entry]:
        """What may be there: what was refused last, and bindings before instances."""
        with self._lock:
            entries = list(self._entries.values())
        return iter(sorted(entries, key=lambda each: (not each.puts, each.resource.binding_id is None)))
