"""R-GETB: rules for fetching service bindings."""

from __future__ import annotations

from ...requests import Operation
from ..rule import INTEROP, MUST, SHOULD, Observation, Rule, RuleSet, at, responses
from ..situations import Situation
from ._helpers import parameter_mismatch

RULES: list[Rule] = []
_rule_set = RuleSet(RULES)
rule, expects = _rule_set.rule, _rule_set.expects

expects(
    "R-GETB.available",
    MUST,
    "If the offering is bindings_retrievable, a service binding can be fetched as soon as it exists.",
    at(Situation.BINDING_FETCHED, Situation.SUCCESSOR_FETCHED),
    200,
)


@rule(
    "R-GETB.same",
    SHOULD,
    "A fetched service binding has the credentials of the response to the bind request.",
    at(Situation.BINDING_FETCHED),
)
def same(observation: Observation) -> str | None:
    """Compare the credentials with those of a synchronous bind request."""
    (created,) = observation.previous
    credentials = (created.document or {}).get("credentials")
    if observation.status != 200 or created.status != 201 or credentials is None:
        return None
    return (
        None
        if observation.document.get("credentials") == credentials
        else "returned other credentials than the bind request"
    )


@rule(
    "R-GETB.parameters",
    SHOULD,
    "The parameters of a fetched service binding are those of the bind request.",
    at(Situation.BINDING_FETCHED),
)
def parameters(observation: Observation) -> str | None:
    """Compare the parameters; a broker may omit them or add others."""
    return parameter_mismatch(observation)


expects(
    "R-GETB.unknown",
    MUST,
    "Fetching a service binding that does not exist, or belongs to another instance, returns 404.",
    at(Situation.BINDING_FETCHED_UNKNOWN, Situation.BINDING_FETCHED_UNDER_OTHER_INSTANCE),
    404,
)
expects(
    "R-GETB.in-progress",
    MUST,
    "Fetching a service binding that is being created returns 404.",
    at(Situation.BINDING_FETCHED_IN_PROGRESS),
    404,
)
expects(
    "R-GETB.gone",
    MUST,
    "Fetching a deleted service binding returns 404.",
    at(Situation.BINDING_FETCHED_AFTER_DELETION),
    404,
)


@rule(
    "R-GETB.retrievable",
    INTEROP,
    "A bind request returns 202 only if service bindings can be fetched; otherwise the credentials are lost.",
    responses(Operation.BIND, statuses=(202,)),
)
def retrievable(observation: Observation) -> str | None:
    """Check the offering. One of several concurrent requests may have received the credentials in a 201."""
    concurrent = observation.situation is Situation.BOUND_CONCURRENTLY
    if concurrent or observation.facts.get("bindings_retrievable", True):
        return None
    return "returned 202 to a bind request, but the offering is not bindings_retrievable"
