"""An HTTP request and its response, with secrets masked for display.

The errors of the client and the failures of the checker show an :class:`Exchange`: the request, the response,
and the curl command that repeats the request.
"""

from __future__ import annotations

import json
import re
import shlex
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any
from urllib.parse import quote, quote_plus

import msgspec
from msgspec import Struct

from .._internal.json_decode import decode_object
from .._internal.masked_struct import MASK
from .._internal.redaction import is_secret, mask_json, mask_text, strip_logins
from .._internal.text import printable

__all__ = ["Exchange", "login_secrets", "mask_json"]

_DISPLAY_LIMIT = 2_000
"""Characters of a body to show."""
_DECODE_LIMIT = 1024 * 1024
"""Bytes of a body to decode as JSON for that."""
_MASK_LIMIT = 16 * 1024
"""Bytes or characters of a text to search for secrets."""

_MASKED_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "set-cookie"})


class Exchange(Struct, frozen=True, kw_only=True, dict=True):
    """An HTTP request and its response. The repr and all display properties mask secrets.

    Args:
        method: The HTTP method.
        url: The full URL with the query.
        headers: The headers of the request.
        body: The body of the request. Defaults to None, for no body.
        status: The status code. Defaults to None, for no response.
        response_headers: The headers of the response, with lower-case names.
        response_body: The body of the response.
        failure: The reason why there is no response or, with a status, why its body is unusable.
        was_sent: Whether the request was sent. False if no connection could be opened.
        seconds: The duration in seconds.
        secrets: Texts to mask wherever they appear, such as the password.
        verify: Whether the server's certificate was checked, or the path of a file with trusted certificates.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None
    status: int | None = None
    response_headers: Mapping[str, str] = {}
    response_body: bytes = b""
    failure: str | None = None
    was_sent: bool = True
    seconds: float = 0.0
    secrets: tuple[str, ...] = ()
    verify: bool | str = True

    @cached_property
    def document(self) -> dict[str, Any] | None:
        """The JSON object of the response; None if the body is not one."""
        try:
            return decode_object(self.response_body)
        except ValueError:
            return None

    @property
    def error_code(self) -> str | None:
        """The `error` of an error response (R-ERR-1)."""
        return self._text("error")

    @property
    def description(self) -> str | None:
        """The `description` of an error response or a poll."""
        return self._text("description")

    @property
    def operation(self) -> str | None:
        """The `operation` of a response with status 202."""
        return self._text("operation")

    @property
    def state(self) -> str | None:
        """The `state` of a poll."""
        return self._text("state")

    def _text(self, name: str) -> str | None:
        value = (self.document or {}).get(name)
        return value if isinstance(value, str) and value else None

    @property
    def request_line(self) -> str:
        """The request on one line: ``PUT /v2/service_instances/i1?accepts_incomplete=true``."""
        return self.clean(f"{self.method} {self._path}")

    @property
    def body_text(self) -> str:
        """The body of the request as text, truncated."""
        return self._display(self.body or b"")

    @property
    def response_line(self) -> str:
        """The response on one line: its status and body, or the reason why there is none."""
        if self.status is None:
            return self.clean(f"no response: {self.failure or 'unknown cause'}")
        fault = f"({self.clean(self.failure)}) " if self.failure else ""
        return f"{self.status} {fault}{self._display(self.response_body)}".rstrip()

    @property
    def response_header_lines(self) -> tuple[str, ...]:
        """The headers of the response, one line each."""
        return tuple(f"{name}: {self._header(name, value)}" for name, value in self.response_headers.items())

    @property
    def curl(self) -> str:
        """The curl command that repeats the request, with the login from environment variables.

        Values that look like secrets are masked, so a parameter may have to be filled in.
        """
        parts = ["curl", "-i", "-X", self.method]
        if self.verify is not True:
            parts += ["-k"] if self.verify is False else ["--cacert", _quoted(self.verify)]
        for name, value in self.headers.items():
            if name.lower() not in _DEFAULT_HEADERS:
                parts += self._curl_header(name, value)
        if self.body is not None:
            if "content-type" not in {name.lower() for name in self.headers}:
                parts += ["-H", "'Content-Type:'"]  # keeps curl from adding its default
            parts += ["--data-raw", _quoted(self._exact(self.body))]
        path, mark, query = self.url.partition("?")
        return " ".join([*parts, _quoted(self._without_secrets(f"{path}{mark}{mask_text(query)}"))])

    def clean(self, text: str) -> str:
        """Mask secrets in a text, put it on one line, and escape control characters."""
        return self._on_one_line(mask_text(text[:_MASK_LIMIT]))

    def _on_one_line(self, text: str) -> str:
        text = self._without_secrets(" ".join(text.split()))
        return printable(text)

    def _curl_header(self, name: str, value: str) -> list[str]:
        if name.lower() == "authorization" and any(secret in value for secret in self.secrets):
            scheme = value.partition(" ")[0]
            if scheme.lower() == "basic":
                return ["-u", '"$BROKER_USERNAME:$BROKER_PASSWORD"']
            return ["-H", f'"{name}: {scheme} $BROKER_TOKEN"']
        # curl sends an empty header for a name with a semicolon, and none for a name with a colon
        line = f"{name}: {self._header(name, value)}" if value else f"{name};"
        return ["-H", _quoted(line)]

    def _header(self, name: str, value: str) -> str:
        lower = name.lower()
        if lower == "authorization" and not self._reveals(value):
            return self._without_secrets(value)  # a login of a test, such as a wrong one
        if lower in _MASKED_HEADERS or is_secret(name):
            return MASK
        return self._without_secrets(mask_text(value))

    def _reveals(self, authorization: str) -> bool:
        """Whether an ``Authorization`` header contains a secret of the exchange."""
        scheme, _, value = authorization.partition(" ")
        try:
            value = b64decode(value + "==").decode() if scheme.lower() == "basic" else value
        except ValueError:
            return any(secret[:-3] in value for secret in self.secrets)
        return any(secret in value for secret in self.secrets)

    @property
    def _path(self) -> str:
        return re.sub(r"^[a-z]+://[^/]*", "", self.url, flags=re.IGNORECASE) or "/"

    def _display(self, body: bytes) -> str:
        try:
            prefix = _JSONPrefix(_MASK_LIMIT)
            shown = mask_json(prefix.of(msgspec.json.decode(body[:_DECODE_LIMIT])))
            text, is_cut = msgspec.json.encode(shown).decode(), prefix.left <= 0
        except (ValueError, RecursionError):  # not JSON, or nested too deeply
            text = mask_text(body[:_MASK_LIMIT].decode(errors="backslashreplace"))
            is_cut = len(body) > _MASK_LIMIT
        text = self._on_one_line(text[: 2 * _DISPLAY_LIMIT])
        is_cut = is_cut or len(text) > _DISPLAY_LIMIT
        return f"{text[:_DISPLAY_LIMIT]}… ({len(body):,} bytes)" if is_cut else text

    def _exact(self, body: bytes) -> str:
        """Decode a body unchanged if it has no secrets. Bytes that are not UTF-8 become lone surrogates."""
        try:
            document = msgspec.json.decode(body)
            shown = mask_json(document)
            text = body.decode() if shown == document else msgspec.json.encode(shown).decode()
        except (ValueError, RecursionError):
            text = mask_text(body.decode(errors="surrogateescape"))
        return self._without_secrets(text)

    def _without_secrets(self, text: str) -> str:
        for form in self._forms:
            text = text.replace(form, MASK)
        return strip_logins(text)

    @cached_property
    def _forms(self) -> tuple[str, ...]:
        """The secrets in all notations, plain, URL-encoded and in JSON; the longest first."""
        forms = {
            form
            for secret in self.secrets
            for form in (
                secret,
                quote(secret, safe=""),
                quote_plus(secret),
                json.dumps(secret)[1:-1],
                json.dumps(secret, ensure_ascii=False)[1:-1],
            )
            if form
        }
        return tuple(sorted(forms, key=len, reverse=True))

    def __rich_repr__(self) -> Any:
        yield "request", self.request_line
        yield "response", self.response_line

    def __repr__(self) -> str:
        return f"Exchange({self.request_line!r}, {self.response_line!r})"

    def __str__(self) -> str:
        request = f"{self.request_line} {self.body_text}".rstrip()
        return f"{request}\n→ {self.response_line}"


class _JSONPrefix:
    """The first part of a JSON value. :attr:`left` is below 1 if the value was cut."""

    def __init__(self, limit: int) -> None:
        self.left = limit

    def of(self, value: object) -> object:
        match value:
            case str():
                text = value[: max(0, self.left)]
                self.left -= len(value)
                return text
            case dict():
                return {name: self.of(value[name]) for name in self._first(value)}
            case list():
                return [self.of(item) for item in self._first(value)]
            case _:
                return value

    def _first(self, values: list[Any] | dict[str, Any]) -> Iterator[Any]:
        for item in values:
            if self.left <= 0:
                return
            self.left -= len(item) if isinstance(values, dict) else 1
            yield item


_DEFAULT_HEADERS = frozenset({"user-agent", "accept-encoding", "connection", "content-length", "accept"})


def login_secrets(username: str | None, password: str | None, token: str | None) -> tuple[str, ...]:
    """List the secrets of a login: the token, or the password and its base64 form in the header."""
    secrets = [token] if token else []
    if password:
        pair = f"{username or ''}:{password}".encode()
        secrets += [b64encode(pair).decode(), password]
    return tuple(secrets)


def _quoted(text: str) -> str:
    """Quote a word for a shell. Unprintable characters need the ``$'…'`` of bash, zsh and ksh."""
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(map(_shell_escaped, text)) + "'"


def _shell_escaped(character: str) -> str:
    if character.isprintable():
        return f"\\{character}" if character in "\\'" else character
    return "".join(f"\\x{byte:02x}" for byte in character.encode(errors="surrogateescape"))
