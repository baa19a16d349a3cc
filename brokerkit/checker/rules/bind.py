"""R-BIND: rules for creating service bindings."""

from __future__ import annotations

import re
from datetime import datetime

from ...requests import Operation
from ..rule import MUST, SHOULD, Observation, Rule, RuleSet, at, check_refused, check_status, responses
from ..situations import Situation
from ._helpers import (
    BINDING_FIELDS,
    faults,
    one_winner,
    parameter_mismatch,
    refused_for_generated_values,
    same_operation,
)

RULES: list[Rule] = []
_rule_set = RuleSet(RULES)
rule, expects = _rule_set.rule, _rule_set.expects

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_BINDINGS = responses(Operation.BIND, Operation.GET_BINDING, statuses=(200, 201))
_PERMISSIONS = {
    "syslog_drain_url": "syslog_drain",
    "route_service_url": "route_forwarding",
    "volume_mounts": "volume_mount",
}
_CONCURRENCY, _NO_APP = (422, "ConcurrencyError"), (422, "RequiresApp")

expects(
    "R-BIND-1.created",
    MUST,
    "A bind request for a new service binding returns 201, or 202 if the operation is asynchronous.",
    at(Situation.BOUND),
    201,
    202,
)


@rule(
    "R-BIND-1.body",
    MUST,
    "The fields of a service binding have valid types: credentials is an object, URLs are strings.",
    _BINDINGS,
)
def body(observation: Observation) -> str | None:
    """Check the optional fields of a service binding."""
    return faults(observation, "credentials", "syslog_drain_url", "route_service_url", "parameters")


@rule(
    "R-BIND-1.empty-202",
    MUST,
    "A 202 response to a bind request contains no credentials and no other field of the service binding.",
    responses(Operation.BIND, statuses=(202,)),
)
def empty_202(observation: Observation) -> str | None:
    """Check that the fields are absent: the platform fetches them after the operation."""
    names = [name for name in BINDING_FIELDS if observation.document.get(name) is not None]
    return f"returned 202 with {' and '.join(names)}" if names else None


@rule(
    "R-BIND-1.operation",
    MUST,
    "The operation in a 202 response to a bind request, if present, is a string of 1 to 10,000 characters.",
    responses(Operation.BIND, statuses=(202,)),
)
def operation(observation: Observation) -> str | None:
    """Check the length: platforms store the operation in a column of this size."""
    return faults(observation, "operation")


@rule(
    "R-BIND-1.same-operation",
    MUST,
    "A bind request that is repeated during the operation returns 202 with the same operation.",
    at(Situation.BOUND_AGAIN_IN_PROGRESS),
)
def again_in_progress(observation: Observation) -> str | None:
    """Check the repeated request: the platform needs the operation to poll."""
    return same_operation(observation)


expects(
    "R-BIND-1.again",
    MUST,
    "A bind request that is repeated with identical attributes after the operation returns 200.",
    at(Situation.BOUND_AGAIN),
    200,
)


@rule(
    "R-BIND-1.same-binding",
    SHOULD,
    "A repeated bind request returns the same credentials.",
    at(Situation.BOUND_AGAIN),
)
def same_binding(observation: Observation) -> str | None:
    """Compare the credentials with those of a synchronous bind request."""
    (first,) = observation.previous
    credentials = (first.document or {}).get("credentials")
    if observation.status != 200 or first.status not in (200, 201) or credentials is None:
        return None
    return (
        None
        if observation.document.get("credentials") == credentials
        else "returned other credentials than before"
    )


@rule(
    "R-BIND-1.concurrent",
    MUST,
    "Of several concurrent bind requests for one id, only one creates the service binding.",
    at(Situation.BOUND_CONCURRENTLY),
)
def concurrent(observation: Observation) -> str | None:
    """Check that the other requests report an existing binding, an operation in progress or a conflict."""
    return one_winner(observation)


@rule(
    "R-BIND-1.other-attributes",
    MUST,
    "A bind request for an existing id with different attributes is rejected with 409.",
    at(Situation.BOUND_WITH_OTHER_ATTRIBUTES),
)
def other_attributes(observation: Observation) -> str | None:
    """Check the status code, unless the broker may have rejected generated values first."""
    return None if refused_for_generated_values(observation) else check_status(observation, 409)


@rule(
    "R-BIND-2.requires",
    MUST,
    "A log drain, route service or volume mount is returned only if `requires` of the offering names it.",
    _BINDINGS,
)
def requires(observation: Observation) -> str | None:
    """Check the permissions: the platform grants only those that the offering requires."""
    names = observation.facts.get("requires")
    if names is None:
        return None
    wrong = [
        field
        for field, permission in _PERMISSIONS.items()
        if observation.document.get(field) and permission not in names
    ]
    return (
        f"returned {wrong[0]}, but the offering does not require {_PERMISSIONS[wrong[0]]}" if wrong else None
    )


@rule(
    "R-BIND-3.networks",
    MUST,
    "The volume mounts and endpoints of a service binding have all required fields, with valid types.",
    _BINDINGS,
)
def networks(observation: Observation) -> str | None:
    """Check the required fields of each entry."""
    return faults(observation, "volume_mounts", "endpoints")


@rule(
    "R-BIND-4.times",
    MUST,
    "Times have the format yyyy-mm-ddThh:mm:ss.sZ; renew_before is not after expires_at.",
    _BINDINGS,
)
def times(observation: Observation) -> str | None:
    """Check that the times are in UTC and in the right order."""
    metadata = observation.document.get("metadata")
    if isinstance(metadata, dict):
        for name in ("expires_at", "renew_before"):
            value = metadata.get(name)
            if value is not None and not _is_valid_time(value):
                return (
                    f"returned metadata.{name} in another format than yyyy-mm-ddThh:mm:ss.sZ: {value!r:.60}"
                )
    return faults(observation, "metadata")


def _is_valid_time(value: object) -> bool:
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


@rule(
    "R-BIND-5.refusals",
    MUST,
    "A bind request without accepts_incomplete=true or an application returns 201, 422 AsyncRequired or"
    " 422 RequiresApp, never 202.",
    at(Situation.BOUND_WITHOUT_POLLING),
)
def bind_refusals(observation: Observation) -> str | None:
    """Check that the response is never 202."""
    return (
        check_status(observation, 201, (422, "AsyncRequired"), (422, "RequiresApp"))
        if observation.status == 202
        else None
    )


expects(
    "R-BIND-5.not-bindable",
    MUST,
    "A bind request for a plan that is not bindable is rejected with 400.",
    at(Situation.BOUND_THOUGH_NOT_BINDABLE),
    400,
)


@rule(
    "R-BIND-5.unknown-instance",
    MUST,
    "A bind request for a service instance that does not exist is rejected with 404.",
    at(Situation.UNKNOWN_BOUND),
)
def unknown_instance(observation: Observation) -> str | None:
    """Check the status code, unless the broker may have rejected generated values first."""
    return None if refused_for_generated_values(observation) else check_status(observation, 404)


@rule(
    "R-BIND-5.while-created",
    MUST,
    "A bind request while the service instance is being created returns 422 ConcurrencyError or 404.",
    at(Situation.BOUND_IN_PROGRESS),
)
def while_created(observation: Observation) -> str | None:
    """Check the status code; the broker may reject generated values or a missing application first."""
    return (
        None
        if refused_for_generated_values(observation)
        else check_status(observation, _CONCURRENCY, 404, _NO_APP)
    )


@rule(
    "R-BIND-5.while-updated",
    MUST,
    "A bind request while the service instance is being updated returns 422 ConcurrencyError.",
    at(Situation.BOUND_WHILE_UPDATED),
)
def while_updated(observation: Observation) -> str | None:
    """Check the status code; the broker may reject generated values or a missing application first."""
    return (
        None
        if refused_for_generated_values(observation)
        else check_status(observation, _CONCURRENCY, _NO_APP)
    )


@rule(
    "R-BIND-5.while-deleted",
    MUST,
    "A bind request while the service instance is being deleted returns a 4xx status.",
    at(Situation.BOUND_WHILE_DELETED),
)
def while_deleted(observation: Observation) -> str | None:
    """Check the status code; the broker may report concurrency or a missing instance."""
    return check_refused(observation, _CONCURRENCY)


expects(
    "R-BIND.required",
    MUST,
    "A bind request without service_id or plan_id is rejected with 400.",
    at(Situation.BIND_WITHOUT_FIELD),
    400,
)


@rule(
    "R-BIND.unknown-plan",
    SHOULD,
    "A bind request for an unknown plan, or a plan of another offering, is rejected with a 4xx status.",
    at(Situation.BIND_OF_UNKNOWN_PLAN),
)
def unknown_plan(observation: Observation) -> str | None:
    """Check the status code; the specification does not say which 4xx."""
    return check_refused(observation, 400)


expects(
    "R-BIND.schema",
    SHOULD,
    "A bind request with parameters that violate the plan's schema is rejected with 400.",
    at(Situation.BIND_AGAINST_SCHEMA),
    400,
)
expects(
    "R-BIND-6.rotation",
    MUST,
    "If the plan is binding_rotatable, a bind request with predecessor_binding_id creates a successor.",
    at(Situation.ROTATED),
    201,
    202,
)


@rule(
    "R-BIND-6.unknown-predecessor",
    MUST,
    "A bind request with an unknown predecessor_binding_id is rejected with a 4xx status.",
    at(Situation.ROTATED_FROM_UNKNOWN),
)
def unknown_predecessor(observation: Observation) -> str | None:
    """Check the status code; the specification does not say which 4xx."""
    return check_refused(observation, 400)


expects(
    "R-BIND-6.both-valid",
    MUST,
    "A predecessor can still be fetched after its successor was created.",
    at(Situation.PREDECESSOR_FETCHED),
    200,
)


@rule(
    "R-BIND-6.parameters",
    MUST,
    "A successor inherits the parameters of its predecessor, unless the request contains other parameters.",
    at(Situation.SUCCESSOR_FETCHED),
)
def successor_parameters(observation: Observation) -> str | None:
    """Compare the parameters, if the broker returned those of the predecessor."""
    (predecessor,) = observation.previous
    if (
        (predecessor.document or {}).get("parameters")
        and observation.status == 200
        and not observation.document.get("parameters")
    ):
        return "returned parameters for the predecessor, but none for the successor"
    return parameter_mismatch(observation)
