"""R-CAT: rules for the catalog."""

from __future__ import annotations

from collections.abc import Iterator

from ...catalog.validation import Finding
from ..report import Level
from ..rule import INTEROP, MUST, SHOULD, Observation, Rule, RuleSet, at
from ..situations import Situation

RULES: list[Rule] = []
_rule_set = RuleSet(RULES)
rule = _rule_set.rule

_LISTED = 5
_CATALOG = at(Situation.CATALOG)


@rule("R-CAT-1.catalog", MUST, "GET /v2/catalog returns 200 with a list `services`.", _CATALOG)
def catalog(observation: Observation) -> str | None:
    """Check the status code and the list, which may be empty."""
    if observation.status != 200:
        return f"returned {observation.status}, expected 200"
    return (
        None
        if isinstance(observation.document.get("services"), list)
        else "returned a body without a list `services`"
    )


def _catalog_rule(key: str, level: Level, sentence: str, catalog_rule: str) -> None:
    """Define a rule that reports the findings of the catalog validation."""

    def evaluate(observation: Observation) -> str | None:
        lines = list(_lines(observation, catalog_rule))
        more = f" (and {len(lines) - _LISTED} more)" if len(lines) > _LISTED else ""
        return f"returned a catalog with {'; '.join(lines[:_LISTED])}{more}" if lines else None

    rule(key, level, sentence, _CATALOG)(evaluate)


def _lines(observation: Observation, catalog_rule: str) -> Iterator[str]:
    findings: tuple[Finding, ...] = observation.facts["findings"]
    return (finding.line for finding in findings if finding.rule == catalog_rule)


_catalog_rule(
    "R-CAT-2.offering",
    MUST,
    "A service offering has id, name, description, bindable and plans, and its fields have valid types.",
    "R-CAT-2",
)
_catalog_rule(
    "R-CAT-3.plan",
    MUST,
    "A service plan has id, name and description, and its fields have valid types.",
    "R-CAT-3",
)
_catalog_rule(
    "R-CAT-3.version", MUST, "The version in `maintenance_info` is a semantic version.", "R-CAT-3.version"
)
_catalog_rule(
    "R-CAT-4.schemas",
    MUST,
    "Each schema is a JSON Schema with $schema, no external references and at most 64 kB.",
    "R-CAT-4",
)
_catalog_rule(
    "R-CAT-5.unique",
    MUST,
    "Ids and names of offerings, ids of plans, and names of plans within an offering are unique.",
    "R-CAT-5",
)
_catalog_rule("R-CAT-5.names", SHOULD, "Names contain only letters, digits, '.' and '-'.", "R-CAT-5.names")
_catalog_rule(
    "R-CAT-5.lengths", SHOULD, "Ids, names and descriptions have at most 255 characters.", "R-CAT-5.lengths"
)
_catalog_rule(
    "R-CAT-6.cloud-foundry", INTEROP, "The catalog contains nothing that Cloud Foundry rejects.", "R-CAT-6"
)


@rule(
    "R-CAT-7.explicit",
    INTEROP,
    "Plans state bindable, free and plan_updateable explicitly; Korifi treats a missing field as false.",
    _CATALOG,
)
def explicit(observation: Observation) -> str | None:
    """Check the fields whose effective value is true; a missing field means false to Korifi."""
    absent = []
    for offering, plan in observation.facts["plans"]:
        effective = {
            "bindable": offering.get("bindable"),
            "free": True,
            "plan_updateable": offering.get("plan_updateable"),
        }
        missing = [name for name, value in effective.items() if value and name not in plan]
        if missing:
            absent.append(f"{offering.get('name')}/{plan.get('name')} without {' and '.join(missing)}")
    more = f" (and {len(absent) - _LISTED} more plans)" if len(absent) > _LISTED else ""
    return f"has {'; '.join(absent[:_LISTED])}{more}" if absent else None


@rule(
    "R-CAT-8.conditional",
    INTEROP,
    "A conditional request with the catalog's ETag or Last-Modified returns 304 without a body, or 200.",
    at(Situation.CATALOG_CONDITIONAL),
)
def conditional(observation: Observation) -> str | None:
    """Check the response; brokers need not support conditional requests."""
    if observation.status == 304:
        return "returned 304 with a body" if observation.exchange.response_body else None
    if observation.status == 200:
        return None
    return f"returned {observation.status} to a request with {observation.facts['what']}, expected 304 or 200"
