"""R-LAST: rules for polling operations."""

from __future__ import annotations

from ...requests import Operation
from ..rule import INTEROP, MUST, SHOULD, Observation, Rule, RuleSet, at, check_refused, responses
from ..situations import Situation
from ._helpers import BINDING_FIELDS, faults

RULES: list[Rule] = []
_rule_set = RuleSet(RULES)
rule, expects = _rule_set.rule, _rule_set.expects

_POLLS = at(Situation.POLLED, Situation.POLLED_DELETION, Situation.POLLED_AGAIN)

expects(
    "R-LAST-1.polled",
    MUST,
    "Polling an operation returns 200.",
    at(Situation.POLLED),
    200,
)


@rule(
    "R-LAST-1.body",
    MUST,
    "A poll response has a state ('in progress', 'succeeded' or 'failed') and fields of valid types.",
    _POLLS,
)
def body(observation: Observation) -> str | None:
    """Check the state, which is required, and the optional fields."""
    return (
        faults(observation)
        if observation.status == 200 and observation.exchange.document is not None
        else None
    )


@rule(
    "R-LAST-1.usable",
    MUST,
    "Polling a provision or a service binding returns no instance_usable and no update_repeatable.",
    lambda observation: (
        responses(Operation.LAST_BINDING_OPERATION, statuses=(200,))(observation)
        or (
            responses(Operation.LAST_OPERATION, statuses=(200,))(observation)
            and observation.facts.get("of") == "PUT"
        )
    ),
)
def usable(observation: Observation) -> str | None:
    """Check that the fields are absent: they belong to updates and deletions of instances (R-ERR-2)."""
    names = [
        name
        for name in ("instance_usable", "update_repeatable")
        if observation.document.get(name) is not None
    ]
    return f"returned {' and '.join(names)} for an operation that is no update or deletion" if names else None


@rule(
    "R-LAST-1.no-credentials",
    SHOULD,
    "Polling a service binding returns the state only; credentials and URLs are fetched separately.",
    responses(Operation.LAST_BINDING_OPERATION, statuses=(200,)),
)
def no_credentials(observation: Observation) -> str | None:
    """Check that the fields are absent: platforms may log poll responses."""
    names = [name for name in BINDING_FIELDS if observation.document.get(name) is not None]
    return f"returned {' and '.join(names)} in a poll response" if names else None


@rule(
    "R-LAST-1.ends",
    INTEROP,
    "An operation ends within the plan's maximum_polling_duration.",
    at(Situation.POLLED_TO_COMPLETION),
)
def ends(observation: Observation) -> str | None:
    """Check the duration; without maximum_polling_duration it is unlimited."""
    if observation.facts["ended"]:
        return None
    return f"was still in progress after {observation.facts['seconds']:.0f} s"


@rule(
    "R-LAST-2.retry-after",
    INTEROP,
    "The Retry-After header of a poll response is a whole number of seconds.",
    lambda observation: (
        observation.situation in (Situation.POLLED, Situation.POLLED_DELETION)
        and _retry_after(observation) is not None
    ),
)
def retry_after(observation: Observation) -> str | None:
    """Check the format: platforms do not parse dates in this header."""
    value = _retry_after(observation) or ""
    return None if value.strip().isdecimal() else f"returned Retry-After: {value[:60]!r}"


def _retry_after(observation: Observation) -> str | None:
    return observation.exchange.response_headers.get("retry-after")


expects(
    "R-LAST-3.unknown",
    MUST,
    "Polling a service instance or service binding that never existed returns 404.",
    at(Situation.UNKNOWN_POLLED, Situation.BINDING_POLLED_UNKNOWN),
    404,
)
expects(
    "R-LAST-3.deletion",
    MUST,
    "Polling a deletion returns 200, or 410 when it is complete.",
    at(Situation.POLLED_DELETION),
    200,
    410,
)
expects(
    "R-LAST-4.unknown-operation",
    MUST,
    "Polling an unknown operation is rejected with 400.",
    at(Situation.POLLED_UNKNOWN_OPERATION),
    400,
)


@rule(
    "R-LAST-4.own-operation",
    MUST,
    "Polling a service instance with an operation of a service binding is rejected with a 4xx status.",
    at(Situation.POLLED_OPERATION_OF_OTHER_RESOURCE),
)
def own_operation(observation: Observation) -> str | None:
    """Check the status code: an operation belongs to one resource."""
    return check_refused(observation, 400)


@rule(
    "R-LAST-5.repeated",
    SHOULD,
    "Polling an operation again after it ended returns the same state.",
    at(Situation.POLLED_AGAIN),
)
def repeated(observation: Observation) -> str | None:
    """Compare the states: the platform polls again if a response was lost."""
    (previous,) = observation.previous
    if observation.status == 200 and observation.exchange.state == previous.state:
        return None
    detail = observation.exchange.state or observation.exchange.error_code or ""
    return f"returned {observation.status} {detail}, expected the state {previous.state!r} as before"
