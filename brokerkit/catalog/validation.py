"""What makes a catalog right: R-CAT-4 and R-CAT-5 as faults, R-CAT-6 and recommendations as warnings.

The rules look at the plain document (dicts and lists), not at structs, so that a catalog with a
misspelt type in one corner still has all its other faults told in the same go.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import jsonschema_rs
import msgspec
from msgspec import inspect

from .json_schema import SchemaError, Validator, compile_schema, format_path

_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
    r"(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?",
    re.ASCII,
)
_Kind = jsonschema_rs.ValidationErrorKind
_FRIENDLY = re.compile(r"[A-Za-z0-9.-]+")
_RECOMMENDED_LENGTH = 255
_CLOUD_FOUNDRY_DESCRIPTION = 10_000
_CLOUD_FOUNDRY_TAGS = 2_048
_CLOUD_FOUNDRY_MAINTENANCE_INFO = 2_000

_SCHEMA_PLACES = (
    ("service_instance", "create"),
    ("service_instance", "update"),
    ("service_binding", "create"),
)
"""Where a plan's `schemas` may hold a JSON Schema (R-CAT-4)."""

SchemaKey = tuple[str, str, str]
"""Plan id, and the two steps of one of the :data:`_SCHEMA_PLACES`."""


class ValidationResult(NamedTuple):
    """What the rules say of a catalog, a line each, with its place in front; and its schemas, compiled."""

    faults: list[str]
    warnings: list[str]
    validators: dict[SchemaKey, Validator]


class _Node(NamedTuple):
    place: str
    value: dict[str, Any]


def validate(document: object, structure: type[msgspec.Struct]) -> ValidationResult:
    """Apply every rule to a catalog in plain form.

    Args:
        document: What stands in a catalog file, read.
        structure: The struct that the document must fit.
    """
    validators: dict[SchemaKey, Validator] = {}
    return ValidationResult(
        faults=[finding.line for finding in find_faults(document, structure, validators)],
        warnings=[finding.line for finding in find_warnings(document)],
        validators=validators,
    )


class Finding(NamedTuple):
    """What is wrong with a catalog, or not recommended.

    Args:
        rule: The number of the rule that it breaks, and which part of it.
        line: What is wrong, with its place in front.
    """

    rule: str
    line: str


def find_faults(
    document: object, structure: type[msgspec.Struct], validators: dict[SchemaKey, Validator]
) -> Iterator[Finding]:
    """What no platform should see.

    Args:
        document: What stands in a catalog file, read.
        structure: The struct that the document must fit.
        validators: Gets the compiled schemas.
    """
    offerings, plans_of = _nodes(document)
    plans = [plan for of_offering in plans_of for plan in of_offering]
    for line in _structure_faults(document, structure):
        yield Finding("R-CAT-3" if ".plans[" in line else "R-CAT-2", line)
    for nodes, field in ((offerings, "id"), (offerings, "name"), (plans, "id")):
        yield from _found("R-CAT-5", _duplicates(nodes, field))
    for of_offering in plans_of:
        yield from _found("R-CAT-5", _duplicates(of_offering, "name"))
    for plan in plans:
        yield from _found("R-CAT-3.version", _version_faults(plan))
        yield from _found("R-CAT-4", _schema_faults(plan, validators))


def find_warnings(document: object) -> Iterator[Finding]:
    """What only Cloud Foundry refuses, or is not recommended."""
    offerings, plans_of = _nodes(document)
    plans = [plan for of_offering in plans_of for plan in of_offering]
    for node in (*offerings, *plans):
        yield from _recommendations(node)
    for offering in offerings:
        yield from _found("R-CAT-6", _cloud_foundry_offering(offering))
    for plan in plans:
        yield from _found("R-CAT-6", _cloud_foundry_maintenance_info(plan))


def _found(rule: str, lines: Iterator[str]) -> Iterator[Finding]:
    return (Finding(rule, line) for line in lines)


def unknown_fields(document: object, structure: type[msgspec.Struct]) -> Iterator[str]:
    """A line for each field, however deep, that the API does not have, with what may be meant."""
    if isinstance(document, dict):  # what else stands at the top, such as anchors of YAML, is nobody's field
        top = {name: value for name, value in document.items() if name in structure.__struct_fields__}
        yield from _unknown(top, inspect.type_info(structure), ())


def _unknown(value: object, kind: inspect.Type, place: tuple[str | int, ...]) -> Iterator[str]:
    match kind, value:
        case inspect.StructType(cls=struct, fields=fields), dict():
            known = {field.encode_name: field.type for field in fields}
            for name, inner in value.items():
                if name in known:
                    yield from _unknown(inner, known[name], (*place, name))
                else:
                    close = difflib.get_close_matches(str(name), known, n=1)
                    hint = f"; is {close[0]!r} meant?" if close else ""
                    yield f"{format_path((*place, name))}: is no field of {struct.__name__}, left out{hint}"
        case inspect.UnionType(types=kinds), _:
            for each in kinds:
                yield from _unknown(value, each, place)
        case inspect.CollectionType(item_type=item), list():
            for number, inner in enumerate(value):
                yield from _unknown(inner, item, (*place, number))


def _nodes(document: object) -> tuple[list[_Node], list[list[_Node]]]:
    """The offerings, and the plans of each."""
    offerings = list(_objects(document, "services"))
    return offerings, [list(_objects(offering.value, "plans", offering.place)) for offering in offerings]


def _objects(parent: object, field: str, place: str = "") -> Iterator[_Node]:
    items = parent.get(field) if isinstance(parent, dict) else None
    for number, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, dict):
            yield _Node(f"{place}.{field}[{number}]".removeprefix("."), item)


def _structure_faults(document: object, structure: type[msgspec.Struct]) -> Iterator[str]:
    """Types, required fields, least numbers of items: msgspec's own JSON Schema tells all of them at once."""
    validator = jsonschema_rs.validator_for(msgspec.json.schema(structure))
    for error in validator.iter_errors(document):
        for single in _innermost(error):
            yield f"{format_path(single.instance_path) or 'catalog'}: {_in_words(single)}"


def _innermost(error: jsonschema_rs.ValidationError) -> Iterator[jsonschema_rs.ValidationError]:
    """An optional field is "anyOf null or that type"; the fault is the one in the type's own branch."""
    if isinstance(error.kind, _Kind.AnyOf):
        for branch in error.kind.context:
            for inner in branch:
                if not (isinstance(inner.kind, _Kind.Type) and inner.kind.types == ["null"]):
                    yield from _innermost(inner)
    else:
        yield error


def _in_words(error: jsonschema_rs.ValidationError) -> str:
    # A catalog may hold a dashboard client's secret, so no message repeats a value.
    match error.kind:
        case _Kind.Required(property=name):
            return f"{name!r} is required"
        case _Kind.MinLength():
            return "must not be empty"
        case _Kind.MinItems(limit=limit):
            return f"needs at least {limit} item"
        case _Kind.Minimum(limit=limit):
            return f"must be at least {limit}"
        case _Kind.Enum(options=options):
            return f"must be one of {', '.join(map(str, options))}"
        case _Kind.Type(types=types):
            return f"must be of type {' or '.join(types)}"
        case _:  # pragma: no cover - the structs make no other kind
            return "is not right"


def _duplicates(nodes: list[_Node], field: str) -> Iterator[str]:
    first: dict[str, str] = {}
    for node in nodes:
        value = node.value.get(field)
        if isinstance(value, str) and value:
            if value in first:
                yield f"{node.place}.{field}: {value!r} is also the {field} of {first[value]}"
            first.setdefault(value, node.place)


def _version_faults(plan: _Node) -> Iterator[str]:
    version = _inside(plan.value, "maintenance_info", "version")
    if isinstance(version, str) and version and not _SEMVER.fullmatch(version):
        yield f"{plan.place}.maintenance_info.version: {version!r} is not a semantic version, such as '1.0.0'"


def _schema_faults(plan: _Node, validators: dict[SchemaKey, Validator]) -> Iterator[str]:
    for resource, action in _SCHEMA_PLACES:
        schema = _inside(plan.value, "schemas", resource, action, "parameters")
        if isinstance(schema, dict):
            try:
                validators[str(plan.value.get("id")), resource, action] = compile_schema(schema)
            except SchemaError as error:
                yield f"{plan.place}.schemas.{resource}.{action}.parameters: {error}"


def _recommendations(node: _Node) -> Iterator[Finding]:
    name = node.value.get("name")
    if isinstance(name, str) and name and not _FRIENDLY.fullmatch(name):
        told = f"{name!r} is hard to type; letters, digits, '.' and '-' are recommended"
        yield Finding("R-CAT-5.names", f"{node.place}.name: {told}")
    for field in ("id", "name", "description"):
        value = node.value.get(field)
        length = len(value) if isinstance(value, str) else 0
        if field == "description" and length > _CLOUD_FOUNDRY_DESCRIPTION:
            told = f"Cloud Foundry refuses more than {_CLOUD_FOUNDRY_DESCRIPTION:,} characters"
            yield Finding("R-CAT-6", f"{node.place}.{field}: {told}")
        elif length > _RECOMMENDED_LENGTH:
            told = f"is {length:,} characters long; at most {_RECOMMENDED_LENGTH} are recommended"
            yield Finding("R-CAT-5.lengths", f"{node.place}.{field}: {told}")


def _cloud_foundry_offering(offering: _Node) -> Iterator[str]:
    tags = offering.value.get("tags")
    if isinstance(tags, list) and sum(len(t) for t in tags if isinstance(t, str)) > _CLOUD_FOUNDRY_TAGS:
        yield f"{offering.place}.tags: Cloud Foundry refuses more than {_CLOUD_FOUNDRY_TAGS:,} characters"
    client = offering.value.get("dashboard_client")
    if isinstance(client, dict) and not client.get("redirect_uri"):
        yield f"{offering.place}.dashboard_client.redirect_uri: Cloud Foundry refuses a client without one"
    shareable = _inside(offering.value, "metadata", "shareable")
    if shareable is not None and not isinstance(shareable, bool):
        yield f"{offering.place}.metadata.shareable: Cloud Foundry refuses what is not true or false"


def _cloud_foundry_maintenance_info(plan: _Node) -> Iterator[str]:
    info = plan.value.get("maintenance_info")
    if not isinstance(info, dict):
        return
    if len(msgspec.json.encode(info)) > _CLOUD_FOUNDRY_MAINTENANCE_INFO:
        yield (
            f"{plan.place}.maintenance_info: Cloud Foundry refuses more than"
            f" {_CLOUD_FOUNDRY_MAINTENANCE_INFO:,} characters"
        )


def _inside(value: object, *fields: str) -> object:
    for field in fields:
        value = value.get(field) if isinstance(value, dict) else None
    return value
