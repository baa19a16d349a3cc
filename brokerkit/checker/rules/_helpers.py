"""Checks that several rules share: repeated and concurrent requests, generated values, parameters."""

from __future__ import annotations

from collections.abc import Sequence

from ...client.exchange import Exchange
from ...client.responses import parse_response
from ..rule import Observation

ACCEPTED = (200, 201, 202)
_CONCURRENCY = "ConcurrencyError"


def same_operation(observation: Observation) -> str | None:
    """Check a request that was repeated while the operation of the first one was in progress."""
    (first,) = observation.previous
    if observation.status != 202:
        return f"returned {observation.status or 'no response'} during the operation, expected 202"
    if observation.exchange.operation != first.operation:
        repeated, first_operation = (
            f"{exchange.operation!r:.80}" for exchange in (observation.exchange, first)
        )
        return f"returned the operation {repeated}, but {first_operation} for the first request"
    return None


def one_winner(observation: Observation) -> str | None:
    """Check concurrent requests for one id.

    ``observation.previous`` holds all exchanges. The fact ``kinds`` holds a label for each of them:
    requests with equal labels have equal attributes.
    """
    kinds: list[str] = observation.facts["kinds"]
    accepted = [
        (kind, exchange)
        for kind, exchange in zip(kinds, observation.previous, strict=True)
        if exchange.status in ACCEPTED
    ]
    statuses = ", ".join(str(exchange.status or "none") for exchange in observation.previous)
    created = sum(exchange.status == 201 for _, exchange in accepted)
    operations = {exchange.operation for _, exchange in accepted if exchange.status == 202}
    if not accepted and not _all_rejected_alike(observation.previous):
        return f"accepted none of {len(observation.previous)} concurrent requests for one id ({statuses})"
    if len({kind for kind, _ in accepted}) > 1:
        return f"accepted concurrent requests with different attributes for one id ({statuses})"
    if created > 1:
        return f"returned 201 to {created} concurrent requests for one id ({statuses})"
    if len(operations) > 1:
        return f"returned {len(operations)} different operations to concurrent requests for one id"
    invalid = [exchange for exchange in observation.previous if not _is_valid(exchange)]
    if invalid and accepted:
        return (
            f"returned {invalid[0].status or 'no response'} to one of several concurrent requests for one id"
        )
    return None


def _all_rejected_alike(exchanges: Sequence[Exchange]) -> bool:
    """Check whether all requests were rejected for the same reason, and that reason is not concurrency."""
    if len({(exchange.status, exchange.error_code) for exchange in exchanges}) > 1:
        return False
    status, word = exchanges[0].status or 0, exchanges[0].error_code
    return 400 <= status < 500 and status != 409 and word != _CONCURRENCY


def _is_valid(exchange: Exchange) -> bool:
    """Check whether a concurrent request was accepted, or rejected because of the other requests."""
    if exchange.status == 422:
        return exchange.error_code == _CONCURRENCY
    return exchange.status in (*ACCEPTED, 409)


BINDING_FIELDS = (
    "credentials",
    "syslog_drain_url",
    "route_service_url",
    "volume_mounts",
    "endpoints",
    "metadata",
)
"""The response fields that describe a service binding."""


def faults(observation: Observation, *fields: str) -> str | None:
    """Describe the invalid fields of a response. Checks all fields if no names are given."""
    lines = [
        line
        for line in parse_response(observation.operation, observation.exchange).faults
        if not fields or line.startswith(fields)
    ]
    return f"returned {observation.status} with {'; '.join(lines)}" if lines else None


def refused_for_generated_values(observation: Observation) -> bool:
    """Check whether the request may have been rejected because of generated values."""
    return bool(observation.facts["generated"]) and observation.status == 400


def parameter_mismatch(observation: Observation) -> str | None:
    """Compare the parameters in a response with the parameters that were sent (the fact ``parameters``)."""
    returned = observation.document.get("parameters")
    sent = observation.facts.get("parameters")
    if not isinstance(returned, dict) or not returned or not sent:
        return None
    wrong = sorted(name for name in sent if name in returned and returned[name] != sent[name])
    return f"returned other values than those sent for the parameters {', '.join(wrong)}" if wrong else None
