"""A delete that does not wait for what is being made (R-DEL-3, R-UNB-3)."""

from __future__ import annotations

from typing import NamedTuple

from ...client.exchange import Exchange
from ..resource_tracker import Resource
from ..scenario import Scenario
from ..situations import Situation


class Cancelled(NamedTuple):
    """What is noted of it.

    Args:
        deleted: The delete that comes while it is being made.
        after: The one that is sent when it is gone.
        fetched: A fetch of what is gone.
    """

    deleted: Situation
    after: Situation
    fetched: Situation


INSTANCE_CANCELLED = Cancelled(
    Situation.DEPROVISIONED_WHILE_CREATED, Situation.DEPROVISIONED_AFTER_HALT, Situation.FETCHED_AFTER_HALT
)
BINDING_CANCELLED = Cancelled(
    Situation.UNBOUND_WHILE_CREATED, Situation.UNBOUND_AFTER_HALT, Situation.BINDING_FETCHED_AFTER_HALT
)


def cancel(journey: Scenario, resource: Resource, accepted: Exchange, *, can_be_fetched: bool) -> None:
    """Delete something while it is being made, and see that nothing is left.

    Args:
        journey: Whose plan it is of.
        resource: What is being made.
        accepted: The 202 that it was answered with.
        can_be_fetched: Is it retrievable, once it is there?
    """
    halted = INSTANCE_CANCELLED if resource.binding_id is None else BINDING_CANCELLED
    delete = journey.delete(resource)
    deleted = journey.request(halted.deleted, delete, accepted, resource=resource)
    if deleted.status not in (200, 202):
        journey.wait(resource, accepted)
        journey.remove(resource)
    elif journey.is_deleted(resource, deleted):
        after = journey.send(delete, resource)
        journey.is_deleted(resource, after)
        again = journey.send(delete, resource)  # to know what the broker says of what is gone
        journey.note(halted.after, delete, after, deleted, again=again.status)
        if can_be_fetched:
            journey.request(halted.fetched, journey.fetch(resource))
