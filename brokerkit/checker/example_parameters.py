"""Parameters for a plan, out of its JSON Schema: some that it takes, and some that it refuses.

What is chosen is what a person would: the schema's own `examples`, `default`, `const` and `enum` come first,
then bounds. A property that is optional and says nothing of its values is left out, because a service may
make something of any word in it. What is found is judged by the compiled schema, so nothing here can
be wrong but for finding too little.

A schema is a stranger's, and may be made to take for ever: so the search has an end, and what is too
intricate is not even compiled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Any

import msgspec

from ..catalog.json_schema import SchemaError, Validator, compile_schema
from .example_strings import string_matching

_TRIES = 400
_STEPS = 20_000
"""How many values are made of one schema at most, with those that are parts of others."""
_DEPTH = 8
_LARGEST = 5_000
"""How many characters and parts an array may have in all."""
_INTRICATE = 100_000
"""From how many subschemas on, those that are referred to counted each time, none is looked into."""
_TEXTS = {
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
_STRANGER = "brokerkit_check_unknown"
_WRONG: tuple[Any, ...] = (-1.5, [[]], {"": None}, "\0", None)

Values = dict[str, Any]


def accepted_examples(schema: Mapping[str, Any], count: int = 2) -> list[Values]:
    """Parameters that a schema takes, all different, those that say something first.

    Args:
        schema: A JSON Schema of a catalog.
        count: How many at most.

    Returns:
        Maybe fewer, or none, where the schema is too intricate.
    """
    validator = _compiled(schema)
    if validator is None:
        return []
    found: list[Values] = []
    for value in islice(_candidates(schema, _Search(schema), 0), _TRIES):
        if isinstance(value, dict) and value not in found and _is_valid(validator, value):
            found.append(value)
    found.sort(key=lambda value: not value)  # stable: the empty ones last
    return found[:count]


def rejected_examples(schema: Mapping[str, Any], like: Mapping[str, Any]) -> Values | None:
    """Parameters that a schema refuses; None if none are found.

    Args:
        schema: A JSON Schema of a catalog.
        like: Parameters that it takes.
    """
    validator = _compiled(schema)
    if validator is None:
        return None
    properties = schema.get("properties")
    names = list(properties) if isinstance(properties, dict) else []
    wrong = ({**like, name: value} for name in [*names, _STRANGER] for value in _WRONG)
    short = ({k: v for k, v in like.items() if k != name} for name in like)
    return next(
        (each for each in islice(chain(wrong, short, [{}]), _TRIES) if _is_valid(validator, each) is False),
        None,
    )


def required_example(schema: Mapping[str, Any]) -> bool:
    """Does a schema refuse to have no parameters at all?"""
    validator = _compiled(schema)
    return validator is not None and _is_valid(validator, {}) is False


class _Search:
    """One search for values of a schema, which ends.

    Args:
        root: The whole schema, for references.
    """

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root
        self._left = _STEPS

    def goes_on(self) -> bool:
        """Is there time for another value?"""
        self._left -= 1
        return self._left > 0

    def resolved(self, target: str) -> object:
        """What a reference inside the schema refers to."""
        return _resolved(target, self.root)


def _compiled(schema: Mapping[str, Any]) -> Validator | None:
    try:
        if _size(schema, schema, {}) >= _INTRICATE:
            return None
        return compile_schema(dict(schema))
    except (SchemaError, RecursionError):
        return None


def _size(node: object, root: Mapping[str, Any], known: dict[int, int]) -> int:
    """How many subschemas a validator may have to look into, up to :data:`_INTRICATE`."""
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = 1  # of a circle
    size = 1
    if isinstance(node, dict):
        inner = [
            value for name, value in node.items() if name not in ("definitions", "$defs", "enum", "const")
        ]
        target = node.get("$ref")
        if isinstance(target, str):
            if target != "#" and not target.startswith("#/"):
                return _INTRICATE
            inner.append(_resolved(target, root))
    else:
        inner = node if isinstance(node, list) else []
    for each in inner:
        if isinstance(each, dict | list):
            size = min(size + _size(each, root, known), _INTRICATE)
    known[id(node)] = size
    return size


def _is_valid(validator: Validator, value: Values) -> bool | None:
    """Does a schema take it? None if it cannot be sent."""
    try:
        msgspec.json.encode(value)
        return validator.is_valid(value)
    except (ValueError, OverflowError, RecursionError, TypeError):
        return None


def _candidates(schema: object, search: _Search, depth: int) -> Iterator[Any]:
    """Values that a schema may take, the most telling first."""
    if depth > _DEPTH or schema is False or not search.goes_on():
        return
    if not isinstance(schema, dict):
        yield from _WORDS[:1]
        return
    yield from _told(schema)
    if "const" in schema or "enum" in schema:
        return
    target = schema.get("$ref")
    if isinstance(target, str):
        yield from _candidates(search.resolved(target), search, depth + 1)
        return
    for each in ("allOf", "anyOf", "oneOf"):
        branches = schema.get(each)
        if isinstance(branches, list) and branches:
            rest = {name: value for name, value in schema.items() if name != each}
            if each == "allOf":
                for branch in branches:
                    rest = _merged(rest, _whole(branch, search))
                yield from _candidates(rest, search, depth + 1)
            else:
                for branch in branches:
                    yield from _candidates(_merged(rest, _whole(branch, search)), search, depth + 1)
            return
    for kind in _kinds(schema):
        yield from _of_kind(kind, schema, search, depth)


def _told(schema: Mapping[str, Any]) -> Iterator[Any]:
    """What a schema says itself of its values."""
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
        return [each for each in kind if isinstance(each, str)]
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
    needed = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
    base: Values = {}
    others: list[tuple[str, list[Any]]] = []
    for name in needed:
        values = list(islice(_candidates(properties.get(name, {}), search, depth + 1), 40))
        if not values:
            return
        base[name] = values[0]
        others.append((name, values[1:]))
    for name, inner in properties.items():
        if name not in needed and _is_telling(inner, search):
            values = list(islice(_candidates(inner, search, depth + 1), 8))
            others.append((name, values))
    yield base
    for name, values in others:
        for value in values:
            yield {**base, name: value}
    yield {**base, **{name: values[0] for name, values in others if values}}


def _is_telling(schema: object, search: _Search, depth: int = 0) -> bool:
    """Does it say enough of its values that one of them can be chosen?"""
    if not isinstance(schema, dict) or depth > _DEPTH:
        return False
    if next(_told(schema), None) is not None or schema.get("type") == "boolean":
        return True
    if "minimum" in schema or "maximum" in schema:
        return True
    target = schema.get("$ref")
    if isinstance(target, str):
        return _is_telling(search.resolved(target), search, depth + 1)
    return schema.get("type") == "array" and _is_telling(schema.get("items"), search, depth + 1)


def _arrays(schema: Mapping[str, Any], search: _Search, depth: int) -> Iterator[list[Any]]:
    least = schema.get("minItems")
    least = least if isinstance(least, int) else 0
    values = list(islice(_candidates(schema.get("items", {}), search, depth + 1), 20))
    if least <= _LARGEST:
        for value in values:
            if max(least, 1) * _parts(value) <= _LARGEST:
                yield [value] * max(least, 1)
        if 1 < least <= len(values) and sum(map(_parts, values[:least])) <= _LARGEST:
            yield values[:least]
    if least == 0:
        yield []


def _parts(value: object) -> int:
    """How large it is, more or less as JSON."""
    if isinstance(value, dict):
        return 1 + sum(len(name) + _parts(each) for name, each in value.items())
    if isinstance(value, list):
        return 1 + sum(map(_parts, value))
    return 1 + len(value) if isinstance(value, str) else 1


def _strings(schema: Mapping[str, Any]) -> Iterator[str]:
    kind = schema.get("format")
    if isinstance(kind, str) and kind in _TEXTS:
        yield _TEXTS[kind]
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
    """Those below and above a number, unless they are too large."""
    try:
        yield step * (start // step)
        yield step * (start // step + 1)
    except OverflowError:
        return


def _resolved(target: str, root: Mapping[str, Any]) -> object:
    """What a reference inside the schema refers to."""
    found: object = root
    for step in target.removeprefix("#").split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _whole(branch: object, search: _Search) -> Mapping[str, Any]:
    if isinstance(branch, dict) and isinstance(branch.get("$ref"), str):
        branch = search.resolved(branch["$ref"])
    return branch if isinstance(branch, dict) else {}


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Both schemas in one, as far as it goes; the compiled schema has the last word."""
    both = {**one, **other}
    for name in ("properties", "required"):
        if name in one and name in other:
            if isinstance(one[name], dict) and isinstance(other[name], dict):
                both[name] = {**one[name], **other[name]}
            elif isinstance(one[name], list) and isinstance(other[name], list):
                both[name] = [*one[name], *other[name]]
    return both
