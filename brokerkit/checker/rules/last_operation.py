"""R-LAST: asking how an operation goes."""

from __future__ import annotations

from ...requests import Operation
from ..rule import INTEROP, MUST, SHOULD, Observation, Rule, RuleSet, at, responses, unless_refused
from ..situations import Situation
from ._helpers import OF_A_BINDING, faults

RULES: list[Rule] = []
_chapter = RuleSet(RULES)
rule, expects = _chapter.rule, _chapter.expects

_POLLS = at(Situation.POLLED, Situation.POLLED_DELETION, Situation.POLLED_AGAIN)

expects(
    "R-LAST-1.polled",
    MUST,
    "A poll of an operation is answered with 200.",
    at(Situation.POLLED),
    200,
)


@rule(
    "R-LAST-1.body",
    MUST,
    "The answer to a poll has a state ('in progress', 'succeeded', 'failed'), and texts and booleans.",
    _POLLS,
)
def body(seen: Observation) -> str | None:
    """Everything else is optional."""
    return faults(seen) if seen.status == 200 and seen.exchange.document is not None else None


@rule(
    "R-LAST-1.usable",
    MUST,
    "A poll of a provision, or of a service binding, tells no instance_usable and no update_repeatable.",
    lambda seen: (
        responses(Operation.LAST_BINDING_OPERATION, statuses=(200,))(seen)
        or (responses(Operation.LAST_OPERATION, statuses=(200,))(seen) and seen.facts.get("of") == "PUT")
    ),
)
def usable(seen: Observation) -> str | None:
    """They are of updates, and of deletes of instances (R-ERR-2)."""
    told = [name for name in ("instance_usable", "update_repeatable") if seen.document.get(name) is not None]
    return f"told {' and '.join(told)} of what is no update or deletion" if told else None


@rule(
    "R-LAST-1.not-the-binding",
    SHOULD,
    "A poll of a service binding tells how it goes, and no credentials nor addresses: those are fetched.",
    responses(Operation.LAST_BINDING_OPERATION, statuses=(200,)),
)
def not_the_binding(seen: Observation) -> str | None:
    """As in a 202, platforms write down what a poll tells."""
    told = [name for name in OF_A_BINDING if seen.document.get(name) is not None]
    return f"answered a poll with {' and '.join(told)}" if told else None


@rule(
    "R-LAST-1.ends",
    INTEROP,
    "An operation comes to its end within the plan's maximum_polling_duration.",
    at(Situation.POLLED_TO_THE_END),
)
def ends(seen: Observation) -> str | None:
    """Where the plan has none, it may take as long as it wants."""
    if seen.facts["ended"]:
        return None
    return f"was still in progress after {seen.facts['seconds']:.0f} s"


@rule(
    "R-LAST-2.retry-after",
    INTEROP,
    "A Retry-After of a poll is a whole number of seconds.",
    lambda seen: (
        seen.situation in (Situation.POLLED, Situation.POLLED_DELETION) and _retry_after(seen) is not None
    ),
)
def retry_after(seen: Observation) -> str | None:
    """Platforms read no dates there."""
    told = _retry_after(seen) or ""
    return None if told.strip().isdecimal() else f"answered with Retry-After: {told[:60]!r}"


def _retry_after(seen: Observation) -> str | None:
    return seen.exchange.response_headers.get("retry-after")


expects(
    "R-LAST-3.unknown",
    MUST,
    "Polling a service instance or service binding that never existed is 404.",
    at(Situation.UNKNOWN_POLLED, Situation.BINDING_POLLED_UNKNOWN),
    404,
)
expects(
    "R-LAST-3.deletion",
    MUST,
    "A poll of a deletion is answered with 200, or with 410 when it is done.",
    at(Situation.POLLED_DELETION),
    200,
    410,
)
expects(
    "R-LAST-4.unknown-operation",
    MUST,
    "A poll of an operation that is none is refused with 400.",
    at(Situation.POLLED_UNKNOWN_OPERATION),
    400,
)


@rule(
    "R-LAST-4.own-operation",
    MUST,
    "A poll of a service instance with the operation of a service binding is refused with a 4xx.",
    at(Situation.POLLED_OPERATION_OF_ANOTHER),
)
def own_operation(seen: Observation) -> str | None:
    """Whoever polls with it asks for what goes on elsewhere."""
    return unless_refused(seen, 400)


@rule(
    "R-LAST-5.remembered",
    SHOULD,
    "The outcome of an operation is told again to a platform that asks again.",
    at(Situation.POLLED_AGAIN),
)
def remembered(seen: Observation) -> str | None:
    """An answer may have been lost."""
    (before,) = seen.before
    if seen.status == 200 and seen.exchange.state == before.state:
        return None
    told = seen.exchange.state or seen.exchange.error_code or ""
    return f"answered {seen.status} {told} after it had told {before.state!r}"
