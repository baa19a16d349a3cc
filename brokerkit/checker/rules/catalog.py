"""R-CAT: what a broker offers."""

from __future__ import annotations

from collections.abc import Iterator

from ...catalog.validation import Finding
from ..report import Level
from ..rule import INTEROP, MUST, SHOULD, Observation, Rule, RuleSet, at
from ..situations import Situation

RULES: list[Rule] = []
_chapter = RuleSet(RULES)
rule = _chapter.rule

_SEVERAL = 5
_READ = at(Situation.CATALOG)


@rule("R-CAT-1.catalog", MUST, "GET /v2/catalog is answered with 200 and a list `services`.", _READ)
def catalog(seen: Observation) -> str | None:
    """It may be empty."""
    if seen.status != 200:
        return f"answered {seen.status}; 200 was due"
    return None if isinstance(seen.document.get("services"), list) else "answered without a list `services`"


def _finds(key: str, level: Level, sentence: str, of: str) -> None:
    """Make a rule of what the rules for catalogs find."""

    def judge(seen: Observation) -> str | None:
        lines = list(_lines(seen, of))
        more = f" (and {len(lines) - _SEVERAL} more)" if len(lines) > _SEVERAL else ""
        return f"has a catalog with {'; '.join(lines[:_SEVERAL])}{more}" if lines else None

    rule(key, level, sentence, _READ)(judge)


def _lines(seen: Observation, of: str) -> Iterator[str]:
    findings: tuple[Finding, ...] = seen.facts["findings"]
    return (finding.line for finding in findings if finding.rule == of)


_finds(
    "R-CAT-2.offering",
    MUST,
    "An offering has id, name, description, bindable and plans, and all its fields have the right types.",
    "R-CAT-2",
)
_finds(
    "R-CAT-3.plan",
    MUST,
    "A plan has id, name and description, and its fields have the right types.",
    "R-CAT-3",
)
_finds(
    "R-CAT-3.version", MUST, "The version of a `maintenance_info` is a semantic version.", "R-CAT-3.version"
)
_finds(
    "R-CAT-4.schemas",
    MUST,
    "Each schema is a JSON Schema with $schema, without external references, of at most 64 kB.",
    "R-CAT-4",
)
_finds(
    "R-CAT-5.unique",
    MUST,
    "Ids and names of offerings, ids of plans, and names of plans in an offering are unique.",
    "R-CAT-5",
)
_finds("R-CAT-5.names", SHOULD, "Names are easy to type: letters, digits, '.' and '-'.", "R-CAT-5.names")
_finds(
    "R-CAT-5.lengths", SHOULD, "Ids, names and descriptions have at most 255 characters.", "R-CAT-5.lengths"
)
_finds("R-CAT-6.cloud-foundry", INTEROP, "The catalog has nothing that Cloud Foundry refuses.", "R-CAT-6")


@rule(
    "R-CAT-7.told",
    INTEROP,
    "Every plan says if it is bindable, free and plan_updateable; Korifi takes what is absent for false.",
    _READ,
)
def told(seen: Observation) -> str | None:
    """What is false by default for all need not be told, but costs nothing."""
    absent = []
    for offering, plan in seen.facts["plans"]:
        effective = {
            "bindable": offering.get("bindable"),
            "free": True,
            "plan_updateable": offering.get("plan_updateable"),
        }
        missing = [name for name, value in effective.items() if value and name not in plan]
        if missing:
            absent.append(f"{offering.get('name')}/{plan.get('name')} without {' and '.join(missing)}")
    more = f" (and {len(absent) - _SEVERAL} more plans)" if len(absent) > _SEVERAL else ""
    return f"has {'; '.join(absent[:_SEVERAL])}{more}" if absent else None


@rule(
    "R-CAT-8.conditional",
    INTEROP,
    "An ETag or Last-Modified of the catalog can be sent back: 304 without a body, or 200 with the catalog.",
    at(Situation.CATALOG_KNOWN),
)
def conditional(seen: Observation) -> str | None:
    """A broker need not support it."""
    if seen.status == 304:
        return "answered 304 with a body" if seen.exchange.response_body else None
    if seen.status == 200:
        return None
    return f"answered {seen.status} to {seen.facts['what']}; 304 or 200 was due"
