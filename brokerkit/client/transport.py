"""The HTTP transport of the client, built on requests.

Each request uses a new connection. A broken connection is therefore never a stale one from a pool, and the
broker may have processed the request. The transport follows no redirects, stores no cookies and ignores
``.netrc``, as platforms do.
"""

from __future__ import annotations

import re
import ssl
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from http.client import HTTPException, HTTPResponse, IncompleteRead, RemoteDisconnected
from io import BufferedReader, RawIOBase
from ipaddress import ip_address
from os import PathLike
from pathlib import Path
from socket import socket
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import urlsplit

import msgspec

try:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3 import HTTPConnectionPool, Timeout
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.exceptions import (
        ConnectTimeoutError,
        HTTPError,
        InvalidChunkLength,
        LocationValueError,
        MaxRetryError,
        NewConnectionError,
        ProtocolError,
        ReadTimeoutError,
        SSLError,
    )
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        f"the client needs the package {missing.name}: pip install 'osb-brokerkit[check]'", name=missing.name
    ) from None

from .endpoints import APIRequest
from .exchange import Exchange, login_secrets

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_RESPONSE = 16 * 1024 * 1024
"""The maximum size of a response body in bytes."""

_CHUNK = 64 * 1024
_HANG_UP_TIMEOUT = 0.001


class Login:
    """The credentials of a platform at a broker (R-REQ-2).

    Args:
        username: The username for basic authentication.
        password: The password for basic authentication.
        token: A bearer token, in place of username and password.

    Raises:
        ValueError: The credentials are incomplete, or a header cannot hold them.
    """

    def __init__(
        self, username: str | None = None, password: str | None = None, token: str | None = None
    ) -> None:
        if token is not None and (username is not None or password is not None):
            raise ValueError("give a username and password, or a token, not both")
        if (username is None) != (password is None):
            raise ValueError("give both a username and a password")
        if username is not None and ":" in username:
            raise ValueError("the username contains a colon, which basic authentication does not allow")
        if token is not None and not re.fullmatch(r"[!-~]+", token):
            raise ValueError("the token is empty, or contains characters that a header cannot hold")
        self.secrets = login_secrets(username, password, token)
        self.header: str | None = None
        if token is not None:
            self.header = f"Bearer {token}"
        elif username is not None:
            self.header = "Basic " + b64encode(f"{username}:{password}".encode()).decode()


class Transport:
    """A thread-safe HTTP transport to one broker.

    Args:
        url: The broker's URL, with or without ``/v2``.
        login: The credentials.
        timeout: The time limit in seconds from the start of a request to the end of its response. Defaults
            to 60.
        verify: Whether to check the server's certificate, or the path of a file with trusted certificates.
            Defaults to True.

    Raises:
        ValueError: The URL or the timeout is invalid, or the file does not exist.
    """

    def __init__(
        self, url: str, login: Login, *, timeout: float = 60.0, verify: bool | str | PathLike[str] = True
    ) -> None:
        self.url = _checked(url).rstrip("/").removesuffix("/v2")
        self._is_local = _is_loopback(urlsplit(url).hostname or "")
        self.login = login
        if not timeout > 0:
            raise ValueError(f"timeout={timeout!r} is invalid; give a number of seconds above 0")
        self.timeout = timeout
        if not isinstance(verify, bool):
            verify = str(verify)
            if not Path(verify).exists():
                raise ValueError(
                    f"verify={verify!r}: the file does not exist; give the path of a file with certificates"
                )
        self.verify = verify
        #: Internal: opens the adapter of one request. Tests replace it to call a WSGI app without a socket.
        self.open_adapter: Callable[[], HTTPAdapter] = _Adapter

    def send(
        self,
        request: APIRequest,
        headers: Mapping[str, str | None],
        *,
        timeout: float | None = None,
        hang_up: bool = False,
        max_bytes: int = MAX_RESPONSE,
    ) -> Exchange:
        """Send a request.

        Args:
            request: The request.
            headers: Headers to add or replace. None omits a header that is sent by default.
            timeout: The time limit in seconds. Defaults to the transport's timeout.
            hang_up: Whether to close the connection as soon as the request is sent. Defaults to False.
            max_bytes: The maximum number of bytes of the response body. Defaults to :data:`MAX_RESPONSE`.

        Returns:
            The exchange. Without a response, its `failure` has the reason.
        """
        data = request.data
        merged = _merged(
            {
                "User-Agent": "brokerkit",
                "Accept": "application/json",
                "Accept-Encoding": "gzip, deflate",
                "Connection": "close",
                "Authorization": self.login.header,
                "Content-Type": None if data is None else "application/json",
            },
            headers,
        )
        url = f"{self.url}{request.target}"
        limit = self.timeout if timeout is None else timeout
        began = perf_counter()
        response, was_sent = _Response(), True
        try:
            response = self._exchange(
                requests.Request(
                    request.method, url, {name: value.encode() for name, value in merged.items()}, data=data
                ),
                Timeout(connect=limit, read=_HANG_UP_TIMEOUT) if hang_up else Timeout(total=limit),
                max_bytes,
            )
        except (
            OSError,
            HTTPError,
        ) as error:  # requests raises OSErrors, and lets some errors of urllib3 through
            failure, was_sent = _describe(error)
            response = _Response(failure=failure)
        exchange = Exchange(
            method=request.method,
            url=url,
            headers=merged,
            body=data,
            status=response.status,
            response_headers=response.headers or {},
            response_body=response.body,
            was_sent=was_sent,
            seconds=perf_counter() - began,
            secrets=self.login.secrets,
            verify=self.verify,
        )
        if response.failure is None:
            return exchange
        return msgspec.structs.replace(exchange, failure=exchange.clean(response.failure))

    def _exchange(self, request: requests.Request, timeout: Timeout, max_bytes: int) -> _Response:
        with requests.Session() as session, closing(self.open_adapter()) as adapter:
            prepared = request.prepare()
            # Proxies and certificates from environment variables apply, as in curl.
            environment = session.merge_environment_settings(prepared.url, {}, True, self.verify, None)
            settings = cast("dict[str, Any]", {**environment, "timeout": timeout})
            if self._is_local:
                settings["proxies"] = {}  # a proxy cannot reach the loopback interface of this machine
            with adapter.send(prepared, **settings) as response:
                body, failure = _body(response, max_bytes)
                headers = {name.lower(): value for name, value in response.headers.items()}
                return _Response(response.status_code, headers, body, failure)


class _Response(NamedTuple):
    status: int | None = None
    headers: Mapping[str, str] | None = None
    body: bytes = b""
    failure: str | None = None


def _checked(url: str) -> str:
    """Validate the URL of a broker.

    Raises:
        ValueError: The URL is invalid. The message does not show a login.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        usable = usable and not parts.query and not parts.fragment
        login = "@" in parts.netloc
    except ValueError:  # an invalid port or an unclosed bracket
        usable, login = False, "@" in url
    if login:
        raise ValueError("the URL contains a login; give username and password separately")
    if not usable:
        shown = "the given text" if "@" in url else repr(url)
        raise ValueError(f"{shown} is not the URL of a broker; give one such as http://127.0.0.1:8080")
    return url


def _is_loopback(host: str) -> bool:
    """Whether a host name or an address is the loopback interface of this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _merged(defaults: Mapping[str, str | None], given: Mapping[str, str | None]) -> dict[str, str]:
    """Merge headers by case-insensitive name. A given header replaces the default, and None omits it."""
    names = {name.lower() for name in given}
    merged = {name: value for name, value in defaults.items() if name.lower() not in names}
    return {name: value for name, value in {**merged, **given}.items() if value is not None}


def _body(response: requests.Response, max_bytes: int) -> tuple[bytes, str | None]:
    """Read the body of a response, and describe why it is unusable, if it is."""
    body = bytearray()
    try:
        for chunk in _chunks(response):
            body += chunk
            if len(body) > max_bytes:
                return bytes(body[:max_bytes]), f"the body is longer than {max_bytes:,} bytes"
    except requests.exceptions.ContentDecodingError:
        encoding = response.headers.get("Content-Encoding", "")
        return bytes(body), f"the body is not valid {encoding}, which the header Content-Encoding names"
    return bytes(body), None


def _chunks(response: requests.Response) -> Iterator[bytes]:
    return cast("Iterator[bytes]", response.iter_content(_CHUNK))


# Connections with a total timeout


class _DeadlineReader(RawIOBase):
    """A reader that applies a connection's timeout to the whole response.

    A socket's own timeout restarts with each byte, so a slow response would never time out.
    """

    def __init__(self, connection: socket, incoming: RawIOBase) -> None:
        self._connection = connection
        self._incoming = incoming
        self._until = monotonic() + (connection.gettimeout() or 0.0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        left = self._until - monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._connection.settimeout(left)
        return cast("int | None", self._incoming.readinto(buffer))

    def close(self) -> None:
        self._incoming.close()
        super().close()


class _TimedResponse(HTTPResponse):
    def __init__(self, sock: socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp = BufferedReader(_DeadlineReader(sock, self.fp.detach()))


class _Connection(HTTPConnection):
    response_class = _TimedResponse


class _SecureConnection(HTTPSConnection):
    response_class = _TimedResponse

    def connect(self) -> None:
        """Connect, and report a failed handshake as a failed connection: no request was sent yet."""
        try:
            super().connect()
        except TimeoutError as error:
            raise ConnectTimeoutError(self, str(error)) from error
        except (OSError, SSLError) as error:
            raise NewConnectionError(self, str(error)) from error


class _Adapter(HTTPAdapter):
    def get_connection_with_tls_context(self, *arguments: Any, **options: Any) -> HTTPConnectionPool:
        pool = super().get_connection_with_tls_context(*arguments, **options)
        assert isinstance(pool, HTTPConnectionPool)
        pool.ConnectionCls = _SecureConnection if pool.scheme == "https" else _Connection
        return pool


# Failures

_NOISE = re.compile(r"^\[[^]]*\] | \(_ssl\.c:\d+\)$")


def _describe(error: OSError | HTTPError) -> tuple[str, bool]:
    """Describe why there is no response, and whether the broker may have received the request."""
    reason: object = error.args[0] if error.args and isinstance(error, OSError) else error
    reason = getattr(reason, "reason", reason) if isinstance(reason, MaxRetryError) else reason
    reason = getattr(reason, "original_error", reason)  # wraps the error of a proxy
    cause = reason.args[-1] if isinstance(reason, ProtocolError) else None
    match reason, cause:
        case NewConnectionError(), _:
            return _no_connection(reason), False
        case ConnectTimeoutError(), _:
            return "no connection within the timeout", False
        case (ReadTimeoutError(), _) | (_, TimeoutError()):
            return "no complete response within the timeout", True
        case _, InvalidChunkLength():
            return "the response is not HTTP: a chunk has no length", True
        case _, IncompleteRead():
            return "the connection was closed in the middle of the response", True
        case (_, RemoteDisconnected()) | (ProtocolError(), OSError()):
            return "the connection was closed before a response", True
        case _, HTTPException():
            return f"the response is not HTTP: {cause}", True
        case HTTPError(), _ if not isinstance(reason, LocationValueError):
            return f"the response is not HTTP: {reason}", True
        case _:  # an invalid header or host name, or a missing file of certificates
            return f"the request cannot be sent: {error}", False


def _no_connection(reason: NewConnectionError) -> str:
    cause = reason.__cause__
    if isinstance(cause, SSLError) and cause.args:  # the error of urllib3 wraps the one of ssl
        cause = cause.args[0]
    if isinstance(cause, ssl.SSLError):
        return f"no connection: TLS failed: {_NOISE.sub('', cause.strerror or str(cause))}"
    text = cause.strerror if isinstance(cause, OSError) else None
    return f"no connection: {text or cause or reason}"
