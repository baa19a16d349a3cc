"""What the headers of a request say (R-REQ-1, 3, 4, 5)."""

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
_TEXT = re.compile(r"[\x20-\x7e\x80-\xff]+")
_TRACE = {
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
_LONGEST_OF_TRACE = 1024  # it is kept with what the request began


def read_headers(
    environ: Mapping[str, Any],
    username: str | None,
    minimum_version: tuple[int, int],
    echo: str | None,
    trace_context: dict[str, str],
) -> RequestHeaders:
    """Read the headers of an authenticated request (R-REQ-1, 3, 4, 5).

    Raises:
        BrokerError: 400 for a header that is missing or malformed, 412 for another version of the API.
    """
    get = environ.get
    version = get("HTTP_X_BROKER_API_VERSION")
    parsed = _parse_version(version) if version else None
    if version is None or parsed is None:
        raise BadRequest("The header X-Broker-API-Version is required, with a version such as 2.17.")
    if parsed[0] != _MAJOR or parsed < minimum_version:
        raise BrokerError(
            f"This service broker speaks version {_MAJOR}.{minimum_version[1]} or later of the"
            f" Open Service Broker API {_MAJOR}, not {version}.",
            status=412,
            error="UnsupportedVersion",
        )
    identity = get("HTTP_X_BROKER_API_ORIGINATING_IDENTITY")
    if echo is None and get("HTTP_X_BROKER_API_REQUEST_IDENTITY"):
        raise BadRequest("The header X-Broker-API-Request-Identity must be printable text.")
    return RequestHeaders(
        api_version=version,
        originating_identity=None if identity is None else _identity(identity),
        request_identity=echo,
        correlation_id=get("HTTP_X_VCAP_REQUEST_ID")
        or get("HTTP_X_CORRELATION_ID")
        or get("HTTP_X_REQUEST_ID")
        or None,
        info_location=get("HTTP_X_API_INFO_LOCATION") or None,
        username=username,
        trace_context=trace_context,
    )


def trace_context_of(environ: Mapping[str, Any]) -> dict[str, str]:
    """How to go on with the platform's trace (R-REQ-5)."""
    return {
        name: environ[key]
        for key, name in _TRACE.items()
        if key in environ and len(environ[key]) <= _LONGEST_OF_TRACE
    }


def request_identity_of(environ: Mapping[str, Any]) -> str | None:
    """The request's identity for the answer to carry back, if it can be written into a header."""
    value: str | None = environ.get("HTTP_X_BROKER_API_REQUEST_IDENTITY")
    return value if value and _TEXT.fullmatch(value) else None


@lru_cache(maxsize=64)
def _parse_version(text: str) -> tuple[int, int] | None:
    match = _VERSION.fullmatch(text.strip())
    return (int(match[1]), int(match[2])) if match else None


def parse_minimum_version(text: str) -> tuple[int, int]:
    """Read what a broker's author gave as the least version.

    Raises:
        ValueError: It is not a version of this API.
    """
    parsed = _parse_version(text) if isinstance(text, str) else None
    if parsed is None or parsed[0] != _MAJOR:
        raise ValueError(f"minimum_api_version={text!r} is not a version of this API, such as '2.13'")
    return parsed


def _identity(header: str) -> OriginatingIdentity:
    platform, _, encoded = header.strip().partition(" ")
    try:
        if not platform:
            raise ValueError
        return OriginatingIdentity(platform, decode_object(a2b_base64(encoded.strip(), strict_mode=True)))
    except ValueError:  # not base64, not UTF-8, not JSON, not an object
        raise BadRequest(
            "The header X-Broker-API-Originating-Identity must be a platform's name, a space, and a"
            " JSON object in base64."
        ) from None
