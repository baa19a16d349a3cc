"""Orphan mitigation: a provision request with a lost response, and the platform's cleanup."""

from __future__ import annotations

from time import monotonic

from ..scenario import Scenario
from ..session import new_instance
from ..situations import Situation

_BETWEEN_DELETES = 0.2

_IN_TRANSIT_SECONDS = 1.0
"""Seconds that a provision request may still be in transit if every DELETE request returned 410."""


class OrphanMitigation(Scenario):
    """Scenario that ignores the response to a provision request, and cleans up like a platform (R-ERR-4)."""

    def run(self, seconds: float) -> None:
        """Run the scenario.

        Args:
            seconds: The maximum duration of the cleanup. While the broker returns ConcurrencyError, the
                operation timeout applies instead.
        """
        resource = new_instance()
        self.send(self.provision(resource, self.target.create.minimal), resource, hang_up=True)
        began = monotonic()
        delete = self.delete(resource)
        was_seen = False
        while True:
            last = self.send(delete, resource)
            was_seen = was_seen or last.status != 410
            gone = last.status == 410 or self.await_deletion(resource, last)
            waits = last.status == 422 and last.error_code == "ConcurrencyError"
            if gone or monotonic() - began > (self.timeout if waits else seconds):
                break
            self.session.wait(_BETWEEN_DELETES)
        # A DELETE request may have overtaken the provision request: the final cleanup deletes it.
        outcome = monotonic()
        if not was_seen:
            self.session.wait(_IN_TRANSIT_SECONDS)
        self.session.tracker.requested(resource, self.target.service_id, self.target.plan_id)
        self.record(Situation.ORPHAN_DELETED, delete, last, gone=gone, seconds=outcome - began)
