"""A provision whose answer gets lost, and what a platform does then."""

from __future__ import annotations

from time import monotonic

from ..scenario import Scenario
from ..session import new_instance
from ..situations import Situation

_BETWEEN_DELETES = 0.2

_UNDER_WAY = 1.0
"""How many seconds a provision may be under way still that no DELETE has seen anything of."""


class OrphanMitigation(Scenario):
    """Orders an instance and does not wait for the answer, then cleans up as a platform does (R-ERR-4)."""

    def run(self, seconds: float) -> None:
        """Do it.

        Args:
            seconds: For how long to go on. A broker that asks to wait has as long as an operation may take.
        """
        resource = new_instance()
        self.send(self.provision(resource, self.target.create.least), resource, hang_up=True)
        began = monotonic()
        delete = self.delete(resource)
        was_seen = False
        while True:
            last = self.send(delete, resource)
            was_seen = was_seen or last.status != 410
            gone = last.status == 410 or self.is_deleted(resource, last)
            waits = last.status == 422 and last.error_code == "ConcurrencyError"
            if gone or monotonic() - began > (self.timeout if waits else seconds):
                break
            self.session.wait(_BETWEEN_DELETES)
        # A DELETE may have been quicker than the provision; what that makes is deleted in the end.
        ended = monotonic()
        if not was_seen:
            self.session.wait(_UNDER_WAY)
        self.session.ledger.requested(resource, self.target.service_id, self.target.plan_id)
        self.note(Situation.ORPHAN_DELETED, delete, last, gone=gone, seconds=ended - began)
