"""R-BIND: making a service binding."""

from __future__ import annotations

import re
from datetime import datetime

from ...requests import Operation
from ..rule import MUST, SHOULD, Observation, Rule, RuleSet, at, responses, unless_refused, unless_status
from ..situations import Situation
from ._helpers import OF_A_BINDING, differs, displeases, faults, one_winner, same_operation

RULES: list[Rule] = []
_chapter = RuleSet(RULES)
rule, expects = _chapter.rule, _chapter.expects

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_BINDINGS = responses(Operation.BIND, Operation.GET_BINDING, statuses=(200, 201))
_NEEDED = {
    "syslog_drain_url": "syslog_drain",
    "route_service_url": "route_forwarding",
    "volume_mounts": "volume_mount",
}
_WAIT, _NO_APP = (422, "ConcurrencyError"), (422, "RequiresApp")

expects(
    "R-BIND-1.created",
    MUST,
    "A new service binding is answered with 201, or with 202 while it is in progress.",
    at(Situation.BOUND),
    201,
    202,
)


@rule(
    "R-BIND-1.body",
    MUST,
    "The fields of a binding have the right types: credentials is an object, addresses are strings.",
    _BINDINGS,
)
def body(seen: Observation) -> str | None:
    """All are optional."""
    return faults(seen, "credentials", "syslog_drain_url", "route_service_url", "parameters")


@rule(
    "R-BIND-1.nothing-in-202",
    MUST,
    "A 202 to a bind has the operation alone; no credentials, nor anything else of the binding.",
    responses(Operation.BIND, statuses=(202,)),
)
def nothing_in_202(seen: Observation) -> str | None:
    """They are fetched when it is done."""
    told = [name for name in OF_A_BINDING if seen.document.get(name) is not None]
    return f"answered 202 with {' and '.join(told)} in it" if told else None


@rule(
    "R-BIND-1.operation",
    MUST,
    "The operation of a 202 to a bind is a string of 1 to 10,000 characters, if there is one.",
    responses(Operation.BIND, statuses=(202,)),
)
def operation(seen: Observation) -> str | None:
    """Platforms keep it in a column of that size."""
    return faults(seen, "operation")


@rule(
    "R-BIND-1.same-operation",
    MUST,
    "A bind that is sent again while it is in progress is answered with 202 and the same operation.",
    at(Situation.BOUND_AGAIN_IN_PROGRESS),
)
def again_in_progress(seen: Observation) -> str | None:
    """So the platform can go on polling."""
    return same_operation(seen)


expects(
    "R-BIND-1.again",
    MUST,
    "A bind that is sent again with the same attributes, when it is done, is answered with 200.",
    at(Situation.BOUND_AGAIN),
    200,
)


@rule(
    "R-BIND-1.same-binding",
    SHOULD,
    "A bind that is sent again is answered with the same credentials.",
    at(Situation.BOUND_AGAIN),
)
def same_binding(seen: Observation) -> str | None:
    """Of a bind that was done at once."""
    (first,) = seen.before
    was = (first.document or {}).get("credentials")
    if seen.status != 200 or first.status not in (200, 201) or was is None:
        return None
    return None if seen.document.get("credentials") == was else "answered with other credentials than before"


@rule(
    "R-BIND-1.at-once",
    MUST,
    "Of binds of one id that arrive at once only one makes the service binding.",
    at(Situation.BOUND_AT_ONCE_BY_MANY),
)
def at_once(seen: Observation) -> str | None:
    """The others find it there, or in progress, or are told to wait."""
    return one_winner(seen)


@rule(
    "R-BIND-1.other-attributes",
    MUST,
    "A bind of an id that exists with other attributes is refused with 409.",
    at(Situation.BOUND_OTHERWISE),
)
def other_attributes(seen: Observation) -> str | None:
    """Those that were made up may displease a broker before it sees that it exists."""
    return None if displeases(seen) else unless_status(seen, 409)


@rule(
    "R-BIND-2.requires",
    MUST,
    "A drain, a route service or a volume mount comes only from an offering whose `requires` names it.",
    _BINDINGS,
)
def requires(seen: Observation) -> str | None:
    """The platform gave no permission for it otherwise."""
    names = seen.facts.get("requires")
    if names is None:
        return None
    wrong = [field for field, need in _NEEDED.items() if seen.document.get(field) and need not in names]
    return (
        f"answered with {wrong[0]}, but the offering does not require {_NEEDED[wrong[0]]}" if wrong else None
    )


@rule(
    "R-BIND-3.networks",
    MUST,
    "Volume mounts and endpoints of a binding have all that they need, of the right types.",
    _BINDINGS,
)
def networks(seen: Observation) -> str | None:
    """Each has required fields of its own."""
    return faults(seen, "volume_mounts", "endpoints")


@rule(
    "R-BIND-4.times",
    MUST,
    "Times of a binding are written yyyy-mm-ddThh:mm:ss.sZ, and renew_before is not after expires_at.",
    _BINDINGS,
)
def times(seen: Observation) -> str | None:
    """In UTC, always."""
    metadata = seen.document.get("metadata")
    if isinstance(metadata, dict):
        for name in ("expires_at", "renew_before"):
            told = metadata.get(name)
            if told is not None and not _is_time(told):
                return f"answered with a metadata.{name} that is not yyyy-mm-ddThh:mm:ss.sZ: {told!r:.60}"
    return faults(seen, "metadata")


def _is_time(told: object) -> bool:
    if not isinstance(told, str) or not _TIME.fullmatch(told):
        return False
    try:
        datetime.fromisoformat(told)
    except ValueError:
        return False
    return True


@rule(
    "R-BIND-5.refusals",
    MUST,
    "A platform that cannot poll, or names no application, gets its binding at once, or 422 AsyncRequired or"
    " RequiresApp.",
    at(Situation.BOUND_WITHOUT_POLLING),
)
def bind_refusals(seen: Observation) -> str | None:
    """Never 202."""
    return (
        unless_status(seen, 201, (422, "AsyncRequired"), (422, "RequiresApp")) if seen.status == 202 else None
    )


expects(
    "R-BIND-5.not-bindable",
    MUST,
    "A bind of a plan that is not bindable is refused with 400.",
    at(Situation.BOUND_THOUGH_NOT_BINDABLE),
    400,
)


@rule(
    "R-BIND-5.unknown-instance",
    MUST,
    "A bind of a service instance that does not exist is refused with 404.",
    at(Situation.UNKNOWN_BOUND),
)
def unknown_instance(seen: Observation) -> str | None:
    """An application or parameters that were made up may displease it first."""
    return None if displeases(seen) else unless_status(seen, 404)


@rule(
    "R-BIND-5.while-created",
    MUST,
    "A bind of a service instance that is being provisioned is 422 ConcurrencyError (or 404).",
    at(Situation.BOUND_IN_PROGRESS),
)
def while_created(seen: Observation) -> str | None:
    """The same holds of these; and that it names no application may be seen first."""
    return None if displeases(seen) else unless_status(seen, _WAIT, 404, _NO_APP)


@rule(
    "R-BIND-5.while-updated",
    MUST,
    "A bind of a service instance that is being updated is 422 ConcurrencyError.",
    at(Situation.BOUND_WHILE_UPDATED),
)
def while_updated(seen: Observation) -> str | None:
    """The same again."""
    return None if displeases(seen) else unless_status(seen, _WAIT, _NO_APP)


@rule(
    "R-BIND-5.while-deleted",
    MUST,
    "A bind of a service instance that is being deleted is refused with a 4xx.",
    at(Situation.BOUND_WHILE_DELETED),
)
def while_deleted(seen: Observation) -> str | None:
    """It may be told to wait, or that there is none any more."""
    return unless_refused(seen, _WAIT)


expects(
    "R-BIND.required",
    MUST,
    "A bind without service_id or plan_id is refused with 400.",
    at(Situation.BIND_WITHOUT_FIELD),
    400,
)


@rule(
    "R-BIND.unknown-plan",
    SHOULD,
    "A bind of a plan that is not in the catalog, or of another offering, is refused with a 4xx.",
    at(Situation.BIND_OF_UNKNOWN_PLAN),
)
def unknown_plan(seen: Observation) -> str | None:
    """Which one is not said."""
    return unless_refused(seen, 400)


expects(
    "R-BIND.schema",
    SHOULD,
    "Parameters of a bind that the plan's schema refuses are refused with 400.",
    at(Situation.BIND_AGAINST_SCHEMA),
    400,
)
expects(
    "R-BIND-6.rotation",
    MUST,
    "A bind with predecessor_binding_id makes a successor, where the plan is binding_rotatable.",
    at(Situation.ROTATED),
    201,
    202,
)


@rule(
    "R-BIND-6.unknown-predecessor",
    MUST,
    "A bind whose predecessor does not exist is refused with a 4xx.",
    at(Situation.ROTATED_FROM_UNKNOWN),
)
def unknown_predecessor(seen: Observation) -> str | None:
    """Which one is not said."""
    return unless_refused(seen, 400)


expects(
    "R-BIND-6.both-valid",
    MUST,
    "A predecessor can still be fetched when it has a successor.",
    at(Situation.PREDECESSOR_FETCHED),
    200,
)


@rule(
    "R-BIND-6.parameters",
    MUST,
    "A successor has its predecessor's parameters, unless it was given others.",
    at(Situation.SUCCESSOR_FETCHED),
)
def successor_parameters(seen: Observation) -> str | None:
    """Where a fetch tells them, as it did of the predecessor."""
    (before,) = seen.before
    if (
        (before.document or {}).get("parameters")
        and seen.status == 200
        and not seen.document.get("parameters")
    ):
        return "told no parameters of a successor, and some of its predecessor"
    return differs(seen)
