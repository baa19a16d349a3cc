"""One request and what came back, as it may be shown to others: secrets masked.

A failed check, or a client's error, shows an :class:`Exchange`: what was asked, what was answered, and how to
ask it again with curl.
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
from .._internal.masking import MASK
from .._internal.redaction import is_secret, mask_json, mask_text, strip_logins

__all__ = ["Exchange", "login_secrets", "mask_json"]

_LONGEST = 2_000
"""How many characters of a body are shown."""
_MOST_READ = 1024 * 1024
"""How many bytes of a body are looked at for that."""
_MOST_SEARCHED = 16 * 1024
"""How many of them if it is not JSON, and secrets in it have to be searched for; or how many characters."""

_UNTOLD = frozenset({"authorization", "cookie", "proxy-authorization", "set-cookie"})


class Exchange(Struct, frozen=True, kw_only=True, dict=True):
    """One request and what came back. Its repr and all that it shows have secrets masked.

    Args:
        method: The HTTP method.
        url: The whole URL, with the query.
        headers: Those that were sent.
        body: What was sent; None for nothing.
        status: The status of the answer; None if there was no answer.
        response_headers: Those of the answer, their names in lower case.
        response_body: The body of the answer.
        failure: Why there was no answer; or with a status, why its body is of no use.
        was_sent: Was the request sent? False where no connection could be made.
        seconds: How long it took.
        secrets: What must not be shown wherever it stands, such as the password.
        verify: Was the server's certificate checked? Or the path of a file with those trusted.
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
        """The JSON object that was answered; None if it was none."""
        try:
            return decode_object(self.response_body)
        except ValueError:
            return None

    @property
    def error_code(self) -> str | None:
        """The `error` of a refusal (R-ERR-1)."""
        return self._text("error")

    @property
    def description(self) -> str | None:
        """The `description` of a refusal, or of a poll."""
        return self._text("description")

    @property
    def operation(self) -> str | None:
        """The `operation` of a 202."""
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
        """The request in one line: ``PUT /v2/service_instances/i1?accepts_incomplete=true``."""
        return self.clean(f"{self.method} {self._path}")

    @property
    def body_text(self) -> str:
        """The body that was sent, or nothing."""
        return self._shown(self.body or b"")

    @property
    def response_line(self) -> str:
        """The answer in one line: its status and body, or why there was none."""
        if self.status is None:
            return self.clean(f"no answer: {self.failure or 'unknown'}")
        fault = f"({self.clean(self.failure)}) " if self.failure else ""
        return f"{self.status} {fault}{self._shown(self.response_body)}".rstrip()

    @property
    def response_header_lines(self) -> tuple[str, ...]:
        """The headers of the answer, a line each."""
        return tuple(f"{name}: {self._header(name, value)}" for name, value in self.response_headers.items())

    @property
    def curl(self) -> str:
        """The command that sends it again; with the login from the environment.

        Values that look like secrets are masked in it too, so a parameter may have to be filled in.
        """
        parts = ["curl", "-i", "-X", self.method]
        if self.verify is not True:
            parts += ["-k"] if self.verify is False else ["--cacert", _quoted(self.verify)]
        for name, value in self.headers.items():
            if name.lower() not in _OWN:
                parts += self._curl_header(name, value)
        if self.body is not None:
            if "content-type" not in {name.lower() for name in self.headers}:
                parts += ["-H", "'Content-Type:'"]  # curl would tell one of its own
            parts += ["--data-raw", _quoted(self._exact(self.body))]
        path, mark, query = self.url.partition("?")
        return " ".join([*parts, _quoted(self._without_secrets(f"{path}{mark}{mask_text(query)}"))])

    def clean(self, text: str) -> str:
        """A text on one line, without the secrets of this request and what would steer a terminal."""
        return self._on_one_line(mask_text(text[:_MOST_SEARCHED]))

    def _on_one_line(self, text: str) -> str:
        text = self._without_secrets(" ".join(text.split()))
        return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)

    def _curl_header(self, name: str, value: str) -> list[str]:
        if name.lower() == "authorization" and any(secret in value for secret in self.secrets):
            scheme = value.partition(" ")[0]
            if scheme.lower() == "basic":
                return ["-u", '"$BROKER_USERNAME:$BROKER_PASSWORD"']
            return ["-H", f'"{name}: {scheme} $BROKER_TOKEN"']
        told = (
            f"{name}: {self._header(name, value)}" if value else f"{name};"
        )  # curl's way to send an empty one
        return ["-H", _quoted(told)]

    def _header(self, name: str, value: str) -> str:
        lower = name.lower()
        if lower == "authorization" and not self._reveals(value):
            return self._without_secrets(value)  # another login, such as a wrong one
        if lower in _UNTOLD or is_secret(name):
            return MASK
        return self._without_secrets(mask_text(value))

    def _reveals(self, authorization: str) -> bool:
        """Is a secret of ours in it, alone or with more around it?"""
        scheme, _, value = authorization.partition(" ")
        try:
            value = b64decode(value + "==").decode() if scheme.lower() == "basic" else value
        except ValueError:
            return any(secret[:-3] in value for secret in self.secrets)
        return any(secret in value for secret in self.secrets)

    @property
    def _path(self) -> str:
        return re.sub(r"^[a-z]+://[^/]*", "", self.url, flags=re.IGNORECASE) or "/"

    def _shown(self, body: bytes) -> str:
        try:
            beginning = _Beginning(_MOST_SEARCHED)
            shown = mask_json(beginning.of(msgspec.json.decode(body[:_MOST_READ])))
            text, is_cut = msgspec.json.encode(shown).decode(), beginning.left <= 0
        except (ValueError, RecursionError):  # no JSON, or too deep
            text = mask_text(body[:_MOST_SEARCHED].decode(errors="backslashreplace"))
            is_cut = len(body) > _MOST_SEARCHED
        text = self._on_one_line(text[: 2 * _LONGEST])
        is_cut = is_cut or len(text) > _LONGEST
        return f"{text[:_LONGEST]}… ({len(body):,} bytes)" if is_cut else text

    def _exact(self, body: bytes) -> str:
        """A body as it is, if nothing in it is secret; what is not UTF-8 as lone surrogates."""
        try:
            found = msgspec.json.decode(body)
            shown = mask_json(found)
            text = body.decode() if shown == found else msgspec.json.encode(shown).decode()
        except (ValueError, RecursionError):
            text = mask_text(body.decode(errors="surrogateescape"))
        return self._without_secrets(text)

    def _without_secrets(self, text: str) -> str:
        for form in self._forms:
            text = text.replace(form, MASK)
        return strip_logins(text)

    @cached_property
    def _forms(self) -> tuple[str, ...]:
        """The secrets as they may be written: plainly, in a URL, in JSON; the longest first."""
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
        yield "asked", self.request_line
        yield "answered", self.response_line

    def __repr__(self) -> str:
        return f"Exchange({self.request_line!r}, {self.response_line!r})"

    def __str__(self) -> str:
        asked = f"{self.request_line} {self.body_text}".rstrip()
        return f"{asked}\n→ {self.response_line}"


class _Beginning:
    """As much of JSON values as is shown of them; :attr:`left` is less than 1 if that is not all."""

    def __init__(self, most: int) -> None:
        self.left = most

    def of(self, value: object) -> object:
        match value:
            case str():
                text = value[: max(0, self.left)]
                self.left -= len(value)
                return text
            case dict():
                return {name: self.of(value[name]) for name in self._some(value)}
            case list():
                return [self.of(each) for each in self._some(value)]
            case _:
                return value

    def _some(self, values: list[Any] | dict[str, Any]) -> Iterator[Any]:
        for each in values:
            if self.left <= 0:
                return
            self.left -= len(each) if isinstance(values, dict) else 1
            yield each


_OWN = frozenset({"user-agent", "accept-encoding", "connection", "content-length", "accept"})


def login_secrets(username: str | None, password: str | None, token: str | None) -> tuple[str, ...]:
    """What must not be shown of a login: the password or token, and what stands for it in a header."""
    found = [token] if token else []
    if password:
        pair = f"{username or ''}:{password}".encode()
        found += [b64encode(pair).decode(), password]
    return tuple(found)


def _quoted(text: str) -> str:
    """A word for a shell; of bash and its kin, where it has what no terminal should get."""
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(map(_shell_escaped, text)) + "'"


def _shell_escaped(character: str) -> str:
    if character.isprintable():
        return f"\\{character}" if character in "\\'" else character
    return "".join(f"\\x{byte:02x}" for byte in character.encode(errors="surrogateescape"))
