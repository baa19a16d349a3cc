"""R-UPD: changing a service instance."""

from __future__ import annotations

from ...requests import Operation
from ..rule import MUST, SHOULD, Observation, Rule, RuleSet, at, responses, unless_refused, unless_status
from ..situations import Situation
from ._helpers import differs, displeases, faults, same_operation

RULES: list[Rule] = []
_chapter = RuleSet(RULES)
rule, expects = _chapter.rule, _chapter.expects

_WAIT = (422, "ConcurrencyError")

expects(
    "R-UPD-1.applied",
    MUST,
    "An update is answered with 200, or with 202 while it is in progress.",
    at(Situation.UPDATED, Situation.UPDATED_TO_PLAN),
    200,
    202,
)


@rule(
    "R-UPD-1.body",
    MUST,
    "The answer to an update has dashboard_url and metadata of the right types, if at all.",
    responses(Operation.UPDATE, statuses=(200, 202)),
)
def body(seen: Observation) -> str | None:
    """Both are optional."""
    return faults(seen, "dashboard_url", "metadata")


expects(
    "R-UPD-1.without-effect",
    MUST,
    "An update that changes nothing is answered with 200 (or 202).",
    at(Situation.UPDATED_WITHOUT_EFFECT),
    200,
    202,
)


@rule(
    "R-UPD-1.same-operation",
    MUST,
    "An update that is sent again while it is in progress is answered with 202 and the same operation.",
    at(Situation.UPDATED_AGAIN_WHILE_UPDATED),
)
def again_in_progress(seen: Observation) -> str | None:
    """So the platform can go on polling."""
    return same_operation(seen)


@rule(
    "R-UPD-1.kept",
    SHOULD,
    "After an update a fetch tells the parameters, or the plan, that it brought.",
    at(Situation.FETCHED_AFTER_PARAMETERS, Situation.FETCHED_AFTER_PLAN),
)
def kept(seen: Observation) -> str | None:
    """Where it tells them at all."""
    plan = seen.document.get("plan_id")
    if seen.situation is Situation.FETCHED_AFTER_PLAN:
        if plan is not None and plan != seen.facts["plan_id"]:
            return f"told the plan_id {plan!r} after an update to {seen.facts['plan_id']!r}"
        return None
    return differs(seen)


@rule(
    "R-UPD-2.plan-stays",
    MUST,
    "An update without plan_id does not change the plan.",
    at(Situation.FETCHED_AFTER_PARAMETERS, Situation.FETCHED_AFTER_CONTEXT),
)
def plan_stays(seen: Observation) -> str | None:
    """A fetch tells the plan of before."""
    told = seen.document.get("plan_id")
    if told is not None and told != seen.facts["plan_id"]:
        return f"told the plan_id {told!r} after an update that named none; it was {seen.facts['plan_id']!r}"
    return None


@rule(
    "R-UPD-2.parameters-stay",
    MUST,
    "An update without parameters does not change the parameters.",
    at(Situation.FETCHED_AFTER_PLAN, Situation.FETCHED_AFTER_CONTEXT),
)
def parameters_stay(seen: Observation) -> str | None:
    """A fetch tells those of before."""
    (before,) = seen.before
    was, now = (before.document or {}).get("parameters"), seen.document.get("parameters")
    if was is not None and now is not None and was != now:
        return "told other parameters after an update that had none"
    return None


expects(
    "R-UPD-3.not-updateable",
    MUST,
    "A change of plan that the current plan does not allow is refused with 422.",
    at(Situation.UPDATED_TO_PLAN_THOUGH_NOT_UPDATEABLE),
    422,
)


@rule(
    "R-UPD-3.unknown-plan",
    MUST,
    "An update to a plan that is not in the catalog, or of another offering, is refused with a 4xx.",
    at(Situation.UPDATED_TO_UNKNOWN_PLAN),
)
def unknown_plan(seen: Observation) -> str | None:
    """Which one is not said."""
    return unless_refused(seen, 400)


expects(
    "R-UPD-4.context",
    MUST,
    "An update of the context alone is accepted where the offering has allow_context_updates.",
    at(Situation.UPDATED_CONTEXT),
    200,
    202,
)


@rule(
    "R-UPD-5.async-required",
    MUST,
    "A platform that cannot poll gets its update at once, or 422 AsyncRequired; never 202.",
    at(Situation.UPDATED_WITHOUT_POLLING),
)
def async_required(seen: Observation) -> str | None:
    """Other refusals are judged where it can poll."""
    return unless_status(seen, 200, (422, "AsyncRequired")) if seen.status == 202 else None


expects(
    "R-UPD-5.conflict",
    MUST,
    "An update to a maintenance_info version that is not the catalog's is 422 MaintenanceInfoConflict.",
    at(Situation.UPDATE_TO_OTHER_VERSION),
    (422, "MaintenanceInfoConflict"),
)
expects(
    "R-UPD-5.schema",
    SHOULD,
    "Parameters of an update that the plan's schema refuses are refused with 400.",
    at(Situation.UPDATE_AGAINST_SCHEMA),
    400,
)
expects(
    "R-UPD-5.required",
    MUST,
    "An update without service_id is refused with 400.",
    at(Situation.UPDATE_WITHOUT_SERVICE),
    400,
)


@rule(
    "R-UPD-5.concurrency",
    MUST,
    "Another update while one is in progress is 422 ConcurrencyError.",
    at(Situation.UPDATED_OTHERWISE_WHILE_UPDATED),
)
def concurrency(seen: Observation) -> str | None:
    """Parameters that were made up may displease a broker before it sees that it is busy."""
    return None if displeases(seen) else unless_status(seen, _WAIT)


@rule(
    "R-UPD-5.while-created",
    MUST,
    "An update of a service instance that is being provisioned is 422 ConcurrencyError (or 404).",
    at(Situation.UPDATED_IN_PROGRESS),
)
def while_created(seen: Observation) -> str | None:
    """The same holds of these."""
    return None if displeases(seen) else unless_status(seen, _WAIT, 404)


@rule(
    "R-UPD-5.unknown",
    MUST,
    "An update of a service instance that does not exist is refused with a 4xx.",
    at(Situation.UNKNOWN_UPDATED),
)
def unknown(seen: Observation) -> str | None:
    """Which one is not said; 404 says it best."""
    return unless_refused(seen, 404)


@rule(
    "R-UPD-5.while-deleted",
    MUST,
    "An update of a service instance that is being deleted is refused with a 4xx.",
    at(Situation.UPDATED_WHILE_DELETED),
)
def while_deleted(seen: Observation) -> str | None:
    """It may be told to wait, or that there is none any more."""
    return unless_refused(seen, _WAIT)


expects(
    "R-UPD-6.plan-before",
    MUST,
    "While a change of plan is polled with the plan before it, the poll is answered.",
    at(Situation.POLLED_WITH_PLAN_BEFORE),
    200,
)
