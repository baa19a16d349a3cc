"""R-PROV: making a service instance."""

from __future__ import annotations

from ...requests import Operation
from ..rule import INTEROP, MUST, SHOULD, Observation, Rule, RuleSet, at, responses, unless_status
from ..situations import Situation
from ._helpers import faults, one_winner, same_operation

RULES: list[Rule] = []
_chapter = RuleSet(RULES)
rule, expects = _chapter.rule, _chapter.expects

expects(
    "R-PROV-1.created",
    MUST,
    "A new service instance is answered with 201, or with 202 while it is in progress.",
    at(Situation.PROVISIONED),
    201,
    202,
)


@rule(
    "R-PROV-1.body",
    MUST,
    "The answer to a provision has dashboard_url and metadata of the right types, if at all.",
    responses(Operation.PROVISION, statuses=(200, 201, 202)),
)
def body(seen: Observation) -> str | None:
    """Both are optional."""
    return faults(seen, "dashboard_url", "metadata")


@rule(
    "R-PROV-1.operation",
    MUST,
    "The operation of a 202 is a string of 1 to 10,000 characters, if there is one.",
    responses(Operation.PROVISION, Operation.UPDATE, statuses=(202,)),
)
def operation(seen: Observation) -> str | None:
    """Platforms keep it in a column of that size."""
    return faults(seen, "operation")


@rule(
    "R-PROV-2.dashboard-first",
    INTEROP,
    "A dashboard_url that a fetch tells was in the answer to the provision, where platforms read it.",
    at(Situation.FETCHED),
)
def dashboard_first(seen: Observation) -> str | None:
    """Also with 202."""
    (made,) = seen.before
    if made.document is None:  # which is worse
        return None
    if seen.document.get("dashboard_url") and not made.document.get("dashboard_url"):
        return f"told a dashboard_url when fetched, that it left out of its {made.status} to the provision"
    return None


expects(
    "R-PROV-3.again",
    MUST,
    "A provision that is sent again with the same attributes, when it is done, is answered with 200.",
    at(Situation.PROVISIONED_AGAIN),
    200,
)


@rule(
    "R-PROV-3.at-once",
    MUST,
    "Of provisions of one id that arrive at once only one makes the service instance.",
    at(Situation.PROVISIONED_AT_ONCE_BY_MANY),
)
def at_once(seen: Observation) -> str | None:
    """The others find it there, or in progress, or are told to wait."""
    return one_winner(seen)


@rule(
    "R-PROV-4.same-operation",
    MUST,
    "A provision that is sent again while it is in progress is answered with 202 and the same operation.",
    at(Situation.PROVISIONED_AGAIN_IN_PROGRESS),
)
def again_in_progress(seen: Observation) -> str | None:
    """So the platform can go on polling."""
    return same_operation(seen)


expects(
    "R-PROV-5.other-parameters",
    MUST,
    "A provision of an id that exists with other parameters is refused with 409.",
    at(Situation.PROVISIONED_WITH_OTHER_PARAMETERS),
    409,
)
expects(
    "R-PROV-5.other-plan",
    MUST,
    "A provision of an id that exists in another plan is refused with 409.",
    at(Situation.PROVISIONED_WITH_OTHER_PLAN),
    409,
)
expects(
    "R-PROV-5.in-progress",
    MUST,
    "A provision of an id that is being provisioned with other attributes is refused with 409.",
    at(Situation.PROVISIONED_OTHERWISE_IN_PROGRESS),
    409,
)
expects(
    "R-PROV-6.required",
    MUST,
    "A provision without service_id or plan_id is refused with 400.",
    at(Situation.PROVISION_WITHOUT_FIELD),
    400,
)
expects(
    "R-PROV-6.organization",
    SHOULD,
    "A provision that names no organization or space, nor a context with them, is refused with 400.",
    at(Situation.PROVISION_WITHOUT_ORGANIZATION),
    400,
)
expects(
    "R-PROV-6.unknown-service",
    MUST,
    "A provision of an offering that is not in the catalog is refused with 400.",
    at(Situation.PROVISION_OF_UNKNOWN_SERVICE),
    400,
)
expects(
    "R-PROV-6.unknown-plan",
    MUST,
    "A provision of a plan that is not in the catalog is refused with 400.",
    at(Situation.PROVISION_OF_UNKNOWN_PLAN),
    400,
)
expects(
    "R-PROV-6.plan-of-another",
    MUST,
    "A provision of a plan of another offering is refused with 400.",
    at(Situation.PROVISION_OF_PLAN_OF_ANOTHER),
    400,
)
expects(
    "R-PROV-6.schema",
    MUST,
    "Parameters of a provision that the plan's schema refuses are refused with 400.",
    at(Situation.PROVISION_AGAINST_SCHEMA),
    400,
)


@rule(
    "R-PROV-7.async-required",
    MUST,
    "A platform that cannot poll gets the instance at once, or 422 AsyncRequired; never 202.",
    at(Situation.PROVISIONED_WITHOUT_POLLING),
)
def async_required(seen: Observation) -> str | None:
    """It may refuse for other reasons, but not what it accepts of a platform that can poll."""
    if seen.status == 202 or seen.facts.get("then") is not None:
        return unless_status(seen, 201, (422, "AsyncRequired"))
    return None


expects(
    "R-PROV-8.conflict",
    MUST,
    "A provision with a maintenance_info version that is not the catalog's is 422 MaintenanceInfoConflict.",
    at(Situation.PROVISION_OF_OTHER_VERSION),
    (422, "MaintenanceInfoConflict"),
)
expects(
    "R-PROV-8.accepted",
    MUST,
    "A provision with the maintenance_info version of the catalog is accepted.",
    at(Situation.PROVISIONED_WITH_VERSION),
    200,
    201,
    202,
)
