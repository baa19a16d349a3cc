"""JSON Schemas: compiled once, offline, and told apart from what they are given.

The validator is jsonschema-rs (drafts 4 to 2020-12). It is handed a retriever that refuses, so that no
schema can make the broker fetch anything, and a mask, so that no message repeats a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Protocol

import jsonschema_rs
import msgspec

from .._internal.json_decode import is_deeper_than

MAX_BYTES = 64 * 1024
"""How large a schema may be, as JSON (R-CAT-4)."""

_VALUE = "the value"
_MOST = 10
"""How many faults are told."""
_LONGEST = 300
"""How many characters of a fault are told."""
_LARGE = 4096
"""From how many bytes as JSON on only the first fault of an instance is looked for."""
_DEEP = 6
"""From how many levels on no fault of an instance is looked for."""


class Validator(Protocol):
    """A compiled schema."""

    def is_valid(self, instance: Any) -> bool: ...

    def validate(self, instance: Any) -> None: ...

    def iter_errors(self, instance: Any) -> Iterable[jsonschema_rs.ValidationError]: ...


class SchemaError(ValueError):
    """A schema that a catalog must not carry; the message says why."""


def compile_schema(schema: dict[str, Any]) -> Validator:
    """Compile a schema of a catalog.

    Raises:
        SchemaError: It has no ``$schema``, is larger than :data:`MAX_BYTES`, refers to another
            document, or is no valid schema of its draft (R-CAT-4).
    """
    draft = schema.get("$schema")
    if not isinstance(draft, str) or not draft:
        raise SchemaError(
            "has no '$schema'; name the draft, such as \"http://json-schema.org/draft-07/schema#\""
        )
    try:
        size = len(msgspec.json.encode(schema))
    except RecursionError:
        raise SchemaError("is nested too deep") from None
    if size > MAX_BYTES:
        raise SchemaError(f"is {size:,} bytes long as JSON; at most {MAX_BYTES:,} are allowed")
    refused: list[str] = []

    def refuse(uri: str) -> Any:
        refused.append(uri)
        raise LookupError("external references are not followed")

    try:
        return jsonschema_rs.validator_for(schema, retriever=refuse, mask=_VALUE)
    except jsonschema_rs.ValidationError as error:
        if refused:
            raise SchemaError(f"refers to {refused[0]!r}; write what it refers to into the schema") from None
        where = format_path(error.instance_path)
        place = f" (at {where})" if where else ""
        raise SchemaError(f"is not a valid JSON Schema{place}: {error.message}") from None
    except (ValueError, TypeError, RecursionError) as error:  # too deep, or no JSON
        raise SchemaError(f"is not a valid JSON Schema: {error}") from None


def find_problems(validator: Validator, instance: object, *, root: str) -> list[str]:
    """What is wrong with `instance`, a line a fault, each with its place below `root`.

    Property names are told, values never. To name faults costs much more than to find that there are
    some: memory for each, and for every branch of a recursive schema at every level. So of a large
    instance only the first is told, and of a deep one none.
    """
    if validator.is_valid(instance):
        return []
    if is_deeper_than(instance, _DEEP):
        return [f"{root}: do not fit the plan's schema, and are nested too deep to say where"]
    large = len(msgspec.json.encode(instance)) > _LARGE
    errors = _first_error(validator, instance) if large else iter(validator.iter_errors(instance))
    found = [_line(error, root) for error in islice(errors, _MOST)]
    if large or next(errors, None) is not None:
        found.append("and maybe more" if large else "and more")
    return found


def _first_error(validator: Validator, instance: object) -> Iterator[jsonschema_rs.ValidationError]:
    try:
        validator.validate(instance)
    except jsonschema_rs.ValidationError as error:
        yield error


def format_path(steps: Iterable[str | int]) -> str:
    """A place in a JSON document, written ``plans[0].id``."""
    return "".join(_written(steps)).removeprefix(".")


def _written(steps: Iterable[str | int]) -> Iterator[str]:
    for step in steps:
        yield f"[{step}]" if isinstance(step, int) else f".{step}"


def _line(error: jsonschema_rs.ValidationError, root: str) -> str:
    place = format_path([root, *error.instance_path])
    if isinstance(
        error.kind, jsonschema_rs.ValidationErrorKind.PropertyNames
    ):  # repeats what it is about, unmasked
        return _short(f"{place}: has a property whose name is not allowed")
    if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.FalseSchema):
        return _short(f"{place}: is not allowed by the plan's schema")
    return _short(f"{place}: {error.message.removeprefix(_VALUE + ' ')}")


def _short(line: str) -> str:
    """As much of a line as a user reads; the names in it are as long and as many as its sender likes."""
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
