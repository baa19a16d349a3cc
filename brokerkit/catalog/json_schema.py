"""Compilation of JSON Schemas, and validation against them.

The validator is jsonschema-rs (drafts 4 to 2020-12). Its retriever refuses everything, so that no schema can
make the broker fetch a document. Its messages mask all values, which may be secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Protocol

import jsonschema_rs
import msgspec

from .._internal.json_decode import is_deeper_than
from .._internal.text import truncate

MAX_BYTES = 64 * 1024
"""The maximum size of a schema as JSON, in bytes (R-CAT-4)."""

_VALUE_MASK = "the value"
_MAX_FAULTS = 10
"""The maximum number of reported faults."""
_FAULT_LIMIT = 300
"""Characters of a reported fault. The names in it come from the sender, in any number and length."""
_LARGE = 4096
"""The size in bytes, as JSON, above which the search for faults ends at the first fault."""
_DEEP = 6
"""The nesting depth above which a document gets a general message instead of a search for faults."""


class Validator(Protocol):
    """A compiled schema."""

    def is_valid(self, instance: Any) -> bool: ...

    def validate(self, instance: Any) -> None: ...

    def iter_errors(self, instance: Any) -> Iterable[jsonschema_rs.ValidationError]: ...


class SchemaError(ValueError):
    """A schema that must not be in a catalog. The message names the reason."""


def compile_schema(schema: dict[str, Any]) -> Validator:
    """Compile a schema of a catalog.

    Args:
        schema: The JSON Schema.

    Returns:
        The compiled schema.

    Raises:
        SchemaError: The schema has no ``$schema``, is larger than :data:`MAX_BYTES`, refers to another
            document, or is not valid in its draft (R-CAT-4).
    """
    draft = schema.get("$schema")
    if not isinstance(draft, str) or not draft:
        raise SchemaError(
            "has no '$schema'; add the draft, such as \"http://json-schema.org/draft-07/schema#\""
        )
    try:
        size = len(msgspec.json.encode(schema))
    except RecursionError:
        raise SchemaError("is nested too deeply") from None
    if size > MAX_BYTES:
        raise SchemaError(f"has {size:,} bytes as JSON; at most {MAX_BYTES:,} are allowed")
    refused_uris: list[str] = []

    def refuse(uri: str) -> Any:
        refused_uris.append(uri)
        raise LookupError("external references are not followed")

    try:
        return jsonschema_rs.validator_for(schema, retriever=refuse, mask=_VALUE_MASK)
    except jsonschema_rs.ValidationError as error:
        if refused_uris:
            raise SchemaError(f"refers to {refused_uris[0]!r}; copy that document into the schema") from None
        path = format_path(error.instance_path)
        location = f" (at {path})" if path else ""
        raise SchemaError(f"is not a valid JSON Schema{location}: {error.message}") from None
    except (ValueError, TypeError, RecursionError) as error:  # nested too deeply, or not JSON
        raise SchemaError(f"is not a valid JSON Schema: {error}") from None


def find_problems(validator: Validator, instance: object, *, root: str) -> list[str]:
    """Describe the faults of a document, each with its path.

    The messages contain property names, but never values. The search for faults costs much more than the
    decision whether there are any: memory for each fault, and for each branch of a recursive schema at each
    level. So a large document gets only its first fault, and a deep one a general message.

    Args:
        validator: The compiled schema.
        instance: The document.
        root: The name of the document, with which every path starts.

    Returns:
        The faults; empty if the document is valid.
    """
    if validator.is_valid(instance):
        return []
    if is_deeper_than(instance, _DEEP):
        return [
            f"{root}: do not match the plan's schema, and are nested too deeply for a more precise message"
        ]
    large = len(msgspec.json.encode(instance)) > _LARGE
    errors = _first_error(validator, instance) if large else iter(validator.iter_errors(instance))
    problems = [_describe(error, root) for error in islice(errors, _MAX_FAULTS)]
    if large or next(errors, None) is not None:
        problems.append("and possibly more" if large else "and more")
    return problems


def _first_error(validator: Validator, instance: object) -> Iterator[jsonschema_rs.ValidationError]:
    try:
        validator.validate(instance)
    except jsonschema_rs.ValidationError as error:
        yield error


def format_path(steps: Iterable[str | int]) -> str:
    """Format a path in a JSON document: ``plans[0].id``."""
    parts = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return "".join(parts).removeprefix(".")


def _describe(error: jsonschema_rs.ValidationError, root: str) -> str:
    path = format_path([root, *error.instance_path])
    match error.kind:
        case jsonschema_rs.ValidationErrorKind.PropertyNames():  # its message repeats the name, unmasked
            problem = "has a property whose name is not allowed"
        case jsonschema_rs.ValidationErrorKind.FalseSchema():
            problem = "is not allowed by the plan's schema"
        case _:
            problem = error.message.removeprefix(f"{_VALUE_MASK} ")
    return truncate(f"{path}: {problem}", _FAULT_LIMIT)
