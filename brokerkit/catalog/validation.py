"""Validation of catalogs: R-CAT-2 to R-CAT-5 as faults, R-CAT-6 and recommendations as warnings.

The rules apply to the plain document (dicts and lists) rather than to structs. So a wrong type in one field
does not hide the faults of other fields.
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

_SCHEMA_POSITIONS = (
    ("service_instance", "create"),
    ("service_instance", "update"),
    ("service_binding", "create"),
)
"""The positions of JSON Schemas in the `schemas` of a plan (R-CAT-4)."""

SchemaKey = tuple[str, str, str]
"""The plan id, and one of the :data:`_SCHEMA_POSITIONS`."""


class ValidationResult(NamedTuple):
    """The faults and warnings of a catalog, as messages that start with a path, and its compiled schemas."""

    faults: list[str]
    warnings: list[str]
    validators: dict[SchemaKey, Validator]


class _Node(NamedTuple):
    path: str
    value: dict[str, Any]


def validate(document: object, structure: type[msgspec.Struct]) -> ValidationResult:
    """Apply every rule to a plain catalog document.

    Args:
        document: The decoded content of a catalog file.
        structure: The struct that the document must match.
    """
    validators: dict[SchemaKey, Validator] = {}
    return ValidationResult(
        faults=[finding.line for finding in find_faults(document, structure, validators)],
        warnings=[finding.line for finding in find_warnings(document)],
        validators=validators,
    )


class Finding(NamedTuple):
    """A fault or a warning of a catalog.

    Args:
        rule: The id of the violated rule, with the part of the rule.
        line: The message, which starts with a path.
    """

    rule: str
    line: str


def find_faults(
    document: object, structure: type[msgspec.Struct], validators: dict[SchemaKey, Validator]
) -> Iterator[Finding]:
    """Find the violations of the API's rules.

    Args:
        document: The decoded content of a catalog file.
        structure: The struct that the document must match.
        validators: The dict to add the compiled schemas to.
    """
    offerings, plans_by_offering = _nodes(document)
    plans = [plan for siblings in plans_by_offering for plan in siblings]
    for line in _structure_faults(document, structure):
        yield Finding("R-CAT-3" if ".plans[" in line else "R-CAT-2", line)
    for nodes, field in ((offerings, "id"), (offerings, "name"), (plans, "id")):
        yield from _findings("R-CAT-5", _duplicates(nodes, field))
    for siblings in plans_by_offering:
        yield from _findings("R-CAT-5", _duplicates(siblings, "name"))
    for plan in plans:
        yield from _findings("R-CAT-3.version", _version_faults(plan))
        yield from _findings("R-CAT-4", _schema_faults(plan, validators))


def find_warnings(document: object) -> Iterator[Finding]:
    """Find the violations of Cloud Foundry's limits and of recommendations."""
    offerings, plans_by_offering = _nodes(document)
    plans = [plan for siblings in plans_by_offering for plan in siblings]
    for node in (*offerings, *plans):
        yield from _recommendations(node)
    for offering in offerings:
        yield from _findings("R-CAT-6", _cloud_foundry_offering(offering))
    for plan in plans:
        yield from _findings("R-CAT-6", _cloud_foundry_maintenance_info(plan))


def _findings(rule: str, lines: Iterator[str]) -> Iterator[Finding]:
    return (Finding(rule, line) for line in lines)


def unknown_fields(document: object, structure: type[msgspec.Struct]) -> Iterator[str]:
    """Yield a message for each field that is not part of the API, with the closest known name."""
    if isinstance(document, dict):  # other keys at the top level, such as YAML anchors, are not fields
        top = {name: value for name, value in document.items() if name in structure.__struct_fields__}
        yield from _unknown(top, inspect.type_info(structure), ())


def _unknown(value: object, kind: inspect.Type, path: tuple[str | int, ...]) -> Iterator[str]:
    match kind, value:
        case inspect.StructType(cls=struct, fields=fields), dict():
            field_types = {field.encode_name: field.type for field in fields}
            for name, child in value.items():
                if name in field_types:
                    yield from _unknown(child, field_types[name], (*path, name))
                else:
                    close = difflib.get_close_matches(str(name), field_types, n=1)
                    hint = f"; did you mean {close[0]!r}?" if close else ""
                    yield f"{format_path((*path, name))}: is not a field of {struct.__name__}; ignored{hint}"
        case inspect.UnionType(types=kinds), _:
            for member in kinds:
                yield from _unknown(value, member, path)
        case inspect.CollectionType(item_type=item_type), list():
            for number, child in enumerate(value):
                yield from _unknown(child, item_type, (*path, number))


def _nodes(document: object) -> tuple[list[_Node], list[list[_Node]]]:
    """Return the offerings, and a list of plans for each offering."""
    offerings = list(_objects(document, "services"))
    return offerings, [list(_objects(offering.value, "plans", offering.path)) for offering in offerings]


def _objects(parent: object, field: str, path: str = "") -> Iterator[_Node]:
    items = parent.get(field) if isinstance(parent, dict) else None
    for number, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, dict):
            yield _Node(f"{path}.{field}[{number}]".removeprefix("."), item)


def _structure_faults(document: object, structure: type[msgspec.Struct]) -> Iterator[str]:
    """Find wrong types and missing fields. Unlike msgspec itself, its JSON Schema reports all of them."""
    validator = jsonschema_rs.validator_for(msgspec.json.schema(structure))
    for error in validator.iter_errors(document):
        for cause in _causes(error):
            yield f"{format_path(cause.instance_path) or 'catalog'}: {_describe(cause)}"


def _causes(error: jsonschema_rs.ValidationError) -> Iterator[jsonschema_rs.ValidationError]:
    """Yield the errors in the branches of an optional field ("anyOf null or type"), or else the error."""
    if isinstance(error.kind, _Kind.AnyOf):
        for branch in error.kind.context:
            for cause in branch:
                if not (isinstance(cause.kind, _Kind.Type) and cause.kind.types == ["null"]):
                    yield from _causes(cause)
    else:
        yield error


def _describe(error: jsonschema_rs.ValidationError) -> str:
    # A catalog may contain the secret of a dashboard client, so no message repeats a value.
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
        case _:  # pragma: no cover - the structs produce no other kind
            return "is not valid"


def _duplicates(nodes: list[_Node], field: str) -> Iterator[str]:
    first: dict[str, str] = {}
    for node in nodes:
        value = node.value.get(field)
        if isinstance(value, str) and value:
            if value in first:
                yield f"{node.path}.{field}: {value!r} is also the {field} of {first[value]}"
            first.setdefault(value, node.path)


def _version_faults(plan: _Node) -> Iterator[str]:
    version = _get_nested(plan.value, "maintenance_info", "version")
    if isinstance(version, str) and version and not _SEMVER.fullmatch(version):
        yield f"{plan.path}.maintenance_info.version: {version!r} is not a semantic version, such as '1.0.0'"


def _schema_faults(plan: _Node, validators: dict[SchemaKey, Validator]) -> Iterator[str]:
    for resource, action in _SCHEMA_POSITIONS:
        schema = _get_nested(plan.value, "schemas", resource, action, "parameters")
        if isinstance(schema, dict):
            try:
                validators[str(plan.value.get("id")), resource, action] = compile_schema(schema)
            except SchemaError as error:
                yield f"{plan.path}.schemas.{resource}.{action}.parameters: {error}"


def _recommendations(node: _Node) -> Iterator[Finding]:
    name = node.value.get("name")
    if isinstance(name, str) and name and not _FRIENDLY.fullmatch(name):
        problem = f"{name!r} is hard to type; letters, digits, '.' and '-' are recommended"
        yield Finding("R-CAT-5.names", f"{node.path}.name: {problem}")
    for field in ("id", "name", "description"):
        value = node.value.get(field)
        length = len(value) if isinstance(value, str) else 0
        if field == "description" and length > _CLOUD_FOUNDRY_DESCRIPTION:
            problem = f"Cloud Foundry refuses more than {_CLOUD_FOUNDRY_DESCRIPTION:,} characters"
            yield Finding("R-CAT-6", f"{node.path}.{field}: {problem}")
        elif length > _RECOMMENDED_LENGTH:
            problem = f"has {length:,} characters; at most {_RECOMMENDED_LENGTH} are recommended"
            yield Finding("R-CAT-5.lengths", f"{node.path}.{field}: {problem}")


def _cloud_foundry_offering(offering: _Node) -> Iterator[str]:
    tags = offering.value.get("tags")
    if isinstance(tags, list) and sum(len(t) for t in tags if isinstance(t, str)) > _CLOUD_FOUNDRY_TAGS:
        yield f"{offering.path}.tags: Cloud Foundry refuses more than {_CLOUD_FOUNDRY_TAGS:,} characters"
    client = offering.value.get("dashboard_client")
    if isinstance(client, dict) and not client.get("redirect_uri"):
        yield f"{offering.path}.dashboard_client.redirect_uri: Cloud Foundry refuses a client without it"
    shareable = _get_nested(offering.value, "metadata", "shareable")
    if shareable is not None and not isinstance(shareable, bool):
        yield f"{offering.path}.metadata.shareable: Cloud Foundry refuses values other than true and false"


def _cloud_foundry_maintenance_info(plan: _Node) -> Iterator[str]:
    info = plan.value.get("maintenance_info")
    if not isinstance(info, dict):
        return
    if len(msgspec.json.encode(info)) > _CLOUD_FOUNDRY_MAINTENANCE_INFO:
        yield (
            f"{plan.path}.maintenance_info: Cloud Foundry refuses more than"
            f" {_CLOUD_FOUNDRY_MAINTENANCE_INFO:,} characters"
        )


def _get_nested(value: object, *fields: str) -> object:
    for field in fields:
        value = value.get(field) if isinstance(value, dict) else None
    return value
