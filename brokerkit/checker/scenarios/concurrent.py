"""Concurrent requests for one resource."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import wait
from functools import partial
from threading import Barrier

from ...client.endpoints import APIRequest
from ...client.exchange import Exchange
from ..resource_tracker import Resource
from ..scenario import ACCEPTED, Scenario, is_unconditional_rejection
from ..situations import Situation
from ..thread_pool import run_in_threads

_BARRIER_TIMEOUT = 5.0
"""Seconds that threads wait for each other."""


class ConcurrentRequests(Scenario):
    """Base class of scenarios that send concurrent requests."""

    def send_concurrently(
        self, situation: Situation, resource: Resource, requests: Sequence[tuple[str, APIRequest]]
    ) -> list[Exchange]:
        """Send requests concurrently, and record them as one observation.

        Args:
            situation: The situation to record.
            resource: The resource of the requests.
            requests: The requests, each with a label. Identical requests have the same label.
        """
        barrier = Barrier(len(requests))

        def send(request: APIRequest) -> Exchange:
            barrier.wait(_BARRIER_TIMEOUT)
            return self.send(request, resource)

        futures = run_in_threads([[partial(send, request)] for _, request in requests], len(requests))
        wait(futures)  # A request that outlives the cleanup would leave a resource behind.
        responses = [future.result() for future in futures]
        if all(is_unconditional_rejection(response) for response in responses):
            self.skip(f"it was rejected: {responses[0].response_line}", situation)
            return responses
        kinds = [kind for kind, _ in requests]
        self.record(situation, requests[0][1], _representative(responses), *responses, kinds=kinds)
        return responses


def _representative(responses: Sequence[Exchange]) -> Exchange:
    """Choose the exchange to report: the last accepted one, or the first."""
    accepted = [response for response in responses if response.status in ACCEPTED]
    return accepted[-1] if accepted else responses[0]
