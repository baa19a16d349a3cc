"""Who may call: ways for a platform to authenticate itself (R-REQ-2).

An authenticator is any callable that takes Flask's request and returns the name of the caller, True for
a caller without a name, or None or False to refuse. One with an attribute `challenge` chooses what the
401 says in ``WWW-Authenticate``.
"""

from __future__ import annotations

import inspect
import os
import re
import secrets
from abc import ABC, abstractmethod
from binascii import a2b_base64
from hashlib import blake2b
from hmac import compare_digest
from typing import Protocol

from flask import Request
from werkzeug.security import check_password_hash

_LIKE_A_HASH = re.compile(r"\s*(?:scrypt|pbkdf2):[^$]*\$[^$]*\$")
_HASH = re.compile(r"(?:scrypt|pbkdf2):[^$]+\$[^$]+\$[0-9a-f]+")

_REMEMBERED = 1_000
"""How many headers are remembered; there is one for each caller, but for what a caller varies on purpose."""

DEFAULT_CHALLENGE = 'Basic realm="service broker", charset="UTF-8"'
"""What a 401 asks for, unless the authenticator has a `challenge` of its own."""


class Authenticator(Protocol):
    """Decides who calls: the caller's name, True for one without a name, None or False to refuse."""

    def __call__(self, request: Request, /) -> str | bool | None: ...


def check_authenticator(auth: object, whose: str) -> None:
    """Make sure that something can be asked who calls.

    Args:
        auth: What was given.
        whose: To whom, for the message.

    Raises:
        TypeError: It cannot.
    """
    if isinstance(auth, type):
        raise TypeError(f"{whose}: auth is the class {auth.__name__}; make one: {auth.__name__}(…)")
    if inspect.iscoroutinefunction(auth):
        raise TypeError(f"{whose}: auth is an async function; give a plain one")
    if not callable(auth):
        raise TypeError(
            f"{whose}: auth is of the type {type(auth).__name__}; give an authenticator, such as"
            " BasicAuth.from_env(), or NoAuth() to let everyone call"
        )


class _HeaderAuth(ABC):
    """Judges the header ``Authorization``, and remembers which were right.

    What is remembered and looked up is a keyed digest, so that neither the bytes of a header nor how
    many of them are right can be learnt from how long the look-up takes.
    """

    challenge = DEFAULT_CHALLENGE

    def __init__(self) -> None:
        self._keyed = blake2b(key=secrets.token_bytes(32), digest_size=32)
        self._right: dict[bytes, str | bool] = {}

    def __call__(self, request: Request, /) -> str | bool | None:
        try:
            header = request.environ["HTTP_AUTHORIZATION"].encode("latin-1")  # as WSGI decodes it
        except (KeyError, UnicodeEncodeError):
            return None
        hashed = self._keyed.copy()
        hashed.update(header)
        digest = hashed.digest()
        caller = self._right.get(digest)
        if caller is None:
            scheme, _, credentials = header.partition(b" ")
            caller = self._judge(scheme.lower(), credentials.strip())
            if caller is not None and len(self._right) < _REMEMBERED:
                self._right[digest] = caller
        return caller

    @abstractmethod
    def _judge(self, scheme: bytes, credentials: bytes) -> str | bool | None:
        """Say whose credentials these are, in a time that depends on their length alone."""


class BasicAuth(_HeaderAuth):
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

    def __init__(self, username: str, password: str, *more: tuple[str, str]) -> None:
        super().__init__()
        self._credentials: list[tuple[str, str]] = []
        if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in more):
            raise ValueError('BasicAuth: further credentials are pairs: ("platform", "old password")')
        for name, secret in ((username, password), *more):
            if not isinstance(name, str) or not name or ":" in name:
                raise ValueError("BasicAuth: a username must be a text, not empty and without ':' (RFC 7617)")
            if not isinstance(secret, str) or not secret:
                raise ValueError(f"BasicAuth: the password of {name!r} must be a text and not empty")
            if _LIKE_A_HASH.match(secret):
                secret = secret.strip()  # of the line that it stood on
            try:
                _is_text(b"", name)
                _is_password(b"", secret)
            except UnicodeEncodeError:
                raise ValueError("BasicAuth: a username or password is not in UTF-8") from None
            except ValueError as error:
                raise ValueError(f"BasicAuth: the password hash of {name!r} is unusable: {error}") from None
            self._credentials.append((name, secret))

    @classmethod
    def from_env(cls) -> BasicAuth:
        """Take the environment variables `BROKER_USERNAME` and `BROKER_PASSWORD` (which may be a hash).

        Raises:
            ValueError: A variable is not set, or empty.
        """
        names = ("BROKER_USERNAME", "BROKER_PASSWORD")
        if missing := [name for name in names if not os.environ.get(name)]:
            raise ValueError(f"BasicAuth.from_env: {' and '.join(missing)} must be set in the environment")
        username, password = (os.environ[name] for name in names)
        return cls(username, password)

    def _judge(self, scheme: bytes, credentials: bytes) -> str | None:
        if scheme != b"basic":
            return None
        try:
            username, _, password = a2b_base64(credentials, strict_mode=True).partition(b":")
        except ValueError:
            return None
        caller: str | None = None
        for name, secret in self._credentials:  # all of them, whichever is right
            if _is_text(username, name) & _is_password(password, secret):
                caller = name
        return caller


class BearerAuth(_HeaderAuth):
    """Bearer tokens (RFC 6750).

    Args:
        *tokens: Tokens that are good, of callers without a name.
        **named: Tokens that are good, each under the name of its caller.

    Raises:
        ValueError: There is no token, or one that no platform could send.
    """

    challenge = 'Bearer realm="service broker"'

    def __init__(self, *tokens: str, **named: str) -> None:
        super().__init__()
        self._tokens: list[tuple[str | bool, str]] = [*((True, token) for token in tokens), *named.items()]
        if not self._tokens:
            raise ValueError("BearerAuth: give at least one token")
        for name, token in self._tokens:
            if not isinstance(token, str) or not token or token != token.strip() or not name:
                raise ValueError("BearerAuth: a token must be a text, not empty, without space around it")
            token.encode()  # a lone surrogate is a ValueError too

    def _judge(self, scheme: bytes, credentials: bytes) -> str | bool | None:
        caller: str | bool | None = None
        for name, token in self._tokens:
            if _is_text(credentials, token) & (scheme == b"bearer"):
                caller = name
        return caller


class NoAuth:
    """Everyone may call. For a broker that something else protects, or one that you are trying out."""

    def __call__(self, request: Request, /) -> str | bool | None:
        return True


def _is_text(given: bytes, text: str) -> bool:
    """Are these the bytes of a text, in UTF-8 (RFC 7617), or in latin-1, as older clients still write it?"""
    in_utf_8 = text.encode()
    try:
        in_latin_1 = text.encode("latin-1")
    except UnicodeEncodeError:
        in_latin_1 = in_utf_8
    return compare_digest(given, in_utf_8) | compare_digest(given, in_latin_1)


def _is_password(given: bytes, secret: str) -> bool:
    if not _LIKE_A_HASH.match(secret):
        return _is_text(given, secret)
    if not _HASH.fullmatch(secret):
        raise ValueError("it is not as werkzeug writes one")
    try:
        return check_password_hash(secret, given.decode())
    except UnicodeDecodeError:
        return check_password_hash(secret, given.decode("latin-1"))


# Internal accessors: for `testing`, which logs in to an app that it tests. No public API.


def plain_credentials_of(auth: BasicAuth) -> tuple[str, str] | None:
    """Return the first username and password that is stored in plain text; None if all are hashes."""
    return next((pair for pair in auth._credentials if not _LIKE_A_HASH.match(pair[1])), None)


def first_token_of(auth: BearerAuth) -> str:
    """Return the first token that an authenticator accepts."""
    return auth._tokens[0][1]
