"""R-GETI: rules for fetching service instances."""

from __future__ import annotations

from ...requests import Operation
from ..rule import MUST, SHOULD, Observation, Rule, RuleSet, at, check_status, responses
from ..situations import Situation
from ._helpers import faults, parameter_mismatch

RULES: list[Rule] = []
_rule_set = RuleSet(RULES)
rule, expects = _rule_set.rule, _rule_set.expects

_FETCHES = at(
    Situation.FETCHED,
    Situation.FETCHED_AFTER_PARAMETERS,
    Situation.FETCHED_AFTER_PLAN,
    Situation.FETCHED_AFTER_CONTEXT,
)

expects(
    "R-GETI.available",
    MUST,
    "If the offering is instances_retrievable, a service instance can be fetched after it was created or"
    " updated.",
    _FETCHES,
    200,
)
expects(
    "R-GETI.hints",
    MUST,
    "The query parameters service_id and plan_id of a fetch are optional.",
    at(Situation.FETCHED_WITHOUT_HINTS),
    200,
)


@rule(
    "R-GETI.body",
    MUST,
    "The fields of a fetched service instance have valid types.",
    responses(Operation.GET_INSTANCE, statuses=(200,)),
)
def body(observation: Observation) -> str | None:
    """Check the optional fields of a service instance."""
    return faults(observation) if observation.exchange.document is not None else None


@rule(
    "R-GETI.plan",
    MUST,
    "A fetched service instance has the offering and the plan of the provision request.",
    at(Situation.FETCHED),
)
def plan(observation: Observation) -> str | None:
    """Compare both ids. Rules of R-UPD check the plan after an update."""
    for name in ("service_id", "plan_id"):
        value = observation.document.get(name)
        if value is not None and value != observation.facts[name]:
            return f"returned the {name} {value!r}, expected {observation.facts[name]!r}"
    return None


@rule(
    "R-GETI.parameters",
    SHOULD,
    "The parameters of a fetched service instance are those of the provision request.",
    at(Situation.FETCHED),
)
def parameters(observation: Observation) -> str | None:
    """Compare the parameters; a broker may omit them or add others."""
    return parameter_mismatch(observation)


expects(
    "R-GETI.unknown",
    MUST,
    "Fetching a service instance that does not exist returns 404.",
    at(Situation.UNKNOWN_FETCHED),
    404,
)
expects(
    "R-GETI.in-progress",
    MUST,
    "Fetching a service instance that is being created returns 404.",
    at(Situation.FETCHED_IN_PROGRESS),
    404,
)


@rule(
    "R-GETI.updating",
    MUST,
    "Fetching a service instance that is being updated returns 422 ConcurrencyError.",
    at(Situation.FETCHED_WHILE_UPDATED),
)
def updating(observation: Observation) -> str | None:
    """Check the status code: the instance is between its old and its new state."""
    return check_status(observation, (422, "ConcurrencyError"))


expects(
    "R-GETI.gone",
    MUST,
    "Fetching a deleted service instance returns 404.",
    at(Situation.FETCHED_AFTER_DELETION),
    404,
)
