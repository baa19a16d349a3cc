"""What several requests for one thing must come to: one of it, and one operation."""

from __future__ import annotations

from collections.abc import Sequence

from ...client.exchange import Exchange
from ...client.responses import parse_response
from ..rule import Observation

ACCEPTED = (200, 201, 202)
_CONCURRENCY = "ConcurrencyError"


def same_operation(seen: Observation) -> str | None:
    """Judge a request that was sent again while the first, `before`, was in progress."""
    (first,) = seen.before
    if seen.status != 202:
        return f"answered {seen.status or 'nothing'} while it was in progress; 202 was due"
    if seen.exchange.operation != first.operation:
        again, before = (f"{each.operation!r:.80}" for each in (seen.exchange, first))
        return f"answered with the operation {again}, and before with {before}"
    return None


def one_winner(seen: Observation) -> str | None:
    """Judge requests for one id that were sent at once: `before` are all, `facts` say which were alike."""
    kinds: list[str] = seen.facts["kinds"]
    accepted = [
        (kind, each) for kind, each in zip(kinds, seen.before, strict=True) if each.status in ACCEPTED
    ]
    statuses = ", ".join(str(each.status or "none") for each in seen.before)
    created = sum(each.status == 201 for _, each in accepted)
    operations = {each.operation for _, each in accepted if each.status == 202}
    if not accepted and not _are_all_refused(seen.before):
        return f"accepted none of {len(seen.before)} requests for one id that were sent at once ({statuses})"
    if len({kind for kind, _ in accepted}) > 1:
        return f"accepted requests with different attributes for one id, sent at once ({statuses})"
    if created > 1:
        return f"answered {created} requests for one id with 201, sent at once ({statuses})"
    if len(operations) > 1:
        return f"answered requests for one id, sent at once, with {len(operations)} different operations"
    odd = [each for each in seen.before if not _is_in_order(each)]
    if odd and accepted:
        return f"answered {odd[0].status or 'nothing'} to one of several requests for one id, sent at once"
    return None


def _are_all_refused(answers: Sequence[Exchange]) -> bool:
    """Are all refused for one reason, that is not that they came at once?"""
    if len({(each.status, each.error_code) for each in answers}) > 1:
        return False
    status, word = answers[0].status or 0, answers[0].error_code
    return 400 <= status < 500 and status != 409 and word != _CONCURRENCY


def _is_in_order(exchange: Exchange) -> bool:
    """Accepted, in conflict, or told to wait."""
    if exchange.status == 422:
        return exchange.error_code == _CONCURRENCY
    return exchange.status in (*ACCEPTED, 409)


OF_A_BINDING = (
    "credentials",
    "syslog_drain_url",
    "route_service_url",
    "volume_mounts",
    "endpoints",
    "metadata",
)
"""What a binding is, which is told when it is there."""


def faults(seen: Observation, *fields: str) -> str | None:
    """What is wrong with these fields of an answer; with all of them, where none are named."""
    found = [
        line
        for line in parse_response(seen.operation, seen.exchange).faults
        if not fields or line.startswith(fields)
    ]
    return f"answered {seen.status} with {'; '.join(found)}" if found else None


def displeases(seen: Observation) -> bool:
    """Was it refused for what `facts` say was made up?"""
    return bool(seen.facts["made_up"]) and seen.status == 400


def differs(seen: Observation) -> str | None:
    """What is wrong with the `parameters` that were fetched; `facts` have those that were sent."""
    told = seen.document.get("parameters")
    sent = seen.facts.get("parameters")
    if not isinstance(told, dict) or not told or not sent:
        return None
    wrong = sorted(name for name in sent if name in told and told[name] != sent[name])
    return f"told other values than it was given for the parameters {', '.join(wrong)}" if wrong else None
