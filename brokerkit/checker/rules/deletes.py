"""R-UNB and R-DEL: deleting a service binding, and a service instance."""

from __future__ import annotations

from ...requests import Operation
from ..rule import INTEROP, MUST, Observation, Rule, RuleSet, at, responses, unless_status
from ..situations import Situation
from ._helpers import faults, same_operation

RULES: list[Rule] = []
_chapter = RuleSet(RULES)
rule, expects = _chapter.rule, _chapter.expects

_WAIT = (422, "ConcurrencyError")


def _halted(seen: Observation) -> str | None:
    """Where the broker never says of anything that it is gone, another rule tells that already."""
    return None if seen.status == seen.facts["again"] else unless_status(seen, 410)


def _of(prefix: str, what: str, operation: Operation, *unknown: Situation, **situations: Situation) -> None:
    """The rules that hold for both: an unbind, and a deprovision."""
    expects(
        f"{prefix}-1.deleted",
        MUST,
        f"A {what} that is deleted is answered with 200, or with 202 while it is in progress.",
        at(situations["deleted"]),
        200,
        202,
    )
    rule(
        f"{prefix}-1.operation",
        MUST,
        "The operation of a 202 is a string of 1 to 10,000 characters, if there is one.",
        responses(operation, statuses=(202,)),
    )(lambda seen: faults(seen, "operation"))
    rule(
        f"{prefix}-1.same-operation",
        MUST,
        "A delete that is sent again while it is in progress is answered with 202 and the same operation.",
        at(situations["again"]),
    )(same_operation)
    expects(
        f"{prefix}-1.gone",
        MUST,
        f"Deleting a {what} that is deleted already is 410.",
        at(situations["gone"]),
        410,
    )
    expects(
        f"{prefix}-1.unknown",
        MUST,
        f"Deleting a {what} that never existed is 410.",
        at(*unknown),
        410,
    )
    expects(
        f"{prefix}-2.required",
        MUST,
        "A delete without service_id or plan_id is refused with 400.",
        at(situations["without_ids"]),
        400,
    )
    rule(
        f"{prefix}-2.async-required",
        MUST,
        "A platform that cannot poll gets its delete at once, or 422 AsyncRequired; never 202.",
        at(situations["without_polling"]),
    )(lambda seen: unless_status(seen, 200, (422, "AsyncRequired")) if seen.status == 202 else None)
    rule(
        f"{prefix}-4.operation-told",
        INTEROP,
        "A 202 to a delete has an operation; Korifi takes one without for done.",
        responses(operation, statuses=(202,)),
    )(
        lambda seen: (
            None if seen.document.get("operation") is not None else "answered 202 without an operation"
        )
    )


_of(
    "R-UNB",
    "service binding",
    Operation.UNBIND,
    Situation.UNBOUND_UNKNOWN,
    Situation.UNBOUND_ELSEWHERE,
    deleted=Situation.UNBOUND,
    again=Situation.UNBOUND_AGAIN_IN_PROGRESS,
    gone=Situation.UNBOUND_WHEN_GONE,
    without_ids=Situation.UNBOUND_WITHOUT_IDS,
    without_polling=Situation.UNBOUND_WITHOUT_POLLING,
)
_of(
    "R-DEL",
    "service instance",
    Operation.DEPROVISION,
    Situation.UNKNOWN_DEPROVISIONED,
    deleted=Situation.DEPROVISIONED,
    again=Situation.DEPROVISIONED_AGAIN_IN_PROGRESS,
    gone=Situation.DEPROVISIONED_WHEN_GONE,
    without_ids=Situation.DEPROVISIONED_WITHOUT_IDS,
    without_polling=Situation.DEPROVISIONED_WITHOUT_POLLING,
)
expects(
    "R-UNB-3.while-created",
    MUST,
    "A delete of a service binding that is being made is accepted, or 422 ConcurrencyError.",
    at(Situation.UNBOUND_WHILE_CREATED),
    200,
    202,
    _WAIT,
)
rule(
    "R-UNB-3.halted",
    MUST,
    "A delete that was accepted while a service binding was being made leaves none: it is 410 then.",
    at(Situation.UNBOUND_AFTER_HALT),
)(_halted)
expects(
    "R-UNB-3.not-there",
    MUST,
    "A service binding whose bind was halted by a delete cannot be fetched: 404.",
    at(Situation.BINDING_FETCHED_AFTER_HALT),
    404,
)
expects(
    "R-UNB-1.instance-gone",
    MUST,
    "Deleting a service binding whose service instance is deleted is 410.",
    at(Situation.UNKNOWN_UNBOUND),
    410,
)


@rule(
    "R-UNB-1.others-stay",
    MUST,
    "Deleting a service binding leaves the others of its instance, also its successor (R-BIND-6).",
    at(Situation.OTHER_BINDING_AFTER_UNBIND),
)
def others_stay(seen: Observation) -> str | None:
    """A fetch found it before, or it was bound already."""
    if seen.status in ((404, 410) if seen.operation is Operation.GET_BINDING else (201, 202)):
        return f"answered {seen.status} when another binding was deleted, and {seen.before[0].status} before"
    return None


expects(
    "R-DEL-3.while-created",
    MUST,
    "A delete of a service instance that is being provisioned is accepted, or 422 ConcurrencyError.",
    at(Situation.DEPROVISIONED_WHILE_CREATED),
    200,
    202,
    _WAIT,
)
rule(
    "R-DEL-3.halted",
    MUST,
    "A delete that was accepted while a service instance was being provisioned leaves none: it is 410 then.",
    at(Situation.DEPROVISIONED_AFTER_HALT),
)(_halted)
expects(
    "R-DEL-3.not-there",
    MUST,
    "A service instance whose provision was halted by a delete cannot be fetched: 404.",
    at(Situation.FETCHED_AFTER_HALT),
    404,
)
expects(
    "R-DEL-5.after-failure",
    MUST,
    "What a provision that failed left behind can be deleted.",
    at(Situation.DEPROVISIONED_AFTER_FAILURE),
    200,
    202,
    410,
)
