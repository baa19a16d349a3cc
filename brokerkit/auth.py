"""Who may call: ways for a platform to authenticate itself (R-REQ-2).

An authenticator is any callable that takes Flask's request and returns the name of the caller, True for
a caller without a name, or None or False to refuse. One with an attribute `challenge` chooses what the
401 says in ``WWW-Authenticate``.
"""

from __future__ import annotations

import os
import re
import secrets
from base64 import b64decode
from contextlib import suppress
from hashlib import blake2b
from hmac import compare_digest
from typing import Protocol

from flask import Request
from werkzeug.security import check_password_hash

_WERKZEUG_HASH = re.compile(r"(?:scrypt|pbkdf2):[^$]+\$[^$]+\$[0-9a-f]+")

DEFAULT_CHALLENGE = 'Basic realm="service broker", charset="UTF-8"'
"""What a 401 asks for, unless the authenticator has a `challenge` of its own."""


class Authenticator(Protocol):
    """Decides who calls: the caller's name, True for one without a name, None or False to refuse."""

    def __call__(self, request: Request, /) -> str | bool | None: ...


class _Known:
    """Secrets that are recognised in a time that tells nothing of them.

    What is looked up is a keyed digest, so neither its bytes nor how many of them are right can be
    learnt from how long the look-up takes.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._names: dict[bytes, str | bool] = {}

    def add(self, secret: bytes, name: str | bool) -> None:
        self._names[self._digest(secret)] = name

    def name_of(self, secret: bytes) -> str | bool | None:
        return self._names.get(self._digest(secret))

    def _digest(self, secret: bytes) -> bytes:
        return blake2b(secret, key=self._key, digest_size=32).digest()


class BasicAuth:
    """HTTP basic authentication.

    Args:
        username: Not empty, without a colon (RFC 7617).
        password: Not empty; or its hash, as ``werkzeug.security.generate_password_hash`` writes it.
            A slow hash is computed once for a password that is right, not once a request.
        *more: Further pairs of username and password that are good too, such as the old ones while the
            platform is moved to new ones.

    Raises:
        ValueError: A username or password that no platform could send.
    """

    challenge = DEFAULT_CHALLENGE

    def __init__(self, username: str, password: str, *more: tuple[str, str]) -> None:
        self._known = _Known()
        self._hashed: list[tuple[str, str]] = []
        for name, secret in ((username, password), *more):
            if not isinstance(name, str) or not name or ":" in name:
                raise ValueError("BasicAuth: a username must be a text, not empty and without ':' (RFC 7617)")
            if not isinstance(secret, str) or not secret:
                raise ValueError(f"BasicAuth: the password of {name!r} must be a text and not empty")
            if _WERKZEUG_HASH.fullmatch(secret):
                _fits(secret, b"")  # a hash that cannot be computed is told now, not to a platform
                self._hashed.append((name, secret))
            else:
                for encoded in _encodings(f"{name}:{secret}"):
                    self._known.add(encoded, name)

    @classmethod
    def from_env(cls) -> BasicAuth:
        """Take the environment variables `BROKER_USERNAME` and `BROKER_PASSWORD` (which may be a hash).

        Raises:
            ValueError: A variable is not set, or empty.
        """
        names = ("BROKER_USERNAME", "BROKER_PASSWORD")
        if missing := [name for name in names if not os.environ.get(name)]:
            raise ValueError(f"BasicAuth.from_env: set the environment variable {' and '.join(missing)}")
        username, password = (os.environ[name] for name in names)
        return cls(username, password)

    def __call__(self, request: Request, /) -> str | bool | None:
        scheme, _, encoded = request.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            given = b64decode(encoded.strip(), validate=True)
        except ValueError:
            return None
        return self._known.name_of(given) or (self._check_hashes(given) if self._hashed else None)

    def _check_hashes(self, given: bytes) -> str | None:
        # Every hash is computed, whichever name was given, so that the time tells no name.
        username, _, password = given.partition(b":")
        found: str | None = None
        for name, hashed in self._hashed:
            name_is_right = any(compare_digest(username, encoded) for encoded in _encodings(name))
            password_is_right = _fits(hashed, password)
            if name_is_right and password_is_right:
                found = name
        if found is not None:
            self._known.add(given, found)
        return found


class BearerAuth:
    """Bearer tokens (RFC 6750).

    Args:
        *tokens: Tokens that are good, of callers without a name.
        **named: Tokens that are good, each under the name of its caller.

    Raises:
        ValueError: There is no token, or one that no platform could send.
    """

    challenge = 'Bearer realm="service broker"'

    def __init__(self, *tokens: str, **named: str) -> None:
        self._known = _Known()
        pairs: list[tuple[str | bool, str]] = [*((True, token) for token in tokens), *named.items()]
        if not pairs:
            raise ValueError("BearerAuth: give at least one token")
        for name, token in pairs:
            if not isinstance(token, str) or not token or token != token.strip():
                raise ValueError("BearerAuth: a token must be a text, not empty, without space around it")
            for encoded in _encodings(token):
                self._known.add(encoded, name)

    def __call__(self, request: Request, /) -> str | bool | None:
        scheme, _, token = request.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        try:
            given = token.strip().encode("latin-1")  # as WSGI hands over the bytes of a header
        except UnicodeEncodeError:
            return None
        return self._known.name_of(given)


class NoAuth:
    """Everyone may call. For a broker that something else protects, or one that you are trying out."""

    def __call__(self, request: Request, /) -> str | bool | None:
        return True


def _encodings(text: str) -> set[bytes]:
    """The bytes that clients make of a text: UTF-8 (RFC 7617), or latin-1, as older ones still do."""
    encodings = {text.encode()}
    with suppress(UnicodeEncodeError):
        encodings.add(text.encode("latin-1"))
    return encodings


def _fits(hashed: str, password: bytes) -> bool:
    try:
        text = password.decode()
    except UnicodeDecodeError:
        text = password.decode("latin-1")
    return check_password_hash(hashed, text)
