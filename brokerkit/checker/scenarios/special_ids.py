"""Ids that have to be quoted in a path: they are taken as any other, and each is one of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ...client.endpoints import APIRequest
from ...client.exchange import Exchange
from ..resource_tracker import Resource
from ..scenario import ACCEPTED, SUCCEEDED, Scenario
from ..session import new_instance
from ..situations import Situation

_ODD = "+ü%41"
_LIKE = {
    "that has a space for its plus": " ü%41",  # as a form is decoded
    "that has an A for its %41": "+üA",  # as if it were decoded twice
}

_DELETED = (Situation.DELETED_UNDER_LIKE_ID, Situation.DELETED_UNDER_ODD_ID)
SPECIAL_ID_SITUATIONS = (Situation.MADE_UNDER_ODD_ID, *_DELETED)
"""What it comes to."""


class SpecialIds(Scenario):
    """Makes one more under an id that has to be quoted, and deletes it under others that look like it."""

    def run(self, plain: Resource, made: Exchange, put: Callable[[Resource], APIRequest]) -> None:
        """Do it.

        Args:
            plain: A service instance or service binding with an ordinary id.
            made: How the broker answered when that was made.
            put: The request that makes one like it under another id.
        """
        odd = _with(plain, _ODD)
        ask = put(odd)
        answer = self.request(Situation.MADE_UNDER_ODD_ID, ask, made, resource=odd)
        if answer.status not in ACCEPTED:
            self.skip("an id that has to be quoted was refused", *_DELETED)
            return
        if answer.status == 202 and self.wait(odd, answer).state != SUCCEEDED:
            return
        unknown = self.send(self.delete(_unknown(plain))).status
        if unknown != 410:
            self.skip("a delete of what never was is not answered with 410", *_DELETED)
        elif all(self._is_apart(what, like, answer) for what, like in _likes(plain)):
            self.remove(odd, Situation.DELETED_UNDER_ODD_ID)

    def _is_apart(self, what: str, like: Resource, made: Exchange) -> bool:
        """Delete it under an id that it does not have; is it still there?"""
        deleted = self.request(Situation.DELETED_UNDER_LIKE_ID, self.delete(like), made, what=what)
        self.is_deleted(like, deleted)
        return deleted.status not in ACCEPTED


def _named(plain: Resource, change: Callable[[str], str]) -> Resource:
    """The same with another id."""
    if plain.binding_id is None:
        return Resource(change(plain.instance_id))
    return plain._replace(binding_id=change(plain.binding_id))


def _with(plain: Resource, ending: str) -> Resource:
    """The same with an id that ends otherwise."""
    return _named(plain, lambda name: name + ending)


def _likes(plain: Resource) -> Iterator[tuple[str, Resource]]:
    for what, ending in _LIKE.items():
        yield what, _with(plain, ending)
    yield "in capitals", _named(plain, lambda name: name.upper() + _ODD)


def _unknown(plain: Resource) -> Resource:
    nobody = new_instance()
    return nobody if plain.binding_id is None else plain._replace(binding_id=nobody.instance_id)
