"""Encoding of results, errors and the catalog to HTTP responses.

A result that the API does not allow raises a `HandlerMistake`, with a message for the author of the handler.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec.structs import replace
from werkzeug.datastructures import Headers
from werkzeug.http import parse_etags, unquote_etag

from .._internal.json_decode import describe_validation_error
from ..catalog.models import Catalog, ServiceOffering
from ..endpoints import ENDPOINTS, REQUIRED_PERMISSIONS
from ..errors import BrokerError, HandlerMistake
from ..requests import Operation
from ..results import (
    Accepted,
    Binding,
    LastOperation,
    Provisioned,
    Updated,
    check_seconds,
)


class EncodedResponse(msgspec.Struct, frozen=True, gc=False):
    """An HTTP response: status code, body, and all headers except `Content-Type` and `Content-Length`."""

    status: int
    body: bytes
    headers: Sequence[tuple[str, str]] = ()


_DECODERS = {
    kind: msgspec.json.Decoder(kind) for endpoint in ENDPOINTS.values() for kind in endpoint.responses
}

EMPTY_RESULTS: Mapping[Operation, object] = {
    operation: endpoint.empty_result
    for operation, endpoint in ENDPOINTS.items()
    if endpoint.empty_result is not None
}
"""The result that replaces None, for each operation with an optional result."""

_CONSTRUCTORS: dict[type, str] = {LastOperation: "LastOperation.in_progress(…), .succeeded(…) or .failed(…)"}

_STORED_FIELDS: dict[type, str] = {
    Provisioned: "data",
    Updated: "data",
    Accepted: "data",
    Binding: "data",
    LastOperation: "result",
}
"""For each type of result, the field that is stored and not sent to platforms."""

_EMPTY_OBJECT = b"{}"
_encoder = msgspec.json.Encoder()


def encode_result(
    operation: Operation, result: Any, *, offering: ServiceOffering | None, accepts_incomplete: bool
) -> EncodedResponse:
    """Encode the result of a handler.

    Args:
        operation: The operation.
        result: The result. The caller has replaced None by the entry in :data:`EMPTY_RESULTS`.
        offering: The offering, or None if it is unknown.
        accepts_incomplete: Whether the platform can poll.

    Raises:
        HandlerMistake: The result is not allowed for the operation.
    """
    kind = type(result)
    form = ENDPOINTS[operation].responses.get(kind)
    if form is None:
        raise HandlerMistake(_describe_wrong_type(operation, result))
    result = _without_stored_field(result)
    for name in form.omitted:
        if getattr(result, name) is not None:
            raise HandlerMistake(
                f"returned {kind.__name__}({name}=…), but the response to {operation} has no such field;"
                " leave it out"
            )
    status = form.status
    headers: tuple[tuple[str, str], ...] = ()
    if kind is Accepted:
        if not accepts_incomplete:
            raise HandlerMistake(
                "returned Accepted, but the platform cannot poll; raise AsyncRequired() before the work"
                " starts if request.accepts_incomplete is False"
            )
        if result.operation is None:
            result = replace(result, operation=operation.value)  # R-DEL-4
    elif kind is LastOperation:
        if result.retry_after is not None:
            headers = (("Retry-After", str(check_seconds(result.retry_after))),)
            result = replace(result, retry_after=None)
    elif (kind is Provisioned or kind is Binding) and result.exists is True:
        status = form.unchanged_status or status
        result = replace(result, exists=False)
    if kind is Binding and offering is not None:
        _check_permissions(result, offering)
    return EncodedResponse(status, _encode_checked(result), headers)


def check_stateless(result: object) -> None:
    """Check that a result has no data to store, for a broker without a store.

    Raises:
        HandlerMistake: The result has data that would be lost.
    """
    field = _STORED_FIELDS.get(type(result))
    if field is not None and getattr(result, field) is not None:
        raise HandlerMistake(
            f"returned {type(result).__name__}({field}=…), but the broker has no store; give the Broker a"
            " store=, or leave it out"
        )


def encode_catalog(catalog: Catalog, if_none_match: str | None) -> EncodedResponse:
    """Build the response with the catalog, or a 304 if the platform has this version already (R-CAT-8).

    Args:
        catalog: The catalog.
        if_none_match: The header ``If-None-Match``, or None. Weak tags match too, because proxies that
            compress responses weaken the tag.
    """
    headers = (("ETag", catalog.etag),)
    if if_none_match is not None and parse_etags(if_none_match).contains_weak(unquote_etag(catalog.etag)[0]):
        return EncodedResponse(304, b"", headers)
    return EncodedResponse(200, catalog.encoded, headers)


def encode_error(error: BrokerError, method: str, operation: Operation | None) -> EncodedResponse:
    """Encode an error (R-ERR-1, R-ERR-2).

    Args:
        error: The error.
        method: The HTTP method of the request.
        operation: The operation, or None if the request is not for an endpoint of the API.

    Raises:
        HandlerMistake: The error has a field that cannot be sent.
    """
    try:
        error.check()
        headers = Headers(error.headers).to_wsgi_list()
    except Exception as mistake:  # noqa: BLE001 - the properties of a subclass may raise anything
        raise HandlerMistake(f"raised an invalid {type(error).__name__}: {mistake}") from None
    status = error.status_for(method)
    if status == 410:
        return EncodedResponse(status, _EMPTY_OBJECT, headers)  # R-UNB-1
    document: dict[str, object] = {"description": error.description}
    if error.error is not None:
        document["error"] = error.error
    for name in ENDPOINTS[operation].error_fields if operation is not None else ():
        if getattr(error, name) is not None:
            document[name] = getattr(error, name)
    return EncodedResponse(status, _encoder.encode(document), headers)


def _describe_wrong_type(operation: Operation, result: object) -> str:
    if isinstance(result, BrokerError):
        return f"returned {type(result).__name__}; raise it"
    allowed = [_CONSTRUCTORS.get(kind, f"{kind.__name__}(…)") for kind in ENDPOINTS[operation].responses]
    if operation in EMPTY_RESULTS:
        allowed.append("None")
    if isinstance(result, type):
        returned = f"the class {result.__name__}"
    else:
        returned = "None" if result is None else f"a {type(result).__name__}"
    return f"returned {returned}; return {' or '.join(allowed)}, or raise a BrokerError"


def _check_permissions(binding: Binding, offering: ServiceOffering) -> None:
    for field, permission in REQUIRED_PERMISSIONS.items():
        if getattr(binding, field) and permission not in offering.requires:
            raise HandlerMistake(
                f"returned a Binding with {field}, but the offering {offering.name!r} does not require"
                f" {permission!r}; add that to its `requires` in the catalog, or leave the field out"
            )


def _without_stored_field(result: Any) -> Any:
    field = _STORED_FIELDS.get(type(result))
    if field is not None and getattr(result, field) is not None:
        return replace(result, **{field: None})
    return result


def _encode_checked(result: msgspec.Struct) -> bytes:
    """Encode a result, and decode it to check the types of the fields, because encoding does not."""
    kind = type(result)
    try:
        body = _encoder.encode(_with_formatted_times(result) if kind is Binding else result)
        _DECODERS[kind].decode(body)
    except msgspec.ValidationError as error:
        raise HandlerMistake(
            f"returned an invalid {kind.__name__}: {describe_validation_error(error)}"
        ) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise HandlerMistake(f"returned a {kind.__name__} that cannot be encoded as JSON: {error}") from None
    return body


def _with_formatted_times(binding: Any) -> object:
    """Format the times in a binding's metadata (R-BIND-4). Return a binding without metadata unchanged."""
    if binding.metadata is None:
        return binding
    fields = msgspec.structs.asdict(binding)
    times = msgspec.structs.asdict(binding.metadata)
    fields["metadata"] = {name: _format_time(time) for name, time in times.items() if time is not None}
    return {name: value for name, value in fields.items() if value is not None and name != "exists"}


def _format_time(time: datetime) -> str:
    """Format a time, such as ``2026-11-23T15:55:00.0Z``."""
    in_utc = time.astimezone(UTC)
    fraction = f"{in_utc.microsecond:06}".rstrip("0") or "0"
    return f"{in_utc:%Y-%m-%dT%H:%M:%S}.{fraction}Z"
