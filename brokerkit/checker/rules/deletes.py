"""R-UNB and R-DEL: rules for deleting service bindings and service instances."""

from __future__ import annotations

from ...requests import Operation
from ..rule import INTEROP, MUST, Observation, Rule, RuleSet, at, check_status, responses
from ..situations import Situation
from ._helpers import faults, same_operation

RULES: list[Rule] = []
_rule_set = RuleSet(RULES)
rule, expects = _rule_set.rule, _rule_set.expects

_CONCURRENCY = (422, "ConcurrencyError")


def _cancelled(observation: Observation) -> str | None:
    """Check that a deleted resource is gone, unless the broker never returns 410."""
    return None if observation.status == observation.facts["again"] else check_status(observation, 410)


def _deletion_rules(
    prefix: str, noun: str, operation: Operation, *unknown: Situation, **situations: Situation
) -> None:
    """Define the rules that unbind and deprovision requests share."""
    expects(
        f"{prefix}-1.deleted",
        MUST,
        f"Deleting a {noun} returns 200, or 202 if the operation is asynchronous.",
        at(situations["deleted"]),
        200,
        202,
    )
    rule(
        f"{prefix}-1.operation",
        MUST,
        "The operation in a 202 response, if present, is a string of 1 to 10,000 characters.",
        responses(operation, statuses=(202,)),
    )(lambda observation: faults(observation, "operation"))
    rule(
        f"{prefix}-1.same-operation",
        MUST,
        "A DELETE request that is repeated during the operation returns 202 with the same operation.",
        at(situations["again"]),
    )(same_operation)
    expects(
        f"{prefix}-1.gone",
        MUST,
        f"Deleting a {noun} that is already deleted returns 410.",
        at(situations["gone"]),
        410,
    )
    expects(
        f"{prefix}-1.unknown",
        MUST,
        f"Deleting a {noun} that never existed returns 410.",
        at(*unknown),
        410,
    )
    expects(
        f"{prefix}-2.required",
        MUST,
        "A DELETE request without service_id or plan_id is rejected with 400.",
        at(situations["without_ids"]),
        400,
    )
    rule(
        f"{prefix}-2.async-required",
        MUST,
        "A DELETE request without accepts_incomplete=true returns 200 or 422 AsyncRequired, never 202.",
        at(situations["without_polling"]),
    )(
        lambda observation: (
            check_status(observation, 200, (422, "AsyncRequired")) if observation.status == 202 else None
        )
    )
    rule(
        f"{prefix}-4.operation-present",
        INTEROP,
        "A 202 response to a DELETE request contains an operation; Korifi treats a missing one as completed.",
        responses(operation, statuses=(202,)),
    )(
        lambda observation: (
            None if observation.document.get("operation") is not None else "returned 202 without an operation"
        )
    )


_deletion_rules(
    "R-UNB",
    "service binding",
    Operation.UNBIND,
    Situation.UNBOUND_UNKNOWN,
    Situation.UNBOUND_UNDER_OTHER_INSTANCE,
    deleted=Situation.UNBOUND,
    again=Situation.UNBOUND_AGAIN_IN_PROGRESS,
    gone=Situation.UNBOUND_AFTER_DELETION,
    without_ids=Situation.UNBOUND_WITHOUT_IDS,
    without_polling=Situation.UNBOUND_WITHOUT_POLLING,
)
_deletion_rules(
    "R-DEL",
    "service instance",
    Operation.DEPROVISION,
    Situation.UNKNOWN_DEPROVISIONED,
    deleted=Situation.DEPROVISIONED,
    again=Situation.DEPROVISIONED_AGAIN_IN_PROGRESS,
    gone=Situation.DEPROVISIONED_AFTER_DELETION,
    without_ids=Situation.DEPROVISIONED_WITHOUT_IDS,
    without_polling=Situation.DEPROVISIONED_WITHOUT_POLLING,
)
expects(
    "R-UNB-3.while-created",
    MUST,
    "Deleting a service binding that is being created is accepted, or rejected with 422 ConcurrencyError.",
    at(Situation.UNBOUND_WHILE_CREATED),
    200,
    202,
    _CONCURRENCY,
)
rule(
    "R-UNB-3.cancelled",
    MUST,
    "A service binding deleted while it was being created no longer exists: another DELETE returns 410.",
    at(Situation.UNBOUND_AFTER_CANCELLATION),
)(_cancelled)
expects(
    "R-UNB-3.not-found",
    MUST,
    "Fetching a service binding whose creation was cancelled by a DELETE returns 404.",
    at(Situation.BINDING_FETCHED_AFTER_CANCELLATION),
    404,
)
expects(
    "R-UNB-1.instance-gone",
    MUST,
    "Deleting a service binding of a deleted service instance returns 410.",
    at(Situation.UNKNOWN_UNBOUND),
    410,
)


@rule(
    "R-UNB-1.others-unaffected",
    MUST,
    "Deleting a service binding does not affect other bindings of the instance or its successor (R-BIND-6).",
    at(Situation.OTHER_BINDING_AFTER_UNBIND),
)
def others_unaffected(observation: Observation) -> str | None:
    """Check another binding that existed before the deletion."""
    if observation.status in ((404, 410) if observation.operation is Operation.GET_BINDING else (201, 202)):
        return (
            f"returned {observation.status} for another binding after the deletion,"
            f" but {observation.previous[0].status} before it"
        )
    return None


expects(
    "R-DEL-3.while-created",
    MUST,
    "Deleting a service instance that is being created is accepted, or rejected with 422 ConcurrencyError.",
    at(Situation.DEPROVISIONED_WHILE_CREATED),
    200,
    202,
    _CONCURRENCY,
)
rule(
    "R-DEL-3.cancelled",
    MUST,
    "A service instance deleted while it was being created no longer exists: another DELETE returns 410.",
    at(Situation.DEPROVISIONED_AFTER_CANCELLATION),
)(_cancelled)
expects(
    "R-DEL-3.not-found",
    MUST,
    "Fetching a service instance whose creation was cancelled by a DELETE returns 404.",
    at(Situation.FETCHED_AFTER_CANCELLATION),
    404,
)
expects(
    "R-DEL-5.after-failure",
    MUST,
    "A service instance whose provision failed can be deleted.",
    at(Situation.DEPROVISIONED_AFTER_FAILURE),
    200,
    202,
    410,
)
