"""Ids that must be percent-encoded in a path: they are valid, and similar ids are distinct."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ...client.endpoints import APIRequest
from ...client.exchange import Exchange
from ..resource_tracker import Resource
from ..scenario import ACCEPTED, SUCCEEDED, Scenario
from ..session import new_instance
from ..situations import Situation

_SPECIAL_ENDING = "+ü%41"
_SIMILAR_ENDINGS = {
    "with a space instead of its plus sign": " ü%41",  # decoded like a form
    "with 'A' instead of its '%41'": "+üA",  # decoded twice
}

_DELETED = (Situation.DELETED_UNDER_SIMILAR_ID, Situation.DELETED_UNDER_SPECIAL_ID)
SPECIAL_ID_SITUATIONS = (Situation.CREATED_UNDER_SPECIAL_ID, *_DELETED)
"""The situations of this scenario."""


class SpecialIds(Scenario):
    """Scenario of a resource with special characters in its id, and deletions under similar ids."""

    def run(self, plain: Resource, created: Exchange, put: Callable[[Resource], APIRequest]) -> None:
        """Run the scenario.

        Args:
            plain: A service instance or service binding with an ordinary id.
            created: The response that created it.
            put: Builds the request that creates a similar resource with another id.
        """
        special = _with_id_ending(plain, _SPECIAL_ENDING)
        request = put(special)
        response = self.request(Situation.CREATED_UNDER_SPECIAL_ID, request, created, resource=special)
        if response.status not in ACCEPTED:
            self.skip("an id with special characters was rejected", *_DELETED)
            return
        if response.status == 202 and self.wait(special, response).state != SUCCEEDED:
            return
        unknown = self.send(self.delete(_unknown(plain))).status
        if unknown != 410:
            self.skip("deleting an unknown resource does not return 410", *_DELETED)
        elif all(self._is_distinct(what, like, response) for what, like in _similar_resources(plain)):
            self.delete_and_wait(special, Situation.DELETED_UNDER_SPECIAL_ID)

    def _is_distinct(self, what: str, like: Resource, created: Exchange) -> bool:
        """Delete the resource under a similar id; return whether it still exists."""
        deleted = self.request(Situation.DELETED_UNDER_SIMILAR_ID, self.delete(like), created, what=what)
        self.await_deletion(like, deleted)
        return deleted.status not in ACCEPTED


def _with_changed_id(plain: Resource, change: Callable[[str], str]) -> Resource:
    """Return the resource with a changed id."""
    if plain.binding_id is None:
        return Resource(change(plain.instance_id))
    return plain._replace(binding_id=change(plain.binding_id))


def _with_id_ending(plain: Resource, ending: str) -> Resource:
    """Return the resource with an ending appended to its id."""
    return _with_changed_id(plain, lambda name: name + ending)


def _similar_resources(plain: Resource) -> Iterator[tuple[str, Resource]]:
    for what, ending in _SIMILAR_ENDINGS.items():
        yield what, _with_id_ending(plain, ending)
    yield "in capital letters", _with_changed_id(plain, lambda name: name.upper() + _SPECIAL_ENDING)


def _unknown(plain: Resource) -> Resource:
    unknown = new_instance()
    return unknown if plain.binding_id is None else plain._replace(binding_id=unknown.instance_id)
