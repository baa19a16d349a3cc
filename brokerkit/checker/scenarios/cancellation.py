"""Concurrent provision requests, and the deletion of an instance during its creation."""

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
        Situation.PROVISIONED_CONCURRENTLY,
        Situation.PROVISIONED_WITH_VERSION,
        *INSTANCE_CANCELLED,
    }
)
"""The situations of this scenario."""


class Cancellation(ConcurrentRequests):
    """Scenario of concurrent provision requests, and a deletion during the creation."""

    def run(self) -> None:
        """Run the scenario."""
        resource = new_instance()
        create, version = self.target.create, self.target.version
        info = {"version": version} if version else None
        one = self.provision(resource, create.minimal, maintenance_info=info)
        requests = [("one", one), ("one", one)]
        if create.alternative is not None and create.from_user:
            other = self.provision(resource, create.alternative, maintenance_info=info)
            requests += [("other", other), ("other", other)]
        else:
            requests += requests
        responses = self.send_concurrently(Situation.PROVISIONED_CONCURRENTLY, resource, requests)
        created = [response for response in responses if response.status in ACCEPTED]
        if version is None:
            self.skip("the plan has no maintenance_info", Situation.PROVISIONED_WITH_VERSION)
        elif created:
            self.record(Situation.PROVISIONED_WITH_VERSION, one, created[0])
        else:
            created = self._without_version(resource, one, responses[0])
        if not created:
            self.skip(f"it was rejected: {responses[0].response_line}", *INSTANCE_CANCELLED)
            self.delete_and_wait(resource)
            return
        accepted = next((response for response in created if response.status == 202), None)
        if accepted is None:
            self.skip("the instance is created synchronously", *INSTANCE_CANCELLED)
            self.delete_and_wait(resource)
        else:
            cancel(self, resource, accepted, can_be_fetched=self.target.instances_retrievable)

    def _without_version(self, resource: Resource, request: APIRequest, refused: Exchange) -> list[Exchange]:
        """Repeat a rejected request without the version; return the response if it was accepted.

        Only then was the version the reason for the rejection.
        """
        plain = self.send(request.without_field("maintenance_info"), resource)
        if plain.status not in ACCEPTED:
            why = f"it was also rejected without a version: {plain.response_line}"
            self.skip(why, Situation.PROVISIONED_WITH_VERSION)
            return []
        self.record(Situation.PROVISIONED_WITH_VERSION, request, refused)
        return [plain]
