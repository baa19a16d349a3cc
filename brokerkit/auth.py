"""Authentication of the platform (R-REQ-2).

An authenticator is any callable that takes Flask's request. It returns the name of the caller, or True for a
caller without a name. It returns None or False to refuse the request. An attribute `challenge` of the
authenticator sets the header ``WWW-Authenticate`` of the 401. An authenticator may raise a `BrokerError`,
which becomes the response.
"""

from __future__ import annotations

import inspect
import os
import re
import secrets
from abc import ABC, abstractmethod
from binascii import a2b_base64
from functools import partial
from hashlib import blake2b
from hmac import compare_digest
from typing import NamedTuple, Protocol

from flask import Request
from werkzeug.security import check_password_hash

from ._internal.login_queue import LoginQueue, QueueFull
from .errors import BrokerError

_HASH_PREFIX = re.compile(r"\s*(?:scrypt|pbkdf2):[^$]*\$[^$]*\$")
_HASH = re.compile(r"(?:scrypt|pbkdf2):[^$]+\$[^$]+\$[0-9a-f]+")

_CACHE_SIZE = 1_000
"""The maximum number of cached headers. One login has many spellings, so the cache is bounded."""

DEFAULT_CHALLENGE = 'Basic realm="service broker", charset="UTF-8"'
"""The ``WWW-Authenticate`` header of a 401 if the authenticator has no `challenge`."""


class TooManyLogins(BrokerError):
    """Too many logins wait for the check of their password: 429. Whether this one is right is unknown.

    Nothing was done for the request, so the platform may repeat it. Platforms repeat a poll after a 429, and
    do not delete an instance or binding as they do after a 503.
    """

    status = 429
    error = "TooManyLogins"
    description = "Too many logins with a wrong password. Try again in a few seconds."
    headers = (("Retry-After", "2"),)


class Authenticator(Protocol):
    """A callable that authenticates a request.

    Returns:
        The name of the caller; True for a caller without a name; None or False to refuse the request.
    """

    def __call__(self, request: Request, /) -> str | bool | None: ...


def check_authenticator(auth: object, owner: str) -> None:
    """Check that a value can be used as an authenticator.

    Args:
        auth: The value.
        owner: The class or function that takes it, for the message.

    Raises:
        TypeError: The value is not an authenticator.
    """
    if isinstance(auth, type):
        raise TypeError(f"{owner}: auth is the class {auth.__name__}; create an instance: {auth.__name__}(…)")
    if inspect.iscoroutinefunction(auth):
        raise TypeError(f"{owner}: auth is an async function; pass a plain function")
    if not callable(auth):
        raise TypeError(
            f"{owner}: auth is of the type {type(auth).__name__}; pass an authenticator, such as"
            " BasicAuth.from_env(), or NoAuth() to accept every caller"
        )


class _Login(NamedTuple):
    """A keyed digest of a header, and the address of its client."""

    digest: bytes
    client: str


class _HeaderAuth(ABC):
    """Base of the authenticators that check the header ``Authorization`` and cache the valid headers.

    The cache key is a keyed digest. So the duration of a look-up reveals neither the bytes of a valid header
    nor the number of correct ones.
    """

    challenge = DEFAULT_CHALLENGE

    def __init__(self) -> None:
        self._keyed_hash = blake2b(key=secrets.token_bytes(32), digest_size=32)
        self._callers: dict[bytes, str | bool] = {}

    def __call__(self, request: Request, /) -> str | bool | None:
        try:
            header = request.environ["HTTP_AUTHORIZATION"].encode("latin-1")  # as WSGI decodes it
        except (KeyError, UnicodeEncodeError):
            return None
        keyed_hash = self._keyed_hash.copy()
        keyed_hash.update(header)
        digest = keyed_hash.digest()
        caller = self._callers.get(digest)
        if caller is None:
            scheme, _, credentials = header.partition(b" ")
            login = _Login(digest, request.remote_addr or "")
            caller = self._verify(scheme.lower(), credentials.strip(), login)
            if caller is not None and len(self._callers) < _CACHE_SIZE:
                self._callers[digest] = caller
        return caller

    @abstractmethod
    def _verify(self, scheme: bytes, credentials: bytes, login: _Login) -> str | bool | None:
        """Return the caller with these credentials, in a time that depends only on their length.

        Args:
            scheme: The authentication scheme, in lower case.
            credentials: The rest of the header.
            login: Identifies the header and the client.

        Raises:
            TooManyLogins: The credentials were not checked.
        """


class BasicAuth(_HeaderAuth):
    """HTTP basic authentication.

    Args:
        username: The username: not empty, without a colon (RFC 7617).
        password: The password, not empty; or its hash from ``werkzeug.security.generate_password_hash``.
            The hash of a valid password is computed once, not for each request.
        *more: Further valid pairs of username and password, such as the old pair during a rotation.

    The check of a login against password hashes is slow by design, and anyone can request it. So each process
    checks one such login at a time, and reuses the result for a wrong one for a minute. While there are wrong
    logins, few requests wait for a check, and clients take turns by their address. Other requests get 429
    with ``Retry-After``. A login that was valid before never waits. Behind a proxy, use Werkzeug's
    ``ProxyFix``, so that the addresses of clients are known.

    Raises:
        ValueError: A username or password is empty, malformed or impossible to send.
    """

    def __init__(self, username: str, password: str, *more: tuple[str, str]) -> None:
        super().__init__()
        self._credentials: list[tuple[str, str]] = []
        self._queue = LoginQueue()
        if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in more):
            raise ValueError('BasicAuth: further credentials are pairs: ("platform", "old password")')
        for name, secret in ((username, password), *more):
            if not isinstance(name, str) or not name or ":" in name:
                raise ValueError("BasicAuth: a username must be a non-empty string without ':' (RFC 7617)")
            if not isinstance(secret, str) or not secret:
                raise ValueError(f"BasicAuth: the password of {name!r} must be a non-empty string")
            if _HASH_PREFIX.match(secret):
                secret = secret.strip()  # a hash that was read from a file may end with a line break
            try:
                _matches_text(b"", name)
                _matches_password(b"", secret)
            except UnicodeEncodeError:
                raise ValueError("BasicAuth: a username or password cannot be encoded in UTF-8") from None
            except ValueError as error:
                raise ValueError(
                    f"BasicAuth: the password hash of {name!r} cannot be used: {error}"
                ) from None
            self._credentials.append((name, secret))
        self._is_slow = any(_HASH_PREFIX.match(secret) for _, secret in self._credentials)

    @classmethod
    def from_env(cls) -> BasicAuth:
        """Read the credentials from the environment variables `BROKER_USERNAME` and `BROKER_PASSWORD`.

        The password may be a hash, as in the constructor.

        Raises:
            ValueError: A variable is not set or is empty, or the constructor refuses its value.
        """
        names = ("BROKER_USERNAME", "BROKER_PASSWORD")
        if missing := [name for name in names if not os.environ.get(name)]:
            raise ValueError(f"BasicAuth.from_env: set {' and '.join(missing)} in the environment")
        username, password = (os.environ[name] for name in names)
        return cls(username, password)

    def _verify(self, scheme: bytes, credentials: bytes, login: _Login) -> str | bool | None:
        if scheme != b"basic":
            return None
        try:
            username, _, password = a2b_base64(credentials, strict_mode=True).partition(b":")
        except ValueError:
            return None
        match = partial(self._match, username, password)
        if not self._is_slow:
            return match()
        try:
            return self._queue.check(login.digest, login.client, match)
        except QueueFull:
            raise TooManyLogins from None

    def _match(self, username: bytes, password: bytes) -> str | None:
        caller: str | None = None
        for name, secret in self._credentials:  # no early exit, which would reveal the valid pair
            if _matches_text(username, name) & _matches_password(password, secret):
                caller = name
        return caller


class BearerAuth(_HeaderAuth):
    """Bearer token authentication (RFC 6750).

    Args:
        *tokens: Valid tokens of callers without a name.
        **named: Valid tokens by the name of their caller.

    Raises:
        ValueError: No token is given, or a token is empty, malformed or impossible to send.
    """

    challenge = 'Bearer realm="service broker"'

    def __init__(self, *tokens: str, **named: str) -> None:
        super().__init__()
        self._tokens: list[tuple[str | bool, str]] = [*((True, token) for token in tokens), *named.items()]
        if not self._tokens:
            raise ValueError("BearerAuth: pass at least one token")
        for name, token in self._tokens:
            if not isinstance(token, str) or not token or token != token.strip() or not name:
                raise ValueError(
                    "BearerAuth: a token must be a non-empty string without surrounding whitespace"
                )
            token.encode()  # a lone surrogate is a ValueError too

    def _verify(self, scheme: bytes, credentials: bytes, login: _Login) -> str | bool | None:
        caller: str | bool | None = None
        for name, token in self._tokens:
            if _matches_text(credentials, token) & (scheme == b"bearer"):
                caller = name
        return caller


class NoAuth:
    """No authentication: every caller is accepted.

    For a broker that is protected by other means, or for a first try.
    """

    def __call__(self, request: Request, /) -> str | bool | None:
        return True


def _matches_text(given: bytes, text: str) -> bool:
    """Compare bytes with a text, in constant time.

    The bytes may be UTF-8 (RFC 7617) or, from older clients, latin-1.
    """
    utf_8 = text.encode()
    try:
        latin_1 = text.encode("latin-1")
    except UnicodeEncodeError:
        latin_1 = utf_8
    return compare_digest(given, utf_8) | compare_digest(given, latin_1)


def _matches_password(given: bytes, secret: str) -> bool:
    """Compare bytes with a password or with a password hash.

    Raises:
        ValueError: The password hash is malformed.
    """
    if not _HASH_PREFIX.match(secret):
        return _matches_text(given, secret)
    if not _HASH.fullmatch(secret):
        raise ValueError("it does not have the format of werkzeug.security.generate_password_hash")
    try:
        return check_password_hash(secret, given.decode())
    except UnicodeDecodeError:
        return check_password_hash(secret, given.decode("latin-1"))


# Internal accessors for `brokerkit.testing`, which logs in to the app under test. Not public API.


def plain_credentials_of(auth: BasicAuth) -> tuple[str, str] | None:
    """Return the first username and password that is stored in plain text; None if all are hashes."""
    return next((pair for pair in auth._credentials if not _HASH_PREFIX.match(pair[1])), None)


def first_token_of(auth: BearerAuth) -> str:
    """Return the first token that an authenticator accepts."""
    return auth._tokens[0][1]
