"""Example parameters from a plan's JSON Schema: valid ones and invalid ones.

The schema's own `examples`, `default`, `const` and `enum` come first, then bounds. An optional property
without a hint about its values is left out, because a service may act on any value of it. The compiled schema
validates each candidate, so the only possible error is to find too few examples.

A schema comes from outside and may be designed to make the search endless. The search is therefore bounded,
and a schema that is too complex is not compiled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Any

import msgspec

from ..catalog.json_schema import SchemaError, Validator, compile_schema
from .example_strings import string_matching

_MAX_CANDIDATES = 400
_MAX_VALUES = 20_000
"""Values generated from one schema, nested values included."""
_MAX_DEPTH = 8
_MAX_ARRAY_SIZE = 5_000
"""Characters and elements of an array in total."""
_MAX_SUBSCHEMAS = 100_000
"""Subschemas of a schema, counting each reference's target each time. A schema with more is not compiled."""
_FORMAT_EXAMPLES = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "email": "brokerkit@example.org",
    "hostname": "db.example.org",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.org/",
    "uuid": "0e8a8c1e-7a35-4a33-a9a4-3bd0e0a1f101",
}
_WORDS = (
    "brokerkit",
    "1",
    "1.0.0",
    "a",
    "A",
    "eu-west-1",
    "192.0.2.0/24",
    "10GB",
    "1h",
    "brokerkit-1",
    "Brokerkit-2026!",
)
_UNKNOWN_NAME = "brokerkit_check_unknown"
_INVALID_VALUES: tuple[Any, ...] = (-1.5, [[]], {"": None}, "\0", None)

Values = dict[str, Any]


def accepted_examples(schema: Mapping[str, Any], count: int = 2) -> list[Values]:
    """Generate distinct parameters that a schema accepts, non-empty ones first.

    Args:
        schema: A JSON Schema of a catalog.
        count: The maximum number of examples. Defaults to 2.

    Returns:
        The examples. There may be fewer, or none if the schema is too complex.
    """
    validator = _compiled(schema)
    if validator is None:
        return []
    examples: list[Values] = []
    for value in islice(_candidates(schema, _Search(schema), 0), _MAX_CANDIDATES):
        if isinstance(value, dict) and value not in examples and _is_valid(validator, value):
            examples.append(value)
    examples.sort(key=lambda value: not value)  # a stable sort: empty ones last
    return examples[:count]


def rejected_examples(schema: Mapping[str, Any], like: Mapping[str, Any]) -> Values | None:
    """Generate parameters that a schema rejects.

    Args:
        schema: A JSON Schema of a catalog.
        like: Valid parameters to start from.

    Returns:
        The parameters; None if no example is found.
    """
    validator = _compiled(schema)
    if validator is None:
        return None
    properties = schema.get("properties")
    names = list(properties) if isinstance(properties, dict) else []
    with_wrong_value = (
        {**like, name: value} for name in [*names, _UNKNOWN_NAME] for value in _INVALID_VALUES
    )
    with_missing_name = ({k: v for k, v in like.items() if k != name} for name in like)
    candidates = islice(chain(with_wrong_value, with_missing_name, [{}]), _MAX_CANDIDATES)
    return next((value for value in candidates if _is_valid(validator, value) is False), None)


def required_example(schema: Mapping[str, Any]) -> bool:
    """Return whether a schema rejects empty parameters."""
    validator = _compiled(schema)
    return validator is not None and _is_valid(validator, {}) is False


class _Search:
    """A bounded search for values of a schema.

    Args:
        root: The root schema, to resolve references in.
    """

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root
        self._remaining = _MAX_VALUES

    def take_step(self) -> bool:
        """Count a value, and return whether the search may continue."""
        self._remaining -= 1
        return self._remaining > 0

    def resolve(self, reference: str) -> object:
        """Return the target of a reference inside the schema."""
        return _resolve(reference, self.root)


def _compiled(schema: Mapping[str, Any]) -> Validator | None:
    try:
        if _count_subschemas(schema, schema, {}) >= _MAX_SUBSCHEMAS:
            return None
        return compile_schema(dict(schema))
    except (SchemaError, RecursionError):
        return None


def _count_subschemas(node: object, root: Mapping[str, Any], counts: dict[int, int]) -> int:
    """Count the subschemas that a validator may evaluate, up to :data:`_MAX_SUBSCHEMAS`."""
    if id(node) in counts:
        return counts[id(node)]
    counts[id(node)] = 1  # ends a cycle
    count = 1
    if isinstance(node, dict):
        inner = [
            value for name, value in node.items() if name not in ("definitions", "$defs", "enum", "const")
        ]
        target = node.get("$ref")
        if isinstance(target, str):
            if target != "#" and not target.startswith("#/"):
                return _MAX_SUBSCHEMAS
            inner.append(_resolve(target, root))
    else:
        inner = node if isinstance(node, list) else []
    for child in inner:
        if isinstance(child, dict | list):
            count = min(count + _count_subschemas(child, root, counts), _MAX_SUBSCHEMAS)
    counts[id(node)] = count
    return count


def _is_valid(validator: Validator, value: Values) -> bool | None:
    """Return whether a schema accepts a value; None if JSON cannot represent it."""
    try:
        msgspec.json.encode(value)
        return validator.is_valid(value)
    except (ValueError, OverflowError, RecursionError, TypeError):
        return None


def _candidates(schema: object, search: _Search, depth: int) -> Iterator[Any]:
    """Generate values that a schema may accept, the most typical first."""
    if depth > _MAX_DEPTH or schema is False or not search.take_step():
        return
    if not isinstance(schema, dict):
        yield from _WORDS[:1]
        return
    yield from _stated_values(schema)
    if "const" in schema or "enum" in schema:
        return
    target = schema.get("$ref")
    if isinstance(target, str):
        yield from _candidates(search.resolve(target), search, depth + 1)
        return
    for keyword in ("allOf", "anyOf", "oneOf"):
        branches = schema.get(keyword)
        if isinstance(branches, list) and branches:
            rest = {name: value for name, value in schema.items() if name != keyword}
            if keyword == "allOf":
                for branch in branches:
                    rest = _merge(rest, _dereference(branch, search))
                yield from _candidates(rest, search, depth + 1)
            else:
                for branch in branches:
                    yield from _candidates(_merge(rest, _dereference(branch, search)), search, depth + 1)
            return
    for kind in _kinds(schema):
        yield from _of_kind(kind, schema, search, depth)


def _stated_values(schema: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the values that a schema states itself."""
    examples = schema.get("examples")
    if isinstance(examples, list):
        yield from examples
    for name in ("example", "default", "const"):
        if name in schema:
            yield schema[name]
    options = schema.get("enum")
    if isinstance(options, list):
        yield from options


def _kinds(schema: Mapping[str, Any]) -> list[str]:
    kind = schema.get("type")
    if isinstance(kind, str):
        return [kind]
    if isinstance(kind, list):
        return [name for name in kind if isinstance(name, str)]
    if "properties" in schema or "required" in schema:
        return ["object"]
    return ["array"] if "items" in schema else ["string", "integer", "object"]


def _of_kind(kind: str, schema: Mapping[str, Any], search: _Search, depth: int) -> Iterator[Any]:
    match kind:
        case "object":
            yield from _objects(schema, search, depth)
        case "array":
            yield from _arrays(schema, search, depth)
        case "string":
            yield from _strings(schema)
        case "integer" | "number":
            yield from _numbers(schema)
        case "boolean":
            yield from (True, False)
        case "null":
            yield None


def _objects(schema: Mapping[str, Any], search: _Search, depth: int) -> Iterator[Values]:
    properties = schema.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    required = schema.get("required")
    required_names = (
        [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
    )
    base: Values = {}
    alternatives: list[tuple[str, list[Any]]] = []
    for name in required_names:
        values = list(islice(_candidates(properties.get(name, {}), search, depth + 1), 40))
        if not values:
            return
        base[name] = values[0]
        alternatives.append((name, values[1:]))
    for name, inner in properties.items():
        if name not in required_names and _hints_at_values(inner, search):
            values = list(islice(_candidates(inner, search, depth + 1), 8))
            alternatives.append((name, values))
    yield base
    for name, values in alternatives:
        for value in values:
            yield {**base, name: value}
    yield {**base, **{name: values[0] for name, values in alternatives if values}}


def _hints_at_values(schema: object, search: _Search, depth: int = 0) -> bool:
    """Return whether a schema says enough about its values to choose one."""
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        return False
    if next(_stated_values(schema), None) is not None or schema.get("type") == "boolean":
        return True
    if "minimum" in schema or "maximum" in schema:
        return True
    target = schema.get("$ref")
    if isinstance(target, str):
        return _hints_at_values(search.resolve(target), search, depth + 1)
    return schema.get("type") == "array" and _hints_at_values(schema.get("items"), search, depth + 1)


def _arrays(schema: Mapping[str, Any], search: _Search, depth: int) -> Iterator[list[Any]]:
    least = schema.get("minItems")
    least = least if isinstance(least, int) else 0
    values = list(islice(_candidates(schema.get("items", {}), search, depth + 1), 20))
    if least <= _MAX_ARRAY_SIZE:
        for value in values:
            if max(least, 1) * _size(value) <= _MAX_ARRAY_SIZE:
                yield [value] * max(least, 1)
        if 1 < least <= len(values) and sum(map(_size, values[:least])) <= _MAX_ARRAY_SIZE:
            yield values[:least]
    if least == 0:
        yield []


def _size(value: object) -> int:
    """Estimate the size of a value as JSON."""
    if isinstance(value, dict):
        return 1 + sum(len(name) + _size(item) for name, item in value.items())
    if isinstance(value, list):
        return 1 + sum(map(_size, value))
    return 1 + len(value) if isinstance(value, str) else 1


def _strings(schema: Mapping[str, Any]) -> Iterator[str]:
    kind = schema.get("format")
    if isinstance(kind, str) and kind in _FORMAT_EXAMPLES:
        yield _FORMAT_EXAMPLES[kind]
    least = schema.get("minLength")
    most = schema.get("maxLength")
    for word in _WORDS:
        text = word
        if isinstance(least, int) and len(text) < least <= 10_000:
            text = (text * least)[:least]
        yield text[:most] if isinstance(most, int) else text
    pattern = schema.get("pattern")
    if isinstance(pattern, str):
        yield from string_matching(pattern)


def _numbers(schema: Mapping[str, Any]) -> Iterator[int | float]:
    least, most = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    step = schema.get("multipleOf")
    starts: list[int | float] = []
    for bound, add in ((least, 0), (above, 1), (most, 0), (below, -1)):
        if isinstance(bound, int | float) and not isinstance(bound, bool):
            starts += [bound + add, bound + add + 1, bound + add - 1]
    for start in [*starts, 1, 2, 0]:
        yield start
        if isinstance(step, int | float) and step and not isinstance(step, bool):
            yield from _multiples(step, start)


def _multiples(step: int | float, start: int | float) -> Iterator[int | float]:
    """Yield the multiples of a step next to a number, unless they overflow."""
    try:
        yield step * (start // step)
        yield step * (start // step + 1)
    except OverflowError:
        return


def _resolve(reference: str, root: Mapping[str, Any]) -> object:
    """Return the target of a reference inside the schema, or None."""
    node: object = root
    for step in reference.removeprefix("#").split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        node = node.get(name) if isinstance(node, dict) else None
    return node


def _dereference(branch: object, search: _Search) -> Mapping[str, Any]:
    if isinstance(branch, dict) and isinstance(branch.get("$ref"), str):
        branch = search.resolve(branch["$ref"])
    return branch if isinstance(branch, dict) else {}


def _merge(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two schemas approximately; the compiled schema decides in the end."""
    both = {**one, **other}
    for name in ("properties", "required"):
        if name in one and name in other:
            if isinstance(one[name], dict) and isinstance(other[name], dict):
                both[name] = {**one[name], **other[name]}
            elif isinstance(one[name], list) and isinstance(other[name], list):
                both[name] = [*one[name], *other[name]]
    return both
