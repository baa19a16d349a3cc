"""R-GETB: fetching a service binding."""

from __future__ import annotations

from ...requests import Operation
from ..rule import INTEROP, MUST, SHOULD, Observation, Rule, RuleSet, at, responses
from ..situations import Situation
from ._helpers import differs

RULES: list[Rule] = []
_chapter = RuleSet(RULES)
rule, expects = _chapter.rule, _chapter.expects

expects(
    "R-GETB.available",
    MUST,
    "A service binding can be fetched as soon as it is there, where the offering is bindings_retrievable.",
    at(Situation.BINDING_FETCHED, Situation.SUCCESSOR_FETCHED),
    200,
)


@rule(
    "R-GETB.same",
    SHOULD,
    "A fetched binding has the credentials that the bind was answered with.",
    at(Situation.BINDING_FETCHED),
)
def same(seen: Observation) -> str | None:
    """Of a bind that was done at once."""
    (made,) = seen.before
    was = (made.document or {}).get("credentials")
    if seen.status != 200 or made.status != 201 or was is None:
        return None
    return None if seen.document.get("credentials") == was else "told other credentials than the bind did"


@rule(
    "R-GETB.parameters",
    SHOULD,
    "The parameters that a fetch tells are those of the bind.",
    at(Situation.BINDING_FETCHED),
)
def parameters(seen: Observation) -> str | None:
    """A broker may tell none, and may have added some."""
    return differs(seen)


expects(
    "R-GETB.unknown",
    MUST,
    "Fetching a service binding that does not exist, or not of this instance, is 404.",
    at(Situation.BINDING_FETCHED_UNKNOWN, Situation.BINDING_FETCHED_ELSEWHERE),
    404,
)
expects(
    "R-GETB.in-progress",
    MUST,
    "Fetching a service binding that is still being made is 404.",
    at(Situation.BINDING_FETCHED_IN_PROGRESS),
    404,
)
expects(
    "R-GETB.gone",
    MUST,
    "Fetching a service binding that was deleted is 404.",
    at(Situation.BINDING_FETCHED_WHEN_GONE),
    404,
)


@rule(
    "R-GETB.needed",
    INTEROP,
    "A bind is answered with 202 only where bindings can be fetched; else nobody gets its credentials.",
    responses(Operation.BIND, statuses=(202,)),
)
def needed(seen: Observation) -> str | None:
    """They are fetched when it is done. Of several binds at once, the first may have got them."""
    at_once = seen.situation is Situation.BOUND_AT_ONCE_BY_MANY
    if at_once or seen.facts.get("bindings_retrievable", True):
        return None
    return "answered 202 to a bind, but the offering is not bindings_retrievable"
