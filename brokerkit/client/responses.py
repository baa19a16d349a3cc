"""From what a broker answered to a result, judged as a platform judges it.

Each field is read by the type that it has on the broker's side, so all that is wrong is told at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from types import NoneType
from typing import Any, Literal, NamedTuple, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Struct

from .._internal.json_decode import describe_validation_error
from ..catalog.models import ServiceOffering
from ..endpoints import ENDPOINTS, REQUIRED_PERMISSIONS
from ..requests import Operation
from ..results import MAX_OPERATION, Accepted, Binding, LastOperation
from .exchange import Exchange


class ParsedResponse(NamedTuple):
    """What an answer says.

    Args:
        result: The result; None if there is a fault, or if it is a refusal.
        faults: What no platform can make sense of, a line each; each begins with the field's name, if it is
            one field's.
    """

    result: Struct | None
    faults: tuple[str, ...] = ()


_NOT_TOLD = frozenset({"exists", "data", "retry_after", "result"})
"""Fields of results that are the broker's own business."""

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
    "Invalid RFC3339 encoded datetime": "is no time such as 2030-01-31T12:00:00.0Z",
    "expected datetime": "expected a time",
}
_OF_OURS = re.compile(r"\w+\((?P<name>\w+)=…\):? (?P<fault>[^;]*).*", re.DOTALL)
"""How our structs begin what they say of a fault, to a handler's author."""


def parse_response(operation: Operation, exchange: Exchange) -> ParsedResponse:
    """Read the answer to anything but the catalog.

    Args:
        operation: What was asked.
        exchange: What came back.
    """
    status = exchange.status
    if status is not None and exchange.failure is not None:
        return ParsedResponse(None, (exchange.failure,))
    kind = _RESULT_TYPES[operation].get(status or 0)
    if kind is None:
        if status is not None and 400 <= status <= 599:
            return ParsedResponse(None)
        wanted = " or ".join(str(code) for code in sorted(_RESULT_TYPES[operation]) if code < 400)
        return ParsedResponse(None, (f"the status is {status}; it must be {wanted}, or that of an error",))
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
    """What a binding has though its offering does not require it; faults as those of a reading (R-BIND-2)."""
    return tuple(
        f"{name}: the offering {offering.name!r} does not require {permission!r}"
        for name, permission in REQUIRED_PERMISSIONS.items()
        if getattr(binding, name) and permission not in (offering.requires or ())
    )


def retry_after(exchange: Exchange) -> int | None:
    """In how many seconds the broker wants to be asked again (R-LAST-2); None if it does not say."""
    told = exchange.response_headers.get("retry-after", "").strip()
    return int(told) if _SECONDS.fullmatch(told) else None


def _operation_faults(operation: object) -> list[str]:
    if isinstance(operation, str) and not 1 <= len(operation) <= MAX_OPERATION:
        return [
            f"operation: has {len(operation):,} characters; 1 to {MAX_OPERATION:,} are allowed (R-PROV-1)"
        ]
    return []


def _fields(kind: type[Struct], document: dict[str, Any], place: str, faults: list[str]) -> dict[str, Any]:
    """The fields of a struct that a JSON object has; what is wrong goes to `faults`."""
    values: dict[str, Any] = {}
    for each in msgspec.structs.fields(kind):
        if each.name in _NOT_TOLD:
            continue
        at = f"{place}.{each.name}" if place else each.name
        told = document.get(each.encode_name)
        if told is not None:  # one that is null is absent (R-REQ-10)
            values[each.name] = _value(each.type, told, at, faults)
        elif each.default is NODEFAULT and each.default_factory is NODEFAULT:
            faults.append(f"{at}: is required")
    return values


def _value(wanted: Any, told: object, place: str, faults: list[str]) -> object:
    """A JSON value as what it is to be."""
    (wanted,) = [each for each in get_args(wanted) if each is not NoneType] if _optional(wanted) else [wanted]
    inner = get_args(wanted)
    if get_origin(wanted) is Literal and told not in inner:
        words = [json.dumps(each) for each in inner]
        allowed = " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
        faults.append(f"{place}: is {_brief(told)}; it must be {allowed}")
        return None
    if get_origin(wanted) is Sequence and _is_struct(inner[0]) and isinstance(told, list):
        return [_value(inner[0], each, f"{place}[{index}]", faults) for index, each in enumerate(told)]
    if _is_struct(wanted) and isinstance(told, dict):
        before = len(faults)
        values = _fields(wanted, told, place, faults)
        if len(faults) > before:
            return None
        try:
            return wanted(**values)
        except (TypeError, ValueError) as error:
            faults.append(_of_ours(place, error))
            return None
    try:
        return msgspec.convert(told, wanted)
    except msgspec.ValidationError as error:
        faults.append(_placed(place, error))
        return None


def _optional(wanted: Any) -> bool:
    return NoneType in get_args(wanted)


def _is_struct(wanted: Any) -> bool:
    return isinstance(wanted, type) and issubclass(wanted, Struct)


def _brief(told: object) -> str:
    text = json.dumps(told)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _of_ours(place: str, error: Exception) -> str:
    match = _OF_OURS.fullmatch(str(error))
    return f"{place}.{match['name']}: {match['fault']}" if match else f"{place}: {error}"


def _placed(name: str, error: msgspec.ValidationError) -> str:
    """A fault with its place; msgspec knows it below the field alone."""
    place, _, told = describe_validation_error(error).partition(": ")
    below = "" if place == "the body" else place
    dot = "." if below and not below.startswith("[") else ""
    for of_msgspec, ours in _TIMES.items():
        told = told.replace(of_msgspec, ours)
    return f"{name}{dot}{below}: {told}"
