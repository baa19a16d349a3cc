"""The parsing and validation of a broker's response, with a platform's strictness.

Each field is validated on its own by the type of the result, so that one error lists all faults.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from types import NoneType
from typing import Any, Literal, NamedTuple, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Struct

from .._internal.json_decode import describe_validation_error
from .._internal.text import truncate
from ..catalog.models import ServiceOffering
from ..endpoints import ENDPOINTS, REQUIRED_PERMISSIONS
from ..requests import Operation
from ..results import MAX_OPERATION, Accepted, Binding, LastOperation
from .exchange import Exchange


class ParsedResponse(NamedTuple):
    """A parsed response.

    Args:
        result: The result; None for an invalid response or an error response.
        faults: The faults of an invalid response, one line each. The fault of a field begins with its name.
    """

    result: Struct | None
    faults: tuple[str, ...] = ()


_INTERNAL_FIELDS = frozenset({"exists", "data", "retry_after", "result"})
"""Fields of results that are not part of a response."""

_RESULT_TYPES: dict[Operation, dict[int, type[Struct]]] = {
    operation: {
        status: kind
        for kind, form in endpoint.responses.items()
        for status in (form.status, form.unchanged_status)
        if status is not None
    }
    for operation, endpoint in ENDPOINTS.items()
}
"""The type of the result, by operation and status code."""

_SECONDS = re.compile(r"[0-9]{1,9}")
_TIMES = {
    "Invalid RFC3339 encoded datetime": "is not a time such as 2030-01-31T12:00:00.0Z",
    "expected datetime": "expected a time",
}
_STRUCT_ERROR = re.compile(r"\w+\((?P<name>\w+)=…\):? (?P<fault>[^;]*).*", re.DOTALL)
"""The form of an error from a struct's own validation: ``Class(field=…): fault; remedy``."""


def parse_response(operation: Operation, exchange: Exchange) -> ParsedResponse:
    """Parse the response to any request but the one for the catalog.

    Args:
        operation: The requested operation.
        exchange: The request and its response.
    """
    status = exchange.status
    if status is not None and exchange.failure is not None:
        return ParsedResponse(None, (exchange.failure,))
    kind = _RESULT_TYPES[operation].get(status or 0)
    if kind is None:
        if status is not None and 400 <= status <= 599:
            return ParsedResponse(None)
        expected = " or ".join(str(code) for code in sorted(_RESULT_TYPES[operation]) if code < 400)
        return ParsedResponse(None, (f"the status is {status}; it must be {expected}, or an error status",))
    if status == 410:
        return ParsedResponse(kind())
    document = exchange.document
    if document is None:
        return ParsedResponse(None, ("the body is not a JSON object",))
    faults: list[str] = []
    if kind is Accepted:  # a platform ignores the fields that this operation does not have
        omitted = ENDPOINTS[operation].responses[kind].omitted
        document = {name: value for name, value in document.items() if name not in omitted}
    values = _fields(kind, document, "", faults)
    if kind is Accepted:
        faults += _operation_faults(values.get("operation"))
    if faults:
        return ParsedResponse(None, tuple(faults))
    if status == 200 and operation in (Operation.PROVISION, Operation.BIND):
        values["exists"] = True
    if kind is LastOperation:
        values["retry_after"] = retry_after(exchange)
    return ParsedResponse(kind(**values))


def unrequired(binding: Binding, offering: ServiceOffering) -> tuple[str, ...]:
    """List the fields of a binding that need a permission which the offering does not require (R-BIND-2)."""
    return tuple(
        f"{name}: the offering {offering.name!r} does not require {permission!r}"
        for name, permission in REQUIRED_PERMISSIONS.items()
        if getattr(binding, name) and permission not in (offering.requires or ())
    )


def retry_after(exchange: Exchange) -> int | None:
    """Parse the header ``Retry-After`` as seconds (R-LAST-2); None without a valid one."""
    value = exchange.response_headers.get("retry-after", "").strip()
    return int(value) if _SECONDS.fullmatch(value) else None


def _operation_faults(operation: object) -> list[str]:
    if isinstance(operation, str) and not 1 <= len(operation) <= MAX_OPERATION:
        return [
            f"operation: has {len(operation):,} characters; 1 to {MAX_OPERATION:,} are allowed (R-PROV-1)"
        ]
    return []


@cache
def _struct_fields(kind: type[Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """Return the fields of a struct. It is cached, because msgspec evaluates all annotations in each call."""
    return msgspec.structs.fields(kind)


def _fields(kind: type[Struct], document: dict[str, Any], place: str, faults: list[str]) -> dict[str, Any]:
    """Convert the fields of a JSON object to those of a struct, and append what is invalid to `faults`."""
    values: dict[str, Any] = {}
    for field in _struct_fields(kind):
        if field.name in _INTERNAL_FIELDS:
            continue
        path = f"{place}.{field.name}" if place else field.name
        value = document.get(field.encode_name)
        if value is not None:  # null is the same as an absent field (R-REQ-10)
            values[field.name] = _value(field.type, value, path, faults)
        elif field.default is NODEFAULT and field.default_factory is NODEFAULT:
            faults.append(f"{path}: is required")
    return values


def _value(kind: Any, value: object, place: str, faults: list[str]) -> object:
    """Convert a JSON value to a type, and append what is invalid to `faults`."""
    if NoneType in get_args(kind):
        (kind,) = (member for member in get_args(kind) if member is not NoneType)
    arguments = get_args(kind)
    if get_origin(kind) is Literal and value not in arguments:
        words = [json.dumps(word) for word in arguments]
        allowed = " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
        faults.append(f"{place}: is {truncate(json.dumps(value), 60)}; it must be {allowed}")
        return None
    if get_origin(kind) is Sequence and _is_struct(arguments[0]) and isinstance(value, list):
        return [_value(arguments[0], item, f"{place}[{index}]", faults) for index, item in enumerate(value)]
    if _is_struct(kind) and isinstance(value, dict):
        before = len(faults)
        values = _fields(kind, value, place, faults)
        if len(faults) > before:
            return None
        try:
            return kind(**values)
        except (TypeError, ValueError) as error:
            faults.append(_struct_fault(place, error))
            return None
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        faults.append(_msgspec_fault(place, error))
        return None


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def _struct_fault(place: str, error: Exception) -> str:
    match = _STRUCT_ERROR.fullmatch(str(error))
    return f"{place}.{match['name']}: {match['fault']}" if match else f"{place}: {error}"


def _msgspec_fault(name: str, error: msgspec.ValidationError) -> str:
    """Describe an error of msgspec, whose path begins below the field."""
    place, _, fault = describe_validation_error(error).partition(": ")
    below = "" if place == "the body" else place
    dot = "." if below and not below.startswith("[") else ""
    for text_of_msgspec, text in _TIMES.items():
        fault = fault.replace(text_of_msgspec, text)
    return f"{name}{dot}{below}: {fault}"
