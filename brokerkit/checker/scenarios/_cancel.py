"""Deletion of a resource while it is being created (R-DEL-3, R-UNB-3)."""

from __future__ import annotations

from typing import NamedTuple

from ...client.exchange import Exchange
from ..resource_tracker import Resource
from ..scenario import Scenario
from ..situations import Situation


class Cancelled(NamedTuple):
    """The situations that a cancellation records.

    Args:
        deleted: The DELETE request during the creation.
        after: The DELETE request after the deletion.
        fetched: The fetch after the deletion.
    """

    deleted: Situation
    after: Situation
    fetched: Situation


INSTANCE_CANCELLED = Cancelled(
    Situation.DEPROVISIONED_WHILE_CREATED,
    Situation.DEPROVISIONED_AFTER_CANCELLATION,
    Situation.FETCHED_AFTER_CANCELLATION,
)
BINDING_CANCELLED = Cancelled(
    Situation.UNBOUND_WHILE_CREATED,
    Situation.UNBOUND_AFTER_CANCELLATION,
    Situation.BINDING_FETCHED_AFTER_CANCELLATION,
)


def cancel(scenario: Scenario, resource: Resource, accepted: Exchange, *, can_be_fetched: bool) -> None:
    """Delete a resource while it is being created, and check that nothing is left.

    Args:
        scenario: The scenario that creates the resource.
        resource: The resource.
        accepted: The 202 response to its creation.
        can_be_fetched: Whether resources of this kind are retrievable.
    """
    expected = INSTANCE_CANCELLED if resource.binding_id is None else BINDING_CANCELLED
    delete = scenario.delete(resource)
    deleted = scenario.request(expected.deleted, delete, accepted, resource=resource)
    if deleted.status not in (200, 202):
        scenario.wait(resource, accepted)
        scenario.delete_and_wait(resource)
    elif scenario.await_deletion(resource, deleted):
        after = scenario.send(delete, resource)
        scenario.await_deletion(resource, after)
        again = scenario.send(
            delete, resource
        )  # The rule needs to know what the broker returns for a deleted resource.
        scenario.record(expected.after, delete, after, deleted, again=again.status)
        if can_be_fetched:
            scenario.request(expected.fetched, scenario.fetch(resource))
