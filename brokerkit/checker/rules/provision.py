"""R-PROV: rules for creating service instances."""

from __future__ import annotations

from ...requests import Operation
from ..rule import INTEROP, MUST, SHOULD, Observation, Rule, RuleSet, at, check_status, responses
from ..situations import Situation
from ._helpers import faults, one_winner, same_operation

RULES: list[Rule] = []
_rule_set = RuleSet(RULES)
rule, expects = _rule_set.rule, _rule_set.expects

expects(
    "R-PROV-1.created",
    MUST,
    "A provision request for a new service instance returns 201, or 202 if the operation is asynchronous.",
    at(Situation.PROVISIONED),
    201,
    202,
)


@rule(
    "R-PROV-1.body",
    MUST,
    "The fields dashboard_url and metadata of a provision response, if present, have valid types.",
    responses(Operation.PROVISION, statuses=(200, 201, 202)),
)
def body(observation: Observation) -> str | None:
    """Check both optional fields."""
    return faults(observation, "dashboard_url", "metadata")


@rule(
    "R-PROV-1.operation",
    MUST,
    "The operation in a 202 response, if present, is a string of 1 to 10,000 characters.",
    responses(Operation.PROVISION, Operation.UPDATE, statuses=(202,)),
)
def operation(observation: Observation) -> str | None:
    """Check the length: platforms store the operation in a column of this size."""
    return faults(observation, "operation")


@rule(
    "R-PROV-2.dashboard-url",
    INTEROP,
    "A dashboard_url in a fetch response is also in the provision response, where platforms read it.",
    at(Situation.FETCHED),
)
def dashboard_url(observation: Observation) -> str | None:
    """Compare the responses; this includes a 202 response."""
    (created,) = observation.previous
    if created.document is None:  # Another rule reports the missing body.
        return None
    if observation.document.get("dashboard_url") and not created.document.get("dashboard_url"):
        return (
            f"returned a dashboard_url to a fetch, but not in the {created.status} to the provision request"
        )
    return None


expects(
    "R-PROV-3.again",
    MUST,
    "A provision request that is repeated with identical attributes after the operation returns 200.",
    at(Situation.PROVISIONED_AGAIN),
    200,
)


@rule(
    "R-PROV-3.concurrent",
    MUST,
    "Of several concurrent provision requests for one id, only one creates the service instance.",
    at(Situation.PROVISIONED_CONCURRENTLY),
)
def concurrent(observation: Observation) -> str | None:
    """Check that the other requests report an existing instance, an operation in progress or a conflict."""
    return one_winner(observation)


@rule(
    "R-PROV-4.same-operation",
    MUST,
    "A provision request that is repeated during the operation returns 202 with the same operation.",
    at(Situation.PROVISIONED_AGAIN_IN_PROGRESS),
)
def again_in_progress(observation: Observation) -> str | None:
    """Check the repeated request: the platform needs the operation to poll."""
    return same_operation(observation)


expects(
    "R-PROV-5.other-parameters",
    MUST,
    "A provision request for an existing id with different parameters is rejected with 409.",
    at(Situation.PROVISIONED_WITH_OTHER_PARAMETERS),
    409,
)
expects(
    "R-PROV-5.other-plan",
    MUST,
    "A provision request for an existing id with a different plan is rejected with 409.",
    at(Situation.PROVISIONED_WITH_OTHER_PLAN),
    409,
)
expects(
    "R-PROV-5.in-progress",
    MUST,
    "A provision request with different attributes during the first operation is rejected with 409.",
    at(Situation.PROVISIONED_WITH_OTHER_ATTRIBUTES_IN_PROGRESS),
    409,
)
expects(
    "R-PROV-6.required",
    MUST,
    "A provision request without service_id or plan_id is rejected with 400.",
    at(Situation.PROVISION_WITHOUT_FIELD),
    400,
)
expects(
    "R-PROV-6.organization",
    SHOULD,
    "A provision request without organization and space, in the body or the context, is rejected with 400.",
    at(Situation.PROVISION_WITHOUT_ORGANIZATION),
    400,
)
expects(
    "R-PROV-6.unknown-offering",
    MUST,
    "A provision request for an unknown offering is rejected with 400.",
    at(Situation.PROVISION_OF_UNKNOWN_OFFERING),
    400,
)
expects(
    "R-PROV-6.unknown-plan",
    MUST,
    "A provision request for an unknown plan is rejected with 400.",
    at(Situation.PROVISION_OF_UNKNOWN_PLAN),
    400,
)
expects(
    "R-PROV-6.other-offering",
    MUST,
    "A provision request for a plan of another offering is rejected with 400.",
    at(Situation.PROVISION_OF_PLAN_OF_OTHER_OFFERING),
    400,
)
expects(
    "R-PROV-6.schema",
    MUST,
    "A provision request with parameters that violate the plan's schema is rejected with 400.",
    at(Situation.PROVISION_AGAINST_SCHEMA),
    400,
)


@rule(
    "R-PROV-7.async-required",
    MUST,
    "A provision request without accepts_incomplete=true returns 201 or 422 AsyncRequired, never 202.",
    at(Situation.PROVISIONED_WITHOUT_POLLING),
)
def async_required(observation: Observation) -> str | None:
    """Check requests that succeed with accepts_incomplete=true; others may be rejected for other reasons."""
    if observation.status == 202 or observation.facts.get("then") is not None:
        return check_status(observation, 201, (422, "AsyncRequired"))
    return None


expects(
    "R-PROV-8.conflict",
    MUST,
    "A provision request with an outdated maintenance_info version returns 422 MaintenanceInfoConflict.",
    at(Situation.PROVISION_OF_OTHER_VERSION),
    (422, "MaintenanceInfoConflict"),
)
expects(
    "R-PROV-8.accepted",
    MUST,
    "A provision request with the maintenance_info version of the catalog is accepted.",
    at(Situation.PROVISIONED_WITH_VERSION),
    200,
    201,
    202,
)
