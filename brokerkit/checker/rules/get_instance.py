"""R-GETI: fetching a service instance."""

from __future__ import annotations

from ...requests import Operation
from ..rule import MUST, SHOULD, Observation, Rule, RuleSet, at, responses, unless_status
from ..situations import Situation
from ._helpers import differs, faults

RULES: list[Rule] = []
_chapter = RuleSet(RULES)
rule, expects = _chapter.rule, _chapter.expects

_FETCHES = at(
    Situation.FETCHED,
    Situation.FETCHED_AFTER_PARAMETERS,
    Situation.FETCHED_AFTER_PLAN,
    Situation.FETCHED_AFTER_CONTEXT,
)

expects(
    "R-GETI.available",
    MUST,
    "A service instance can be fetched as soon as it is there, or updated, where the offering is"
    " instances_retrievable.",
    _FETCHES,
    200,
)
expects(
    "R-GETI.hints",
    MUST,
    "service_id and plan_id of a fetch are hints, which need not be there.",
    at(Situation.FETCHED_WITHOUT_HINTS),
    200,
)


@rule(
    "R-GETI.body",
    MUST,
    "The fields of a fetched service instance have the right types.",
    responses(Operation.GET_INSTANCE, statuses=(200,)),
)
def body(seen: Observation) -> str | None:
    """All are optional."""
    return faults(seen) if seen.exchange.document is not None else None


@rule(
    "R-GETI.plan",
    MUST,
    "A fetched service instance is of the offering and plan that it was made of.",
    at(Situation.FETCHED),
)
def plan(seen: Observation) -> str | None:
    """After an update the plan is the new one; that is R-UPD's."""
    for name in ("service_id", "plan_id"):
        told = seen.document.get(name)
        if told is not None and told != seen.facts[name]:
            return f"told the {name} {told!r}; it was ordered with {seen.facts[name]!r}"
    return None


@rule(
    "R-GETI.parameters",
    SHOULD,
    "The parameters that a fetch tells are those of the provision.",
    at(Situation.FETCHED),
)
def parameters(seen: Observation) -> str | None:
    """A broker may tell none, and may have added some."""
    return differs(seen)


expects(
    "R-GETI.unknown",
    MUST,
    "Fetching a service instance that does not exist is 404.",
    at(Situation.UNKNOWN_FETCHED),
    404,
)
expects(
    "R-GETI.in-progress",
    MUST,
    "Fetching a service instance that is still being provisioned is 404.",
    at(Situation.FETCHED_IN_PROGRESS),
    404,
)


@rule(
    "R-GETI.updating",
    MUST,
    "Fetching a service instance while it is updated is 422 ConcurrencyError.",
    at(Situation.FETCHED_WHILE_UPDATED),
)
def updating(seen: Observation) -> str | None:
    """What it would tell is between the old and the new."""
    return unless_status(seen, (422, "ConcurrencyError"))


expects(
    "R-GETI.gone",
    MUST,
    "Fetching a service instance that was deleted is 404.",
    at(Situation.FETCHED_WHEN_GONE),
    404,
)
