"""Sends requests to a broker, and brings back what came, whatever it is.

The only module that knows how: by requests, each on a connection of its own. So a connection that breaks is
never one that was idle for too long, and what was asked may have been done. It follows no redirect, keeps no
cookie and takes no login from ``.netrc``, because platforms do none of that.
"""

from __future__ import annotations

import re
import ssl
from base64 import b64encode
from collections.abc import Iterator, Mapping
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
        f"the platform's side of the API needs {missing.name}: pip install requests", name=missing.name
    ) from None

from .endpoints import APIRequest
from .exchange import Exchange, login_secrets

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_RESPONSE = 16 * 1024 * 1024
"""How many bytes of an answer are read."""

_CHUNK = 64 * 1024
_AT_ONCE = 0.001


class Login:
    """How to authenticate (R-REQ-2).

    Args:
        username: For basic authentication.
        password: For basic authentication.
        token: A bearer token instead.

    Raises:
        ValueError: It is half told, or cannot be sent.
    """

    def __init__(
        self, username: str | None = None, password: str | None = None, token: str | None = None
    ) -> None:
        if token is not None and (username is not None or password is not None):
            raise ValueError("give a username and password, or a token, not both")
        if (username is None) != (password is None):
            raise ValueError("give both a username and a password")
        if username is not None and ":" in username:
            raise ValueError("the username has a colon in it; basic authentication cannot send that")
        if token is not None and not re.fullmatch(r"[!-~]+", token):
            raise ValueError("the token is empty, or has characters that no header can hold")
        self.secrets = login_secrets(username, password, token)
        self.header: str | None = None
        if token is not None:
            self.header = f"Bearer {token}"
        elif username is not None:
            self.header = "Basic " + b64encode(f"{username}:{password}".encode()).decode()


class Transport:
    """Sends requests to one broker, from any number of threads.

    Args:
        url: Where the broker's ``/v2`` is.
        login: How to authenticate.
        timeout: How many seconds a request may take until its answer is whole.
        verify: Check the server's certificate? Or the path of a file with those to trust.

    Raises:
        ValueError: The URL is none of HTTP, the timeout is no time, or the file is not there.
    """

    def __init__(
        self, url: str, login: Login, *, timeout: float = 60.0, verify: bool | str | PathLike[str] = True
    ) -> None:
        self.url = _checked(url).rstrip("/").removesuffix("/v2")
        self._is_here = _is_loopback(urlsplit(url).hostname or "")
        self.login = login
        if not timeout > 0:
            raise ValueError(f"timeout={timeout!r} is no time; give seconds, more than 0")
        self.timeout = timeout
        if not isinstance(verify, bool):
            verify = str(verify)
            if not Path(verify).exists():
                raise ValueError(f"verify={verify!r}: there is no such file with certificates")
        self.verify = verify

    def send(
        self,
        ask: APIRequest,
        headers: Mapping[str, str | None],
        *,
        timeout: float | None = None,
        hang_up: bool = False,
        most: int = MAX_RESPONSE,
    ) -> Exchange:
        """Send a request.

        Args:
            ask: What is asked.
            headers: The headers; None leaves one out that would be sent otherwise. ``Authorization`` is
                the login's unless told.
            timeout: How many seconds the answer may take, if not as ever.
            hang_up: Close the connection as soon as the request is sent.
            most: How many bytes of the answer to read.

        Returns:
            What came back; if nothing did, why.
        """
        data = ask.data
        sent = _merged(
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
        url = f"{self.url}{ask.target}"
        limit = self.timeout if timeout is None else timeout
        began = perf_counter()
        answer, reached = _Answered(), True
        try:
            answer = self._exchange(
                requests.Request(
                    ask.method, url, {name: value.encode() for name, value in sent.items()}, data=data
                ),
                Timeout(connect=limit, read=_AT_ONCE) if hang_up else Timeout(total=limit),
                most,
            )
        except (OSError, HTTPError) as error:  # requests' are OSErrors too; one of urllib3's gets through
            failure, reached = _trouble(error)
            answer = _Answered(failure=failure)
        exchange = Exchange(
            method=ask.method,
            url=url,
            headers=sent,
            body=data,
            status=answer.status,
            response_headers=answer.headers or {},
            response_body=answer.body,
            was_sent=reached,
            seconds=perf_counter() - began,
            secrets=self.login.secrets,
            verify=self.verify,
        )
        if answer.failure is None:
            return exchange
        return msgspec.structs.replace(exchange, failure=exchange.clean(answer.failure))

    def _exchange(self, request: requests.Request, timeout: Timeout, most: int) -> _Answered:
        with requests.Session() as session, _Adapter() as adapter:
            prepared = request.prepare()
            # What the environment says of proxies and certificates is for this too, as it is for curl.
            told = session.merge_environment_settings(prepared.url, {}, True, self.verify, None)
            settings = cast("dict[str, Any]", {**told, "timeout": timeout})
            if self._is_here:
                settings["proxies"] = {}  # a proxy would look for the broker on its own machine
            with adapter.send(prepared, **settings) as response:
                body, failure = _body(response, most)
                found = {name.lower(): value for name, value in response.headers.items()}
                return _Answered(response.status_code, found, body, failure)


class _Answered(NamedTuple):
    status: int | None = None
    headers: Mapping[str, str] | None = None
    body: bytes = b""
    failure: str | None = None


def _checked(url: str) -> str:
    """The URL of a broker.

    Raises:
        ValueError: It is none. What it says shows no login.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        usable = usable and not parts.query and not parts.fragment
        login = "@" in parts.netloc
    except ValueError:  # the port is no number, or a bracket is open
        usable, login = False, "@" in url
    if login:
        raise ValueError("the URL has a login in it; give username and password by themselves")
    if not usable:
        shown = "what was given" if "@" in url else repr(url)
        raise ValueError(f"{shown} is not the URL of a broker; give one such as http://127.0.0.1:8080")
    return url


def _is_loopback(host: str) -> bool:
    """Is it this machine, as its own programs call it?"""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _merged(usual: Mapping[str, str | None], told: Mapping[str, str | None]) -> dict[str, str]:
    """Headers, where what is told wins, whatever the case of its name."""
    names = {name.lower() for name in told}
    merged = {name: value for name, value in usual.items() if name.lower() not in names}
    return {name: value for name, value in {**merged, **told}.items() if value is not None}


def _body(response: requests.Response, most: int) -> tuple[bytes, str | None]:
    """The body of an answer, and what is wrong with it."""
    body = bytearray()
    try:
        for chunk in _chunks(response):
            body += chunk
            if len(body) > most:
                return bytes(body[:most]), f"the body is longer than {most:,} bytes"
    except requests.exceptions.ContentDecodingError:
        encoding = response.headers.get("Content-Encoding", "")
        return bytes(body), f"the body is not {encoding}, as the header Content-Encoding says"
    return bytes(body), None


def _chunks(response: requests.Response) -> Iterator[bytes]:
    return cast("Iterator[bytes]", response.iter_content(_CHUNK))


# Connections whose answers are whole before the time is over


class _Timely(RawIOBase):
    """What comes on a connection, for as long as its timeout allows from now on.

    A timeout of a socket begins anew with each byte; an answer that drips would never end.
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


class _Incoming(HTTPResponse):
    def __init__(self, sock: socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp = BufferedReader(_Timely(sock, self.fp.detach()))


class _Connection(HTTPConnection):
    response_class = _Incoming


class _SecureConnection(HTTPSConnection):
    response_class = _Incoming

    def connect(self) -> None:
        """Connect. A handshake that fails is told as no connection: nothing was asked yet."""
        try:
            super().connect()
        except TimeoutError as error:
            raise ConnectTimeoutError(self, str(error)) from error
        except (OSError, SSLError) as error:
            raise NewConnectionError(self, str(error)) from error


class _Adapter(HTTPAdapter):
    def __enter__(self) -> _Adapter:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def get_connection_with_tls_context(self, *arguments: Any, **options: Any) -> HTTPConnectionPool:
        pool = super().get_connection_with_tls_context(*arguments, **options)
        assert isinstance(pool, HTTPConnectionPool)
        pool.ConnectionCls = _SecureConnection if pool.scheme == "https" else _Connection
        return pool


# What went wrong

_NOISE = re.compile(r"^\[[^]]*\] | \(_ssl\.c:\d+\)$")


def _trouble(error: OSError | HTTPError) -> tuple[str, bool]:
    """Why there is no answer, and whether the request may have been read."""
    reason: object = error.args[0] if error.args and isinstance(error, OSError) else error
    reason = getattr(reason, "reason", reason) if isinstance(reason, MaxRetryError) else reason
    reason = getattr(reason, "original_error", reason)  # a proxy's
    cause = reason.args[-1] if isinstance(reason, ProtocolError) else None
    match reason, cause:
        case NewConnectionError(), _:
            return _no_connection(reason), False
        case ConnectTimeoutError(), _:
            return "no connection within the time", False
        case (ReadTimeoutError(), _) | (_, TimeoutError()):
            return "no whole answer within the time", True
        case _, InvalidChunkLength():
            return "what came is not HTTP: a chunk has no length", True
        case _, IncompleteRead():
            return "the connection was closed in the middle of the answer", True
        case (_, RemoteDisconnected()) | (ProtocolError(), OSError()):
            return "the connection was closed before an answer", True
        case _, HTTPException():
            return f"what came is not HTTP: {cause}", True
        case HTTPError(), _ if not isinstance(reason, LocationValueError):
            return f"what came is not HTTP: {reason}", True
        case _:  # a header or a host's name that there cannot be, a file of certificates that is not there
            return f"the request cannot be sent: {error}", False


def _no_connection(reason: NewConnectionError) -> str:
    cause = reason.__cause__
    if isinstance(cause, SSLError) and cause.args:  # urllib3's, around that of ssl
        cause = cause.args[0]
    if isinstance(cause, ssl.SSLError):
        return f"no connection: TLS failed: {_NOISE.sub('', cause.strerror or str(cause))}"
    told = cause.strerror if isinstance(cause, OSError) else None
    return f"no connection: {told or cause or reason}"
