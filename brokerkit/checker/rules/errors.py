"""R-ERR: how a broker refuses and fails."""

from __future__ import annotations

import re

from ...client.errors import WORDS_OF_422
from ...requests import Operation
from ..rule import INTEROP, MUST, SHOULD, Observation, Rule, RuleSet, at, refusals, responses
from ..situations import Situation

RULES: list[Rule] = []
_chapter = RuleSet(RULES)
rule = _chapter.rule

_WORD = re.compile(r"[A-Z][A-Za-z0-9]*")
_MAY_TELL = {
    "instance_usable": (Operation.UPDATE, Operation.DEPROVISION),
    "update_repeatable": (Operation.UPDATE,),
}


@rule("R-ERR-1.body", MUST, "The body of every error is a JSON object.", refusals)
def body(seen: Observation) -> str | None:
    """A page of HTML is none; that of a 410 is an empty object (R-UNB-1)."""
    if seen.exchange.document is not None:
        return None
    return f"answered {seen.status} with a body that is no JSON object"


@rule(
    "R-ERR-1.texts",
    MUST,
    "`error` and `description` of an error, where they are there, are non-empty strings.",
    refusals,
)
def texts(seen: Observation) -> str | None:
    """A null is not there."""
    wrong = [
        name
        for name in ("error", "description")
        if (value := seen.document.get(name)) is not None and not (isinstance(value, str) and value)
    ]
    told = " and ".join(f"`{name}`" for name in wrong)
    return f"answered {seen.status} with {told} that is empty or no text" if wrong else None


@rule(
    "R-ERR-1.word",
    SHOULD,
    "`error` is one CamelCase word.",
    lambda seen: seen.exchange.error_code is not None,
)
def word(seen: Observation) -> str | None:
    """Programs compare it."""
    told = seen.exchange.error_code or ""
    if seen.status < 400 or _WORD.fullmatch(told):
        return None
    return f"answered with the error {told[:60]!r}"


@rule(
    "R-ERR-1.description",
    SHOULD,
    "An error says in `description` what is wrong, for the platform's user.",
    lambda seen: refusals(seen) and seen.status != 410 and seen.exchange.document is not None,
)
def description(seen: Observation) -> str | None:
    """Without one a user learns nothing."""
    return None if seen.exchange.description else f"answered {seen.status} without a description"


@rule(
    "R-ERR-2.usable",
    MUST,
    "`instance_usable` (update, deprovision) and `update_repeatable` (update) are booleans, nowhere else.",
    refusals,
)
def usable(seen: Observation) -> str | None:
    """Nothing else may tell them."""
    for name, operations in _MAY_TELL.items():
        value = seen.document.get(name)
        if value is None:
            continue
        if seen.operation not in operations:
            return f"told {name} in the refusal of a request that is no failed update or deletion"
        if not isinstance(value, bool):
            return f"told {name}, but not as true or false"
    return None


@rule(
    "R-ERR-3.words",
    MUST,
    "AsyncRequired, ConcurrencyError, RequiresApp and MaintenanceInfoConflict come with 422.",
    lambda seen: seen.exchange.error_code in WORDS_OF_422,
)
def words(seen: Observation) -> str | None:
    """Their meaning is fixed together with the status."""
    if seen.status in (422, 200):  # of a success it is no error
        return None
    return f"answered {seen.exchange.error_code} with {seen.status}; 422 was due"


@rule(
    "R-ERR-4.clear-422",
    INTEROP,
    "A 422 to a provision or bind has one of the four words; else Cloud Foundry deletes what it asked for.",
    responses(Operation.PROVISION, Operation.BIND, statuses=(422,)),
)
def clear_422(seen: Observation) -> str | None:
    """Cloud Controller takes any other for a broken broker."""
    if seen.exchange.error_code in WORDS_OF_422:
        return None
    return f"answered 422 {seen.exchange.error_code or 'without a word':.60}; refuse with 400 instead"


@rule(
    "R-ERR-4.no-failures",
    SHOULD,
    "A delete after a provision or bind that was refused is not answered with a 5xx.",
    at(Situation.REFUSED_PROVISION_DELETED, Situation.REFUSED_BIND_DELETED),
)
def no_failures(seen: Observation) -> str | None:
    """In all other situations it is a fault that their own rules tell."""
    return f"answered {seen.status}" if seen.status >= 500 else None


@rule(
    "R-ERR-4.orphans",
    MUST,
    "A DELETE that is sent again and again, for a provision whose answer got lost, ends with 200 or 410.",
    at(Situation.ORPHAN_DELETED),
)
def orphans(seen: Observation) -> str | None:
    """It is over when the broker says that it is gone."""
    if seen.facts["gone"]:
        return None
    seconds: float = seen.facts["seconds"]
    return f"did not delete it within {seconds:.0f} s; the last answer was {seen.exchange.response_line}"
