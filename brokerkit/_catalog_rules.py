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

from ._schemas import SchemaError, Validator, compile_schema, path

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


class Verdict(NamedTuple):
    """What the rules say of a catalog, a line each, with its place in front; and its schemas, compiled."""

    faults: list[str]
    warnings: list[str]
    validators: dict[SchemaKey, Validator]


class _Node(NamedTuple):
    place: str
    value: dict[str, Any]


def judge(document: object, structure: type[msgspec.Struct]) -> Verdict:
    """Apply every rule to a catalog in plain form.

    Args:
        document: What stands in a catalog file, read.
        structure: The struct that the document must fit.
    """
    offerings, plans_of = _nodes(document)
    plans = [plan for of_offering in plans_of for plan in of_offering]
    validators: dict[SchemaKey, Validator] = {}
    return Verdict(
        faults=[
            *_structure_faults(document, structure),
            *_duplicates(offerings, "id"),
            *_duplicates(offerings, "name"),
            *_duplicates(plans, "id"),
            *(fault for of_offering in plans_of for fault in _duplicates(of_offering, "name")),
            *(fault for plan in plans for fault in _version_faults(plan)),
            *(fault for plan in plans for fault in _schema_faults(plan, validators)),
        ],
        warnings=[
            *(line for node in (*offerings, *plans) for line in _recommendations(node)),
            *(line for offering in offerings for line in _cloud_foundry_offering(offering)),
            *(line for plan in plans for line in _cloud_foundry_maintenance_info(plan)),
        ],
        validators=validators,
    )


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
                    yield f"{path((*place, name))}: is no field of {struct.__name__} and is left out{hint}"
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
            yield f"{path(single.instance_path) or 'catalog'}: {_in_words(single)}"


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


def _recommendations(node: _Node) -> Iterator[str]:
    name = node.value.get("name")
    if isinstance(name, str) and name and not _FRIENDLY.fullmatch(name):
        yield f"{node.place}.name: {name!r} is hard to type; letters, digits, '.' and '-' are recommended"
    for field in ("id", "name"):
        value = node.value.get(field)
        if isinstance(value, str) and len(value) > _RECOMMENDED_LENGTH:
            yield (
                f"{node.place}.{field}: is {len(value):,} characters long;"
                f" at most {_RECOMMENDED_LENGTH} are recommended"
            )
    description = node.value.get("description")
    if isinstance(description, str):
        if len(description) > _CLOUD_FOUNDRY_DESCRIPTION:
            yield (
                f"{node.place}.description: Cloud Foundry refuses more than"
                f" {_CLOUD_FOUNDRY_DESCRIPTION:,} characters"
            )
        elif len(description) > _RECOMMENDED_LENGTH:
            yield (
                f"{node.place}.description: is {len(description):,} characters long;"
                f" at most {_RECOMMENDED_LENGTH} are recommended"
            )


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
