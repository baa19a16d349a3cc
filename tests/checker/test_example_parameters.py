"""Parameters that are made of a plan's schema are those that it takes, and those that it refuses."""

from __future__ import annotations

import re
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brokerkit.checker.example_parameters import accepted_examples, rejected_examples
from brokerkit.checker.example_strings import string_matching
from brokerkit.checker.targets import choose_parameters

from ..support.examples import examples

DRAFT = {"$schema": "http://json-schema.org/draft-07/schema#"}
NEWER = {"$schema": "https://json-schema.org/draft/2020-12/schema"}


def needing(**properties: Any) -> dict[str, Any]:
    """A schema whose properties are all required."""
    return {**DRAFT, "type": "object", "properties": properties, "required": list(properties)}


def with_optional(**properties: Any) -> dict[str, Any]:
    return {**DRAFT, "type": "object", "properties": properties}


KINDS = {
    "enum": ({"enum": ["b", "a"]}, "b"),
    "const": ({"const": 7}, 7),
    "default": ({"type": "string", "default": "as-ever"}, "as-ever"),
    "examples": ({"type": "string", "examples": ["such"]}, "such"),
    "least": ({"type": "integer", "minimum": 5}, 5),
    "more than": ({"type": "integer", "exclusiveMinimum": 5}, 6),
    "steps": ({"type": "integer", "minimum": 5, "multipleOf": 4}, 8),
    "at most": ({"type": "number", "maximum": -3}, -3),
    "boolean": ({"type": "boolean"}, True),
    "null": ({"type": "null"}, None),
    "email": ({"type": "string", "format": "email"}, "brokerkit@example.org"),
    "pattern": ({"type": "string", "pattern": "^[a-z]{3}-[0-9]+$"}, "aaa-0"),
    "password": ({"type": "string", "pattern": r"^(?=.*[A-Z])(?=.*\d)(?=.*\W).{8,}$"}, "Brokerkit-2026!"),
    "long": ({"type": "string", "minLength": 12}, "brokerkitbro"),
    "short": ({"type": "string", "maxLength": 2}, "br"),
    "one of two types": ({"type": ["null", "integer"]}, None),
    "array": ({"type": "array", "items": {"enum": ["x"]}, "minItems": 2}, ["x", "x"]),
    "distinct": (
        {"type": "array", "items": {"enum": ["x", "y", "z"]}, "minItems": 2, "uniqueItems": True},
        ["x", "y"],
    ),
    "inner object": ({"type": "object", "required": ["a"], "properties": {"a": {"const": 1}}}, {"a": 1}),
    "all of objects": (
        {
            "allOf": [
                {"type": "object", "required": ["a"], "properties": {"a": {"const": 1}}},
                {"required": ["b"], "properties": {"b": {"const": 2}}},
            ]
        },
        {"a": 1, "b": 2},
    ),
    "anything": (True, "brokerkit"),
    "all of": ({"allOf": [{"type": "integer"}, {"minimum": 3}]}, 3),
    "any of": ({"anyOf": [{"type": "integer", "minimum": 3}, {"type": "string"}]}, 3),
    "one of": ({"oneOf": [{"const": "a"}, {"const": "b"}]}, "a"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_required_property_gets_plausible_value(kind: str) -> None:
    schema, value = KINDS[kind]
    assert accepted_examples(needing(it=schema))[0] == {"it": value}


@pytest.mark.parametrize("reference", ["#/definitions/size", "#/definitions/a~1b"])
def test_example_generator_follows_internal_references(reference: str) -> None:
    size = {"type": "integer", "minimum": 3}
    schema = {**needing(it={"$ref": reference}), "definitions": {"size": size, "a/b": size}}
    assert accepted_examples(schema)[0] == {"it": 3}


def test_unconstrained_optional_property_is_omitted() -> None:
    schema = with_optional(name={"type": "string"}, size={"type": "integer", "minimum": 2})
    assert accepted_examples(schema) == [{"size": 2}, {"size": 3}]


def test_example_generator_supports_draft_2020_12() -> None:
    schema = {**NEWER, "$defs": {"a": {"enum": [4]}}, "properties": {"a": {"$ref": "#/$defs/a"}}}
    assert accepted_examples(schema)[0] == {"a": 4}


def test_invalid_example_differs_in_one_property() -> None:
    schema = needing(size={"type": "integer"}, name={"type": "string"})
    bad = rejected_examples(schema, {"size": 1, "name": "a"})
    assert bad == {"size": -1.5, "name": "a"}


def test_missing_required_property_makes_invalid_example() -> None:
    """If every value is valid, the invalid example omits a required property."""
    schema = {**DRAFT, "required": ["a"]}
    assert rejected_examples(schema, {"a": 1}) == {}


def test_schema_accepting_anything_has_no_invalid_example() -> None:
    assert rejected_examples(DRAFT, {}) is None


def test_given_parameters_are_used_unchanged() -> None:
    examples = choose_parameters(needing(size={"type": "integer"}), [{"size": "given"}])
    assert examples.accepted == [{"size": "given"}]
    assert examples.from_user


# All schemas


TEXTS = {"type": "string"}
VALUES: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.builds(
        lambda least, size: {**TEXTS, "minLength": least, "maxLength": least + size},
        st.integers(0, 30),
        st.integers(0, 30),
    ),
    st.builds(
        lambda least, size, step: {"type": "integer", "minimum": least, "maximum": least + size, **step},
        st.integers(-99, 99),
        st.integers(0, 50),
        st.sampled_from([{}, {"multipleOf": 5}, {"exclusiveMinimum": 0}]),
    ),
    st.lists(st.one_of(st.integers(), st.text(max_size=5), st.none()), min_size=1, max_size=5).map(
        lambda values: {"enum": values}
    ),
    st.sampled_from(
        [
            {"type": "boolean"},
            {"type": "null"},
            {},
            {**TEXTS, "format": "uri"},
            {**TEXTS, "pattern": r"^v\d+\.\d$"},
        ]
    ),
)


def objects(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    properties = st.dictionaries(st.sampled_from("abcd"), inner, max_size=4)
    return st.builds(
        lambda properties, few, closed: {
            "type": "object",
            "properties": properties,
            "required": sorted(properties)[:few],
            **({"additionalProperties": False} if closed else {}),
        },
        properties,
        st.integers(0, 4),
        st.booleans(),
    )


NESTED = st.recursive(
    VALUES,
    lambda inner: st.one_of(
        objects(inner),
        st.builds(
            lambda items, least: {"type": "array", "items": items, "minItems": least},
            inner,
            st.integers(0, 3),
        ),
        st.lists(inner, min_size=1, max_size=3).map(lambda several: {"anyOf": several}),
    ),
    max_leaves=6,
)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(objects(NESTED).map(lambda schema: {**DRAFT, **schema}))
def test_examples_agree_with_json_schema_validator(schema: dict[str, Any]) -> None:
    """For random schemas, valid examples pass a JSON Schema validator and invalid examples do not."""
    validator = jsonschema_rs.validator_for(schema)
    valid = accepted_examples(schema)
    assert all(validator.is_valid(example) for example in valid)
    assert len(valid) <= 2
    assert len(valid) < 2 or valid[0] != valid[1]
    invalid = rejected_examples(schema, valid[0] if valid else {})
    assert invalid is None or not validator.is_valid(invalid)


# Hostile schemas


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "required": ["a"], "properties": {"a": schema}}
    return {**DRAFT, **schema}


def doubled(times: int) -> dict[str, Any]:
    """Build a schema whose validator would evaluate 2^times subschemas."""
    definitions = {f"a{n}": {"allOf": [{"$ref": f"#/definitions/a{n + 1}"}] * 2} for n in range(times)}
    return {**DRAFT, "allOf": [{"$ref": "#/definitions/a0"}], "definitions": {**definitions, f"a{times}": {}}}


BRANCHES = [{"oneOf": [{"required": [f"x{n}{m}"]} for m in range(6)]} for n in range(6)]
HOSTILE = {
    "itself": {**DRAFT, "$ref": "#"},
    "itself in allOf": {**DRAFT, "allOf": [{"$ref": "#"}]},
    "itself in itself": needing(a={"$ref": "#"}),
    "itself in many": needing(
        **{name: {"anyOf": [{"$ref": "#"}, {"type": "integer"}]} for name in "abcdefgh"}
    ),
    "itself in arrays": with_optional(
        **{f"p{n}": {"type": "array", "items": {"$ref": "#"}, "default": []} for n in range(200)}
    ),
    "a cycle": {
        **needing(a={"$ref": "#/definitions/x"}),
        "definitions": {"x": {"$ref": "#/definitions/y"}, "y": {"$ref": "#/definitions/x"}},
    },
    "doubled sixty times": doubled(60),
    "a dangling reference": needing(a={"$ref": "#/definitions/none"}),
    "by a name": {**needing(a={"$ref": "#it"}), "definitions": {"it": {"$id": "#it"}}},
    "nested": nested(60),
    "deeply nested": nested(800),
    "branches": {**DRAFT, "type": "object", "oneOf": BRANCHES * 3},
    "a huge enum": needing(a={"enum": [f"value-{n}" for n in range(4_000)]}),
    "many required": needing(**{f"p{n}": {"type": "string"} for n in range(1_500)}),
    "a slow pattern": needing(a={"type": "string", "pattern": "(a+)+$", "minLength": 30}),
    "a slower pattern": needing(a={"type": "string", "pattern": r"^(?=(a+)+\1$)(a|aa)+b$"}),
    "a long pattern": needing(a={"type": "string", "pattern": "^(([a-z]{1,999}){1,999}){1,999}$"}),
    "no pattern": needing(a={"type": "string", "pattern": "("}),
    "a long text": needing(a={"type": "string", "minLength": 10**9}),
    "a long array": needing(a={"type": "array", "minItems": 10**9}),
    "arrays of arrays": needing(
        a={
            "type": "array",
            "minItems": 900,
            "items": {"type": "array", "minItems": 900, "items": {"minLength": 9_000}},
        }
    ),
    "many properties": {**DRAFT, "type": "object", "minProperties": 10**9},
    "a large number": needing(a={"type": "number", "minimum": 10**400, "multipleOf": 0.1}),
    "optional and nothing": with_optional(a=False, b=True, c={"$ref": "#/properties/c"}),
    "nothing": needing(a=False),
    "a contradiction": {**DRAFT, "allOf": [{"type": "object"}, {"type": "string"}]},
    "no schema": {**DRAFT, "type": "object", "required": "a", "properties": [1], "enum": 5},
    "wrong words": needing(a={"type": ["string", 3], "minLength": -1, "maxLength": "x", "multipleOf": 0}),
    "far away": needing(a={"$ref": "https://example.org/schema.json"}),
    "no draft": {"type": "object"},
}


@pytest.mark.parametrize("schema", HOSTILE.values(), ids=HOSTILE)
def test_hostile_schema_terminates_with_bounded_output(schema: dict[str, Any]) -> None:
    examples = choose_parameters(schema, None)
    assert len(examples.accepted) <= 2
    assert len(str(examples)) < 1_000_000


# Patterns


@pytest.mark.parametrize(
    "pattern",
    [
        "^[a-z][a-z0-9-]{2,20}$",
        r"^\d+(\.\d+){2}$",
        "^(a|b){3}$",
        r"^[^@\s]+@[^@]+\.com$",
        "^eu-(?:west|north)-[1-3]$",
        r"[\]\-a]\x41\u0042",
        r"^\S\D\W\w\s$",
        r"^[\d.]{4}[^a-z]?$",
        r"^a*?b??c+?\/\cA\n$",
        r"^(?P<name>x)\b-$",
        "a-b[x-]",
        "a{b",
        "",
    ],
)
def test_generated_string_matches_its_pattern(pattern: str) -> None:
    texts = list(string_matching(pattern))
    assert texts
    assert all(re.search(pattern.replace(r"\cA", "\x01"), text) for text in texts)


@pytest.mark.parametrize(("pattern", "text"), [(r"^\p{Lu}\p{N}\P{L}\pL\p{Po}$", "A1-a-"), (r"^(a)\1$", "a")])
def test_pattern_supports_non_python_syntax(pattern: str, text: str) -> None:
    """Unicode property classes and back-references produce matching strings."""
    assert next(string_matching(pattern)) == text


@pytest.mark.parametrize(
    "pattern",
    ["(", ")", "[", "[a", "*", "a**", "[z-a]", r"[a-\d]", "\\", r"\x4", r"\uZZZZ", r"\p{", r"\c"],
)
def test_invalid_pattern_yields_no_examples(pattern: str) -> None:
    assert list(string_matching(pattern)) == []


def test_maximum_length_pattern_is_parsed_quickly() -> None:
    assert list(string_matching("^" * 60_000)) == [""]
    assert list(string_matching("[" + r"\w" * 30_000 + "]")) == ["a"]


@pytest.mark.parametrize(
    "pattern", ["(" * 5_000, "(((a{60}){60}){60})", "a{99999}", "a" * 70_000], ids=lambda text: text[:9]
)
def test_too_deep_or_long_pattern_is_abandoned(pattern: str) -> None:
    assert list(string_matching(pattern)) == []
