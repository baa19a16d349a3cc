"""Parsing of request headers (R-REQ-1, R-REQ-3 to R-REQ-5)."""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from .._internal.json_decode import decode_object
from ..errors import BadRequest, BrokerError
from ..requests import OriginatingIdentity, RequestHeaders

_MAJOR = 2
_VERSION = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})")
_PRINTABLE = re.compile(r"[\x20-\x7e\x80-\xff]+")
_TRACE_HEADERS = {
    f"HTTP_{name.upper().replace('-', '_')}": name
    for name in (
        "traceparent",
        "tracestate",
        "b3",
        "x-b3-traceid",
        "x-b3-spanid",
        "x-b3-parentspanid",
        "x-b3-sampled",
        "x-b3-flags",
    )
}
_TRACE_HEADER_LIMIT = 1024  # characters; limited because each operation is stored with these headers


def parse_headers(
    environ: Mapping[str, Any],
    username: str | None,
    minimum_version: tuple[int, int],
    request_identity: str | None,
    trace_context: dict[str, str],
) -> RequestHeaders:
    """Parse the headers of an authenticated request (R-REQ-1, R-REQ-3 to R-REQ-5).

    Args:
        environ: The WSGI environment.
        username: The authenticated caller, or None for a caller without a name.
        minimum_version: The lowest accepted version of the API, as major and minor number.
        request_identity: The result of :func:`get_request_identity`.
        trace_context: The result of :func:`get_trace_context`.

    Raises:
        BrokerError: 400 for a missing or malformed header, 412 for an unsupported version of the API.
    """
    get = environ.get
    version = get("HTTP_X_BROKER_API_VERSION")
    parsed = _parse_version(version) if version else None
    if version is None or parsed is None:
        raise BadRequest("The header X-Broker-API-Version is required and must be a version such as 2.17.")
    if parsed[0] != _MAJOR or parsed < minimum_version:
        raise BrokerError(
            f"This service broker requires version {_MAJOR}.{minimum_version[1]} or later ({_MAJOR}.x) of the"
            f" Open Service Broker API, but the request uses version {version}.",
            status=412,
            error="UnsupportedVersion",
        )
    identity = get("HTTP_X_BROKER_API_ORIGINATING_IDENTITY")
    if request_identity is None and get("HTTP_X_BROKER_API_REQUEST_IDENTITY"):
        raise BadRequest("The header X-Broker-API-Request-Identity must contain printable text only.")
    return RequestHeaders(
        api_version=version,
        originating_identity=None if identity is None else _parse_originating_identity(identity),
        request_identity=request_identity,
        correlation_id=get("HTTP_X_VCAP_REQUEST_ID")
        or get("HTTP_X_CORRELATION_ID")
        or get("HTTP_X_REQUEST_ID")
        or None,
        info_location=get("HTTP_X_API_INFO_LOCATION") or None,
        username=username,
        trace_context=trace_context,
    )


def get_trace_context(environ: Mapping[str, Any]) -> dict[str, str]:
    """Collect the trace headers of the platform (R-REQ-5). Headers that are too long are ignored."""
    return {
        name: environ[key]
        for key, name in _TRACE_HEADERS.items()
        if key in environ and len(environ[key]) <= _TRACE_HEADER_LIMIT
    }


def get_request_identity(environ: Mapping[str, Any]) -> str | None:
    """Get the identity of a request, or None if it is missing or unprintable (R-REQ-4)."""
    value: str | None = environ.get("HTTP_X_BROKER_API_REQUEST_IDENTITY")
    return value if value and _PRINTABLE.fullmatch(value) else None


@lru_cache(maxsize=64)
def _parse_version(text: str) -> tuple[int, int] | None:
    match = _VERSION.fullmatch(text.strip())
    return (int(match[1]), int(match[2])) if match else None


def parse_minimum_version(text: str) -> tuple[int, int]:
    """Parse the lowest accepted version of the API, such as ``"2.13"``.

    Raises:
        ValueError: The text is not a version of this API.
    """
    parsed = _parse_version(text) if isinstance(text, str) else None
    if parsed is None or parsed[0] != _MAJOR:
        raise ValueError(f"minimum_api_version={text!r} is not a version of this API, such as '2.13'")
    return parsed


def _parse_originating_identity(header: str) -> OriginatingIdentity:
    platform, _, encoded = header.strip().partition(" ")
    try:
        if not platform:
            raise ValueError
        return OriginatingIdentity(platform, decode_object(a2b_base64(encoded.strip(), strict_mode=True)))
    except ValueError:  # not base64, not UTF-8, not JSON, not an object
        raise BadRequest(
            "The header X-Broker-API-Originating-Identity must be the name of a platform, a space and a JSON"
            " object in base64."
        ) from None
