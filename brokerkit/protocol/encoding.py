"""From what a handler answered to a status and a body, or to the mistake that its author made."""

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
    """What goes back over HTTP."""

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
"""The results that None stands for when a handler returns it."""

_MADE_BY: dict[type, str] = {LastOperation: "LastOperation.in_progress(…), .succeeded(…) or .failed(…)"}

_KEPT: dict[type, str] = {
    Provisioned: "data",
    Updated: "data",
    Accepted: "data",
    Binding: "data",
    LastOperation: "result",
}
"""What a result has for the broker's memory, and no platform is told."""

_EMPTY = b"{}"
_encoder = msgspec.json.Encoder()


def encode_result(
    operation: Operation, result: Any, *, offering: ServiceOffering | None, accepts_incomplete: bool
) -> EncodedResponse:
    """Write what a handler answered.

    Args:
        operation: What was asked.
        result: What was answered; None was replaced by the :data:`EMPTY_RESULTS`.
        offering: The offering, where it is known.
        accepts_incomplete: Can the platform poll?

    Raises:
        HandlerMistake: It is no answer to that operation.
    """
    kind = type(result)
    form = ENDPOINTS[operation].responses.get(kind)
    if form is None:
        raise HandlerMistake(_wrong_kind(operation, result))
    result = _for_platforms(result)
    for name in form.omitted:
        if getattr(result, name) is not None:
            raise HandlerMistake(
                f"returned {kind.__name__}({name}=…), which has no place in the answer to {operation};"
                " leave it out"
            )
    status = form.status
    headers: tuple[tuple[str, str], ...] = ()
    if kind is Accepted:
        if not accepts_incomplete:
            raise HandlerMistake(
                "returned Accepted to a platform that cannot poll; raise AsyncRequired() before the work"
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
        _check_requirements(result, offering)
    return EncodedResponse(status, _write(result), headers)


def check_stateless(result: object) -> None:
    """Let a broker without a store answer only what it need not remember.

    Raises:
        HandlerMistake: The result has what would be lost.
    """
    field = _KEPT.get(type(result))
    if field is not None and getattr(result, field) is not None:
        raise HandlerMistake(
            f"returned {type(result).__name__}({field}=…), which nobody would remember; give the Broker a"
            " store=, or leave it out"
        )


def encode_catalog(catalog: Catalog, known: str | None) -> EncodedResponse:
    """Hand out the catalog, which was written once; or say that the platform has it (R-CAT-8).

    Args:
        catalog: The catalog.
        known: The header ``If-None-Match``. A proxy that compresses weakens the tags in it.
    """
    headers = (("ETag", catalog.etag),)
    if known is not None and parse_etags(known).contains_weak(unquote_etag(catalog.etag)[0]):
        return EncodedResponse(304, b"", headers)
    return EncodedResponse(200, catalog.encoded, headers)


def encode_error(error: BrokerError, method: str, operation: Operation | None) -> EncodedResponse:
    """Write a refusal (R-ERR-1, R-ERR-2).

    Raises:
        HandlerMistake: It was made or changed into what cannot be sent.
    """
    try:
        error.check()
        headers = Headers(error.headers).to_wsgi_list()
    except (ValueError, TypeError) as mistake:
        raise HandlerMistake(f"a {type(error).__name__} that cannot be sent was raised: {mistake}") from None
    status = error.status_for(method)
    if status == 410:
        return EncodedResponse(status, _EMPTY, headers)  # R-UNB-1
    document: dict[str, object] = {"description": error.description}
    if error.error is not None:
        document["error"] = error.error
    for name in ENDPOINTS[operation].error_fields if operation is not None else ():
        if getattr(error, name) is not None:
            document[name] = getattr(error, name)
    return EncodedResponse(status, _encoder.encode(document), headers)


def _wrong_kind(operation: Operation, result: object) -> str:
    if isinstance(result, BrokerError):
        return f"returned {type(result).__name__}; raise it"
    kinds = [_MADE_BY.get(kind, f"{kind.__name__}(…)") for kind in ENDPOINTS[operation].responses]
    if operation in EMPTY_RESULTS:
        kinds.append("None")
    if isinstance(result, type):
        got = f"the class {result.__name__}"
    else:
        got = "None" if result is None else f"a {type(result).__name__}"
    return f"returned {got}; return {' or '.join(kinds)}, or raise a BrokerError"


def _check_requirements(binding: Binding, service: ServiceOffering) -> None:
    for field, requirement in REQUIRED_PERMISSIONS.items():
        if getattr(binding, field) and requirement not in service.requires:
            raise HandlerMistake(
                f"returned a Binding with {field}, but the offering {service.name!r} does not require"
                f" {requirement!r}; add that to its `requires` in the catalog, or leave the field out"
            )


def _for_platforms(result: Any) -> Any:
    field = _KEPT.get(type(result))
    if field is not None and getattr(result, field) is not None:
        return replace(result, **{field: None})
    return result


def _write(result: msgspec.Struct) -> bytes:
    """The result as JSON, which must read back as what it is: no annotation of its fields is broken."""
    kind = type(result)
    try:
        body = _encoder.encode(_with_times(result) if kind is Binding else result)
        _DECODERS[kind].decode(body)
    except msgspec.ValidationError as error:
        raise HandlerMistake(
            f"returned a {kind.__name__} that is not right: {describe_validation_error(error)}"
        ) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise HandlerMistake(f"returned a {kind.__name__} that JSON cannot hold: {error}") from None
    return body


def _with_times(binding: Any) -> object:
    """A binding with its times written as R-BIND-4 has them, where it has any."""
    if binding.metadata is None:
        return binding
    fields = msgspec.structs.asdict(binding)
    moments = msgspec.structs.asdict(binding.metadata)
    fields["metadata"] = {name: _written(moment) for name, moment in moments.items() if moment is not None}
    return {name: value for name, value in fields.items() if value is not None and name != "exists"}


def _written(moment: datetime) -> str:
    """A time such as ``2026-11-23T15:55:00.0Z``."""
    in_utc = moment.astimezone(UTC)
    fraction = f"{in_utc.microsecond:06}".rstrip("0") or "0"
    return f"{in_utc:%Y-%m-%dT%H:%M:%S}.{fraction}Z"
