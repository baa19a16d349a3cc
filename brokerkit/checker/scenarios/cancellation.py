"""Provisions that come at once, and a delete that does not wait for them."""

from __future__ import annotations

from ...client.endpoints import APIRequest
from ...client.exchange import Exchange
from ..resource_tracker import Resource
from ..scenario import ACCEPTED
from ..session import new_instance
from ..situations import Situation
from ._cancel import INSTANCE_CANCELLED, cancel
from .concurrent import ConcurrentRequests

CANCELLATION_SITUATIONS = frozenset(
    {
        Situation.PROVISIONED_AT_ONCE_BY_MANY,
        Situation.PROVISIONED_WITH_VERSION,
        *INSTANCE_CANCELLED,
    }
)
"""What it comes to."""


class Cancellation(ConcurrentRequests):
    """Orders one instance several times at once, deletes it at once, and sees that nothing is left."""

    def run(self) -> None:
        """Do it."""
        resource = new_instance()
        create, version = self.target.create, self.target.version
        info = {"version": version} if version else None
        one = self.provision(resource, create.least, maintenance_info=info)
        asks = [("one", one), ("one", one)]
        if create.other is not None and create.told:
            other = self.provision(resource, create.other, maintenance_info=info)
            asks += [("other", other), ("other", other)]
        else:
            asks += asks
        answers = self.send_concurrently(Situation.PROVISIONED_AT_ONCE_BY_MANY, resource, asks)
        made = [each for each in answers if each.status in ACCEPTED]
        if version is None:
            self.skip("the plan has no maintenance_info", Situation.PROVISIONED_WITH_VERSION)
        elif made:
            self.note(Situation.PROVISIONED_WITH_VERSION, one, made[0])
        else:
            made = self._without_version(resource, one, answers[0])
        if not made:
            self.skip(f"it was refused: {answers[0].response_line}", *INSTANCE_CANCELLED)
            self.remove(resource)
            return
        accepted = next((each for each in made if each.status == 202), None)
        if accepted is None:
            self.skip("it is made at once", *INSTANCE_CANCELLED)
            self.remove(resource)
        else:
            cancel(self, resource, accepted, can_be_fetched=self.target.instances_retrievable)

    def _without_version(self, resource: Resource, ask: APIRequest, refused: Exchange) -> list[Exchange]:
        """The version is to blame only if what was refused is accepted without it; what that made."""
        plain = self.send(ask.without_field("maintenance_info"), resource)
        if plain.status not in ACCEPTED:
            why = f"it was refused without one, too: {plain.response_line}"
            self.skip(why, Situation.PROVISIONED_WITH_VERSION)
            return []
        self.note(Situation.PROVISIONED_WITH_VERSION, ask, refused)
        return [plain]
