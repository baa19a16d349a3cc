"""R-UPD: rules for updating service instances."""

from __future__ import annotations

from ...requests import Operation
from ..rule import MUST, SHOULD, Observation, Rule, RuleSet, at, check_refused, check_status, responses
from ..situations import Situation
from ._helpers import faults, parameter_mismatch, refused_for_generated_values, same_operation

RULES: list[Rule] = []
_rule_set = RuleSet(RULES)
rule, expects = _rule_set.rule, _rule_set.expects

_CONCURRENCY = (422, "ConcurrencyError")

expects(
    "R-UPD-1.applied",
    MUST,
    "An update request returns 200, or 202 if the operation is asynchronous.",
    at(Situation.UPDATED, Situation.UPDATED_TO_PLAN),
    200,
    202,
)


@rule(
    "R-UPD-1.body",
    MUST,
    "The fields dashboard_url and metadata of an update response, if present, have valid types.",
    responses(Operation.UPDATE, statuses=(200, 202)),
)
def body(observation: Observation) -> str | None:
    """Check both optional fields."""
    return faults(observation, "dashboard_url", "metadata")


expects(
    "R-UPD-1.no-change",
    MUST,
    "An update request that changes nothing returns 200 or 202.",
    at(Situation.UPDATED_WITHOUT_EFFECT),
    200,
    202,
)


@rule(
    "R-UPD-1.same-operation",
    MUST,
    "An update request that is repeated during the operation returns 202 with the same operation.",
    at(Situation.UPDATED_AGAIN_WHILE_UPDATED),
)
def again_in_progress(observation: Observation) -> str | None:
    """Check the repeated request: the platform needs the operation to poll."""
    return same_operation(observation)


@rule(
    "R-UPD-1.stored",
    SHOULD,
    "After an update, a fetch returns the new parameters or the new plan.",
    at(Situation.FETCHED_AFTER_PARAMETERS, Situation.FETCHED_AFTER_PLAN),
)
def stored(observation: Observation) -> str | None:
    """Compare the fields, if the broker returns them."""
    plan = observation.document.get("plan_id")
    if observation.situation is Situation.FETCHED_AFTER_PLAN:
        if plan is not None and plan != observation.facts["plan_id"]:
            return f"returned the plan_id {plan!r} after an update to {observation.facts['plan_id']!r}"
        return None
    return parameter_mismatch(observation)


@rule(
    "R-UPD-2.plan-unchanged",
    MUST,
    "An update request without plan_id does not change the plan.",
    at(Situation.FETCHED_AFTER_PARAMETERS, Situation.FETCHED_AFTER_CONTEXT),
)
def plan_unchanged(observation: Observation) -> str | None:
    """Compare the plan with that before the update."""
    value = observation.document.get("plan_id")
    if value is not None and value != observation.facts["plan_id"]:
        return (
            f"returned the plan_id {value!r} after an update without plan_id,"
            f" expected {observation.facts['plan_id']!r}"
        )
    return None


@rule(
    "R-UPD-2.parameters-unchanged",
    MUST,
    "An update request without parameters does not change the parameters.",
    at(Situation.FETCHED_AFTER_PLAN, Situation.FETCHED_AFTER_CONTEXT),
)
def parameters_unchanged(observation: Observation) -> str | None:
    """Compare the parameters with those before the update."""
    (previous,) = observation.previous
    old, new = (previous.document or {}).get("parameters"), observation.document.get("parameters")
    if old is not None and new is not None and old != new:
        return "returned other parameters after an update without parameters"
    return None


expects(
    "R-UPD-3.not-updateable",
    MUST,
    "A plan change that the current plan does not allow is rejected with 422.",
    at(Situation.UPDATED_TO_PLAN_THOUGH_NOT_UPDATEABLE),
    422,
)


@rule(
    "R-UPD-3.unknown-plan",
    MUST,
    "An update request for an unknown plan, or a plan of another offering, is rejected with a 4xx status.",
    at(Situation.UPDATED_TO_UNKNOWN_PLAN),
)
def unknown_plan(observation: Observation) -> str | None:
    """Check the status code; the specification does not say which 4xx."""
    return check_refused(observation, 400)


expects(
    "R-UPD-4.context",
    MUST,
    "If the offering has allow_context_updates, an update of the context alone is accepted.",
    at(Situation.UPDATED_CONTEXT),
    200,
    202,
)


@rule(
    "R-UPD-5.async-required",
    MUST,
    "An update request without accepts_incomplete=true returns 200 or 422 AsyncRequired, never 202.",
    at(Situation.UPDATED_WITHOUT_POLLING),
)
def async_required(observation: Observation) -> str | None:
    """Check that the response is not 202; rules for asynchronous updates check other rejections."""
    return check_status(observation, 200, (422, "AsyncRequired")) if observation.status == 202 else None


expects(
    "R-UPD-5.conflict",
    MUST,
    "An update request with an outdated maintenance_info version returns 422 MaintenanceInfoConflict.",
    at(Situation.UPDATE_TO_OTHER_VERSION),
    (422, "MaintenanceInfoConflict"),
)
expects(
    "R-UPD-5.schema",
    SHOULD,
    "An update request with parameters that violate the plan's schema is rejected with 400.",
    at(Situation.UPDATE_AGAINST_SCHEMA),
    400,
)
expects(
    "R-UPD-5.required",
    MUST,
    "An update request without service_id is rejected with 400.",
    at(Situation.UPDATE_WITHOUT_SERVICE),
    400,
)


@rule(
    "R-UPD-5.concurrency",
    MUST,
    "Another update request during an update is rejected with 422 ConcurrencyError.",
    at(Situation.UPDATED_WITH_OTHER_PARAMETERS_WHILE_UPDATED),
)
def concurrency(observation: Observation) -> str | None:
    """Check the status code, unless the broker may have rejected generated parameters first."""
    return None if refused_for_generated_values(observation) else check_status(observation, _CONCURRENCY)


@rule(
    "R-UPD-5.while-created",
    MUST,
    "An update request while the service instance is being created returns 422 ConcurrencyError or 404.",
    at(Situation.UPDATED_IN_PROGRESS),
)
def while_created(observation: Observation) -> str | None:
    """Check the status code, unless the broker may have rejected generated parameters first."""
    return None if refused_for_generated_values(observation) else check_status(observation, _CONCURRENCY, 404)


@rule(
    "R-UPD-5.unknown",
    MUST,
    "An update request for a service instance that does not exist is rejected with a 4xx status.",
    at(Situation.UNKNOWN_UPDATED),
)
def unknown(observation: Observation) -> str | None:
    """Check the status code; the specification does not say which 4xx, but 404 fits best."""
    return check_refused(observation, 404)


@rule(
    "R-UPD-5.while-deleted",
    MUST,
    "An update request while the service instance is being deleted returns a 4xx status.",
    at(Situation.UPDATED_WHILE_DELETED),
)
def while_deleted(observation: Observation) -> str | None:
    """Check the status code; the broker may report concurrency or a missing instance."""
    return check_refused(observation, _CONCURRENCY)


expects(
    "R-UPD-6.previous-plan",
    MUST,
    "Polling a plan change with the previous plan_id returns 200.",
    at(Situation.POLLED_WITH_PREVIOUS_PLAN),
    200,
)
