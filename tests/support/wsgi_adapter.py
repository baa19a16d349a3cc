"""An in-process transport: a requests adapter that calls a WSGI application instead of opening a socket."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from http.client import RemoteDisconnected
from io import BytesIO
from itertools import count
from threading import Thread
from typing import Any
from unittest.mock import patch
from urllib.parse import unquote_to_bytes, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPHeaderDict, HTTPResponse
from urllib3.exceptions import ProtocolError, ReadTimeoutError

WSGIApplication = Callable[[dict[str, Any], Any], Iterable[bytes]]

_numbers = count(1)
_applications: dict[str, WSGIApplication] = {}


class WSGIAdapter(HTTPAdapter):
    """Adapter that calls an application in a thread per request, so that timeouts apply.

    Args:
        application: The application. Defaults to the one of :func:`serving_in_process` at the URL's host.
    """

    def __init__(self, application: WSGIApplication | None = None) -> None:
        super().__init__()
        self._application = application

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Call the application, and build a response from its result.

        Raises:
            requests.ReadTimeout: The response took too long. The application still runs.
            requests.ConnectionError: The application closed the connection without a response.
        """
        application = self._application or _applications[urlsplit(request.url or "").netloc]
        environ = _environ(request)
        # Only requests whose response is not awaited have no total timeout.
        seconds = options["timeout"].total or 0.0
        call: Future[HTTPResponse] = Future()
        Thread(target=_complete, args=(call, application, environ), daemon=True).start()
        try:
            response = call.result(seconds)
        except TimeoutError:
            error = ReadTimeoutError(HTTPConnectionPool("in-process"), request.url or "", "timed out")
            raise requests.ReadTimeout(error, request=request) from None
        if environ["werkzeug.socket"].is_shut_down:
            aborted = ProtocolError("Connection aborted.", RemoteDisconnected("closed without a response"))
            raise requests.ConnectionError(aborted, request=request)
        return self.build_response(request, response)


class _Socket:
    """Stand-in for the socket of the connection, which an application may shut down."""

    is_shut_down = False

    def shutdown(self, how: int) -> None:
        self.is_shut_down = True


@contextmanager
def serving_in_process(application: WSGIApplication) -> Iterator[str]:
    """Serve an application to the client of brokerkit in this process; yields its URL."""
    host = f"broker-{next(_numbers)}.invalid"
    _applications[host] = application
    try:
        with patch("brokerkit.client.transport._Adapter", WSGIAdapter):
            yield f"http://{host}"
    finally:
        del _applications[host]


def _complete(call: Future[HTTPResponse], application: WSGIApplication, environ: dict[str, Any]) -> None:
    try:
        call.set_result(_call(application, environ))
    except BaseException as error:  # noqa: BLE001 - raised in the thread of the request
        call.set_exception(error)


def _call(application: WSGIApplication, environ: dict[str, Any]) -> HTTPResponse:
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], *exc_info: object) -> Callable[..., None]:
        started.append((status, headers))
        return lambda data: None

    body = application(environ, start_response)
    try:
        data = b"".join(body)
    finally:
        if hasattr(body, "close"):
            body.close()
    status, headers = started[-1]
    code, _, reason = status.partition(" ")
    return HTTPResponse(
        BytesIO(data),
        headers=HTTPHeaderDict(headers),
        status=int(code),
        reason=reason,
        preload_content=False,
        request_method=environ["REQUEST_METHOD"],
    )


def _environ(request: requests.PreparedRequest) -> dict[str, Any]:
    parts = urlsplit(request.url or "")
    body = request.body or b""
    data = body.encode() if isinstance(body, str) else body
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(parts.path).decode("latin-1"),
        "QUERY_STRING": parts.query,
        "REQUEST_URI": f"{parts.path}?{parts.query}" if parts.query else parts.path,
        "RAW_URI": f"{parts.path}?{parts.query}" if parts.query else parts.path,
        "SERVER_NAME": parts.hostname,
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": parts.netloc,
        "CONTENT_LENGTH": str(len(data)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(data),
        "wsgi.errors": BytesIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "werkzeug.socket": _Socket(),
    }
    for name, value in request.headers.items():
        text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
        key = name.upper().replace("-", "_")
        if key == "CONTENT_TYPE":
            environ[key] = text
        elif key != "CONTENT_LENGTH":
            environ[f"HTTP_{key}"] = text
    return environ
