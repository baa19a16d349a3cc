"""Tests of parameter validation: messages name the location and the reason, never a value."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from werkzeug.test import TestResponse

from brokerkit import MaintenanceInfo, Schemas, ServicePlan

from ..support.broker import (
    BINDING,
    IDS,
    INSTANCE,
    PROVISION,
    Platform,
    Recorder,
    error_of,
    make_app,
    make_broker,
    make_offering,
)

SECRET = "hunter2-horse"
NUMBER = 31337
DRAFT_4 = "http://json-schema.org/draft-04/schema#"
DRAFT_7 = "http://json-schema.org/draft-07/schema#"
DRAFT_2020 = "https://json-schema.org/draft/2020-12/schema"

OPERATIONS = ("provision", "update", "bind")


def make_platform(recorder: Recorder, schemas: Schemas | None) -> Platform:
    plan = ServicePlan(
        id="small-id",
        name="small",
        description="A small one",
        schemas=schemas,
        maintenance_info=MaintenanceInfo("1.0.0"),
    )
    return Platform(make_app(make_broker(recorder, make_offering(plans=[plan]))))


def send(platform: Platform, operation: str, parameters: object) -> TestResponse:
    match operation:
        case "provision":
            return platform.put(INSTANCE, {**PROVISION, "parameters": parameters})
        case "update":
            return platform.patch(INSTANCE, {**IDS, "parameters": parameters})
        case _:
            return platform.put(BINDING, {**IDS, "parameters": parameters})


def refusal(recorder: Recorder, schema: dict[str, Any], parameters: dict[str, Any]) -> str:
    """Why a provision with these parameters is refused."""
    platform = make_platform(recorder, Schemas.of(create={"$schema": DRAFT_7, **schema}))
    response = send(platform, "provision", parameters)
    assert response.status_code == 400
    assert error_of(response)["error"] == "InvalidParameters"
    assert not recorder.requests
    for secret in (SECRET, str(NUMBER)):
        assert secret not in response.text
        assert secret not in str(response.headers)
    return str(error_of(response)["description"])


# Every operation with its own schema


@pytest.mark.rule("R-CAT-4", "R-PROV-6")
@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_uses_its_own_schema(operation: str, recorder: Recorder) -> None:
    words = {"provision": "create", "update": "update", "bind": "bind"}
    schemas = Schemas.of(
        **{word: {"$schema": DRAFT_7, "properties": {word: {"type": "integer"}}} for word in words.values()}
    )
    platform = make_platform(recorder, schemas)
    word = words[operation]
    others = {name: SECRET for name in words.values() if name != word}

    response = send(platform, operation, {word: SECRET, **others})
    assert response.status_code == 400
    assert error_of(response) == {
        "error": "InvalidParameters",
        "description": f'parameters.{word}: is not of type "integer"',
    }
    assert not recorder.requests

    assert send(platform, operation, {word: 1, **others}).status_code in (200, 201)
    assert recorder.request.parameters == {word: 1, **others}


@pytest.mark.rule("R-CAT-4")
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("schemas", [None, Schemas(), Schemas.of()])
def test_plan_without_schema_accepts_all_parameters(
    operation: str, schemas: Schemas | None, recorder: Recorder
) -> None:
    response = send(make_platform(recorder, schemas), operation, {"anything": [1, {"a": None}]})
    assert response.status_code in (200, 201)
    assert recorder.request.parameters == {"anything": [1, {"a": None}]}


@pytest.mark.rule("R-PROV-6")
@pytest.mark.parametrize("operation", ["provision", "bind"])
@pytest.mark.parametrize("body", [{}, {"parameters": None}, {"parameters": {}}])
def test_required_parameter_is_checked_without_parameters(
    operation: str, body: dict[str, Any], recorder: Recorder
) -> None:
    """Absent, null and empty parameters violate a schema with a required property."""
    schema = {"$schema": DRAFT_7, "required": ["size"]}
    platform = make_platform(recorder, Schemas.of(create=schema, bind=schema))
    path = INSTANCE if operation == "provision" else BINDING
    response = platform.put(path, {**PROVISION, **body})
    assert response.status_code == 400
    assert error_of(response)["description"] == 'parameters: "size" is a required property'


@pytest.mark.rule("R-UPD-2")
@pytest.mark.parametrize("body", [{}, {"parameters": None}])
def test_update_without_parameters_skips_schema(body: dict[str, Any], recorder: Recorder) -> None:
    schema = {"$schema": DRAFT_7, "required": ["size"]}
    platform = make_platform(recorder, Schemas.of(update=schema))
    assert platform.patch(INSTANCE, {**IDS, **body}).status_code == 200
    response = platform.patch(INSTANCE, {**IDS, "parameters": {}})
    assert response.status_code == 400


@pytest.mark.rule("R-PROV-6", "R-CAT-4")
def test_draft_4_schema_uses_draft_4_semantics(recorder: Recorder) -> None:
    schema = {"$schema": DRAFT_4, "properties": {"p": {"maximum": 3, "exclusiveMaximum": True}}}
    assert refusal(recorder, schema, {"p": 3}) == (
        "parameters.p: is greater than or equal to the maximum of 3"
    )


# The place, the reason, and never the value: every keyword that has a message

TEXT = [
    ({"type": "integer"}, 'is not of type "integer"'),
    ({"type": ["integer", "null"]}, "is not of types"),
    ({"enum": ["a", "b"]}, 'is not one of "a" or "b"'),
    ({"const": "a"}, '"a" was expected'),
    ({"pattern": "^a$"}, 'does not match "^a$"'),
    ({"format": "email"}, 'is not a "email"'),
    ({"format": "ipv4"}, 'is not a "ipv4"'),
    ({"format": "date-time"}, 'is not a "date-time"'),
    ({"maxLength": 2}, "is longer than 2 characters"),
    ({"minLength": 99}, "is shorter than 99 characters"),
    ({"not": {"type": "string"}}, '{"type":"string"} is not allowed'),
    ({"anyOf": [{"const": "a"}, {"enum": ["b"]}]}, "is not valid under any of the schemas"),
    ({"oneOf": [{"const": "a"}, {"pattern": "^b"}]}, "is not valid under any of the schemas"),
    ({"oneOf": [{"type": "string"}, {"minLength": 1}]}, "is valid under more than one"),
    ({"allOf": [{"maxLength": 3}]}, "is longer than 3 characters"),
    ({"if": {"type": "string"}, "then": {"maxLength": 3}}, "is longer than 3 characters"),
    ({"if": {"type": "null"}, "else": {"maxLength": 3}}, "is longer than 3 characters"),
    ({"contentEncoding": "base64"}, 'is not compliant with "base64" content encoding'),
    ({"contentMediaType": "application/json"}, "is not compliant with"),
]
NUMERIC = [
    ({"maximum": 3}, "is greater than the maximum of 3"),
    ({"minimum": 10**6}, "is less than the minimum of 1000000"),
    ({"exclusiveMaximum": 3}, "is greater than or equal to the maximum of 3"),
    ({"exclusiveMinimum": 10**6}, "is less than or equal to the minimum of 1000000"),
    ({"multipleOf": 2}, "is not a multiple of 2"),
    ({"enum": [1, 2]}, "is not one of 1 or 2"),
    ({"const": 1}, "1 was expected"),
]
ARRAY = [
    ({"additionalItems": False, "items": [{}]}, "Additional items are not allowed"),
    ({"maxItems": 1}, "has more than 1 item"),
    ({"minItems": 9}, "has less than 9 items"),
    ({"uniqueItems": True}, "has non-unique elements"),
    ({"contains": {"type": "integer"}}, "None of the value"),
    ({"enum": [[1]]}, "is not one of [1]"),
    ({"const": []}, "[] was expected"),
    ({"$schema": DRAFT_2020, "prefixItems": [{}], "unevaluatedItems": False}, "Unevaluated items"),
    ({"$schema": DRAFT_2020, "contains": {"type": "string"}, "maxContains": 1}, ""),
    ({"$schema": DRAFT_2020, "contains": {"type": "string"}, "minContains": 3}, ""),
]
OBJECT = [
    ({"required": ["z"]}, '"z" is a required property'),
    ({"maxProperties": 0}, "has more than 0 properties"),
    ({"minProperties": 4}, "has less than 4 properties"),
    ({"dependencies": {"k": ["z"]}}, '"z" is a required property'),
    ({"dependencies": {"k": {"required": ["z"]}}}, '"z" is a required property'),
    ({"properties": {"a": {}}, "additionalProperties": False}, "Additional properties are not"),
    ({"enum": [{"k": 1}]}, "is not one of"),
    ({"const": {}}, "{} was expected"),
    ({"not": {"required": ["k"]}}, '{"required":["k"]} is not allowed'),
    ({"$schema": DRAFT_2020, "unevaluatedProperties": False}, "Unevaluated properties are not"),
    ({"$schema": DRAFT_2020, "dependentRequired": {"k": ["z"]}}, '"z" is a required property'),
    ({"$schema": DRAFT_2020, "dependentSchemas": {"k": False}}, "is not allowed by the plan's schema"),
]
CASES = [
    *((schema, SECRET, reason) for schema, reason in TEXT),
    *((schema, NUMBER, reason) for schema, reason in NUMERIC),
    *((schema, [SECRET, SECRET], reason) for schema, reason in ARRAY),
    *((schema, {"k": SECRET}, reason) for schema, reason in OBJECT),
]


@pytest.mark.rule("R-PROV-6")
@pytest.mark.parametrize(("schema", "value", "reason"), CASES, ids=lambda value: str(value)[:60])
def test_schema_error_names_location_and_reason(
    schema: dict[str, Any], value: object, reason: str, recorder: Recorder
) -> None:
    """The error for every keyword contains the location and the reason but never the value."""
    rest = dict(schema)
    draft = rest.pop("$schema", DRAFT_7)
    schema_with_property = {"$schema": draft, "properties": {"p": {"properties": {"q": rest}}}}
    description = refusal(recorder, schema_with_property, {"p": {"q": value}})
    assert description.startswith(f"parameters.p.q: {reason}")


@pytest.mark.rule("R-PROV-6")
@pytest.mark.parametrize(
    "names", [{"pattern": "^a"}, {"maxLength": 3}, {"enum": ["a"]}, {"const": "a"}, False]
)
def test_schema_error_hides_refused_property_name(names: object, recorder: Recorder) -> None:
    """A user may confuse name and value, and the name is then the secret."""
    schema_with_property = {"properties": {"p": {"propertyNames": names}}}
    description = refusal(recorder, schema_with_property, {"p": {SECRET: 1}})
    assert description.startswith("parameters.p: ")


@pytest.mark.rule("R-PROV-6")
@pytest.mark.parametrize(
    ("schema", "parameters", "place"),
    [
        ({"items": {"type": "null"}}, [{"a": 1}, SECRET], "parameters.p[0]"),
        ({"items": [{}, {"items": {"type": "null"}}]}, [0, [None, SECRET]], "parameters.p[1][1]"),
        ({"additionalProperties": {"type": "null"}}, {"k": SECRET}, "parameters.p.k"),
        ({"patternProperties": {"^k": {"type": "null"}}}, {"k1": SECRET}, "parameters.p.k1"),
        ({"additionalProperties": {"$ref": "#/definitions/n"}}, {"a": {"b": SECRET}}, "parameters.p.a.b"),
    ],
)
def test_schema_error_location_is_precise(
    schema: dict[str, Any], parameters: object, place: str, recorder: Recorder
) -> None:
    """The location includes array indexes and nested property names."""
    schema_with_property = {
        "properties": {"p": schema},
        "definitions": {"n": {"type": "object", "additionalProperties": {"$ref": "#/definitions/n"}}},
    }
    assert refusal(recorder, schema_with_property, {"p": parameters}).startswith(f"{place}: is not of type ")


@pytest.mark.rule("R-PROV-6")
def test_schema_error_names_unknown_property(
    recorder: Recorder,
) -> None:
    """The name lets a user correct a misspelling."""
    schema = {"properties": {"size": {}}, "additionalProperties": False}
    assert refusal(recorder, schema, {"sise": SECRET}) == (
        "parameters: Additional properties are not allowed ('sise' was unexpected)"
    )


@pytest.mark.rule("R-PROV-6")
def test_schema_pattern_with_catastrophic_backtracking_stops(recorder: Recorder) -> None:
    """The check of a pathological pattern is aborted and the parameter is refused."""
    schema = {"properties": {"p": {"pattern": "(?<!b)(a*)*\\1$"}}}
    description = refusal(recorder, schema, {"p": "a" * 100 + SECRET})
    assert description.startswith("parameters.p: ")
    assert "aaaa" not in description


# Limits of the message


@pytest.mark.rule("R-PROV-6")
@pytest.mark.parametrize(("faults", "more"), [(1, False), (10, False), (11, True), (100, True)])
def test_schema_error_lists_first_ten_violations(faults: int, more: bool, recorder: Recorder) -> None:
    schema = {"additionalProperties": {"type": "integer"}}
    description = refusal(recorder, schema, {f"k{number}": SECRET for number in range(faults)}).split("; ")
    lines = [f'parameters.k{number}: is not of type "integer"' for number in range(min(faults, 10))]
    if more:
        assert description.pop() == "and more"
    assert sorted(description) == sorted(lines) if faults <= 10 else len(description) == 10


@pytest.mark.rule("R-PROV-6")
def test_large_parameters_report_only_first_violation(recorder: Recorder) -> None:
    """This bounds the time for an error message."""
    schema = {"properties": {"e": {"items": {"anyOf": [{"type": "string"}, {"type": "object"}]}}}}
    description = refusal(recorder, schema, {"e": [1] * 100_000})
    fault = "is not valid under any of the schemas listed in the 'anyOf' keyword"
    assert description == f"parameters.e[0]: {fault}; and possibly more"


@pytest.mark.rule("R-PROV-6")
def test_recursive_schema_causes_no_exponential_work(recorder: Recorder) -> None:
    """Each level would double the work; the error says that the parameters are nested too deeply."""
    branch = {"properties": {"a": {"$ref": "#/definitions/n"}}, "required": ["a"]}
    schema = {
        "definitions": {"n": {"oneOf": [branch, branch]}},
        "properties": {"p": {"$ref": "#/definitions/n"}},
    }
    deep: dict[str, Any] = {}
    for _ in range(60):  # each level would double the work of a precise message
        deep = {"a": deep}
    description = refusal(recorder, schema, {"p": deep})
    assert (
        description
        == "parameters: do not match the plan's schema, and are nested too deeply for a more precise message"
    )


@pytest.mark.rule("R-PROV-6")
def test_schema_error_shortens_long_names(recorder: Recorder) -> None:
    schema = {"additionalProperties": {"type": "integer"}}
    description = refusal(recorder, schema, {f"{number}{'x' * 50_000}": SECRET for number in range(15)})
    assert len(description) < 20_000


@pytest.mark.rule("R-PROV-6")
def test_schema_error_limits_listed_unexpected_properties(
    recorder: Recorder,
) -> None:
    schema = {"properties": {"a": {}}, "additionalProperties": False}
    description = refusal(recorder, schema, {f"name-{number}": SECRET for number in range(20_000)})
    assert len(description) < 20_000


# What the validator might not take


def _nested(depth: int) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for _ in range(depth):
        document = {"a": document}
    return document


RECURSIVE = {
    "$schema": DRAFT_7,
    "type": "object",
    "additionalProperties": {"$ref": "#"},
}


@pytest.mark.rule("R-REQ-6")
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("depth", [100, 500])
def test_too_deeply_nested_body_is_400(operation: str, depth: int, recorder: Recorder) -> None:
    schemas = Schemas.of(create=RECURSIVE, update=RECURSIVE, bind=RECURSIVE)
    response = send(make_platform(recorder, schemas), operation, _nested(depth))
    assert response.status_code == 400
    assert error_of(response)["description"] == "The body is nested more than 100 levels deep."
    assert not recorder.requests


@pytest.mark.rule("R-REQ-6")
@pytest.mark.parametrize("operation", OPERATIONS)
def test_body_at_nesting_limit_is_accepted(operation: str, recorder: Recorder) -> None:
    schemas = Schemas.of(create=RECURSIVE, update=RECURSIVE, bind=RECURSIVE)
    response = send(make_platform(recorder, schemas), operation, _nested(98))
    assert response.status_code in (200, 201)
    assert recorder.request.parameters == _nested(98)


@pytest.mark.rule("R-REQ-6")
def test_wide_body_is_accepted(recorder: Recorder) -> None:
    """Many shallow values do not count toward the nesting limit."""
    parameters: dict[str, Any] = {"list": [{"a": []} for _ in range(1000)]}
    assert send(make_platform(recorder, None), "provision", parameters).status_code == 201


@pytest.mark.rule("R-PROV-6")
@pytest.mark.parametrize(
    ("number", "status"),
    [
        (str(10**30), 400),
        ("-" + "9" * 400, 201),
        ("9" * 5000, 400),
        ("1e308", 400),
        ("1e400", 400),
        ("1.5", 400),
        ("8.0", 201),
        ("0.1e-5000", 201),
    ],
    ids=lambda value: str(value)[:12],
)
def test_extreme_numbers_are_validated_without_error(number: str, status: int, recorder: Recorder) -> None:
    """Each number is accepted or refused with 400, and never repeated in the response."""
    schema = {"$schema": DRAFT_7, "properties": {"size": {"type": "integer", "maximum": 9}}}
    platform = make_platform(recorder, Schemas.of(create=schema))
    body = msgspec.json.encode({**PROVISION, "parameters": {"size": 1}})
    response = platform.put(INSTANCE, data=body.replace(b'"size":1', f'"size":{number}'.encode()))
    assert response.status_code == status
    assert number not in response.text
