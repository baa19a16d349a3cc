"""Several requests for one thing, sent at once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import wait
from functools import partial
from threading import Barrier

from ...client.endpoints import APIRequest
from ...client.exchange import Exchange
from ..resource_tracker import Resource
from ..scenario import ACCEPTED, Scenario, is_plain_refusal
from ..situations import Situation
from ..thread_pool import run_in_threads

_TOGETHER = 5.0
"""For how many seconds threads wait for each other."""


class ConcurrentRequests(Scenario):
    """Can send several requests at once."""

    def send_concurrently(
        self, situation: Situation, resource: Resource, asks: Sequence[tuple[str, APIRequest]]
    ) -> list[Exchange]:
        """Send requests at once, and note them as one.

        Args:
            situation: Why they are sent.
            resource: What they are about.
            asks: What is asked, each with a word for what it has in common with others.
        """
        together = Barrier(len(asks))

        def send(ask: APIRequest) -> Exchange:
            together.wait(_TOGETHER)
            return self.send(ask, resource)

        futures = run_in_threads([[partial(send, ask)] for _, ask in asks], len(asks))
        wait(futures)  # also if one of them fails: what is still asked for would outlive the cleaning up
        answers = [future.result() for future in futures]
        if all(is_plain_refusal(each) for each in answers):
            self.skip(f"it was refused: {answers[0].response_line}", situation)
            return answers
        kinds = [kind for kind, _ in asks]
        self.note(situation, asks[0][1], _telling(answers), *answers, kinds=kinds)
        return answers


def _telling(answers: Sequence[Exchange]) -> Exchange:
    """The one to show: the last that was accepted, else any."""
    accepted = [each for each in answers if each.status in ACCEPTED]
    return accepted[-1] if accepted else answers[0]
