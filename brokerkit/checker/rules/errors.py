"""R-ERR: rules for error responses and orphan mitigation."""

from __future__ import annotations

import re

from ...client.errors import WORDS_OF_422
from ...requests import Operation
from ..rule import INTEROP, MUST, SHOULD, Observation, Rule, RuleSet, at, refusals, responses
from ..situations import Situation

RULES: list[Rule] = []
_rule_set = RuleSet(RULES)
rule = _rule_set.rule

_ERROR_CODE = re.compile(r"[A-Z][A-Za-z0-9]*")
_OPERATIONS_BY_FIELD = {
    "instance_usable": (Operation.UPDATE, Operation.DEPROVISION),
    "update_repeatable": (Operation.UPDATE,),
}


@rule("R-ERR-1.body", MUST, "The body of every error response is a JSON object.", refusals)
def body(observation: Observation) -> str | None:
    """Check for a JSON object; that of a 410 is empty (R-UNB-1)."""
    if observation.exchange.document is not None:
        return None
    return f"returned {observation.status} with a body that is not a JSON object"


@rule(
    "R-ERR-1.texts",
    MUST,
    "The fields `error` and `description` of an error response, if present, are non-empty strings.",
    refusals,
)
def texts(observation: Observation) -> str | None:
    """Check both fields; null counts as absent."""
    wrong = [
        name
        for name in ("error", "description")
        if (value := observation.document.get(name)) is not None and not (isinstance(value, str) and value)
    ]
    fields = " and ".join(f"`{name}`" for name in wrong)
    return f"returned {observation.status} with {fields} empty or not a string" if wrong else None


@rule(
    "R-ERR-1.error-code",
    SHOULD,
    "The field `error` is one CamelCase word.",
    lambda observation: observation.exchange.error_code is not None,
)
def error_code(observation: Observation) -> str | None:
    """Check the format: platforms compare the error code."""
    value = observation.exchange.error_code or ""
    if observation.status < 400 or _ERROR_CODE.fullmatch(value):
        return None
    return f"returned the error {value[:60]!r}"


@rule(
    "R-ERR-1.description",
    SHOULD,
    "The `description` of an error response explains the error to the platform's user.",
    lambda observation: (
        refusals(observation) and observation.status != 410 and observation.exchange.document is not None
    ),
)
def description(observation: Observation) -> str | None:
    """Check that there is a description."""
    return (
        None if observation.exchange.description else f"returned {observation.status} without a description"
    )


@rule(
    "R-ERR-2.usable",
    MUST,
    "`instance_usable` (update, deprovision) and `update_repeatable` (update only) are booleans.",
    refusals,
)
def usable(observation: Observation) -> str | None:
    """Check the operation and the types."""
    for name, operations in _OPERATIONS_BY_FIELD.items():
        value = observation.document.get(name)
        if value is None:
            continue
        if observation.operation not in operations:
            return f"returned {name} in an error response to a request that is no update or deletion"
        if not isinstance(value, bool):
            return f"returned {name} that is not a boolean"
    return None


@rule(
    "R-ERR-3.error-codes",
    MUST,
    "AsyncRequired, ConcurrencyError, RequiresApp and MaintenanceInfoConflict are returned with 422.",
    lambda observation: observation.exchange.error_code in WORDS_OF_422,
)
def error_codes(observation: Observation) -> str | None:
    """Check the status code: the meaning of these error codes is defined for 422 only."""
    if observation.status in (422, 200):  # In a 200 response the field is not an error code.
        return None
    return f"returned {observation.exchange.error_code} with {observation.status}, expected 422"


@rule(
    "R-ERR-4.known-422",
    INTEROP,
    "A 422 to a provision or bind has a defined error code; otherwise Cloud Foundry deletes the resource.",
    responses(Operation.PROVISION, Operation.BIND, statuses=(422,)),
)
def known_422(observation: Observation) -> str | None:
    """Check the error code: Cloud Controller treats an unknown one as a failure of the broker."""
    if observation.exchange.error_code in WORDS_OF_422:
        return None
    code = observation.exchange.error_code or "without an error code"
    return f"returned 422 {code:.60}, expected 400"


@rule(
    "R-ERR-4.no-server-errors",
    SHOULD,
    "A DELETE request after a rejected provision or bind request returns no 5xx status code.",
    at(Situation.REFUSED_PROVISION_DELETED, Situation.REFUSED_BIND_DELETED),
)
def no_server_errors(observation: Observation) -> str | None:
    """Check the status code. The rules of other situations report their own server errors."""
    return f"returned {observation.status}" if observation.status >= 500 else None


@rule(
    "R-ERR-4.orphans",
    MUST,
    "Repeated DELETE requests after a provision request with a lost response end with 200 or 410.",
    at(Situation.ORPHAN_DELETED),
)
def orphans(observation: Observation) -> str | None:
    """Check that the broker confirms the deletion."""
    if observation.facts["gone"]:
        return None
    seconds: float = observation.facts["seconds"]
    return (
        f"did not delete the service instance within {seconds:.0f} s;"
        f" the last response was {observation.exchange.response_line}"
    )
