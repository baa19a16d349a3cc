"""The pipeline that turns each HTTP request into a response.

It authenticates the caller, parses the headers, decodes the request, dispatches it, and sends the signals.
Every failure also becomes a response.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from time import perf_counter
from types import MappingProxyType
from typing import IO, Any, NamedTuple

from flask import Request as HTTPRequest
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from .. import signals
from .._context import CURRENT_CALL, CallContext
from .._internal.text import quote_id
from ..auth import DEFAULT_CHALLENGE, Authenticator
from ..catalog.models import Catalog
from ..endpoints import APIEndpoint
from ..errors import BadRequest, BrokerError, HandlerMistake
from ..handlers.group import Handler, describe_function
from ..handlers.table import HandlerTable
from ..protocol.decoding import DECODERS, RawRequest
from ..protocol.encoding import EncodedResponse, encode_catalog, encode_error
from ..protocol.headers import get_trace_context, parse_headers
from ..requests import Operation
from .dispatch import Dispatch

_logger = logging.getLogger(__name__)


class Settings(NamedTuple):
    """The settings of a broker that concern requests.

    Args:
        auth: Authenticates callers.
        require_organization: Whether a provision must name an organization and a space.
        minimum_version: The lowest accepted version of the API, as major and minor number.
        max_body: The maximum size of a body in bytes.
    """

    auth: Authenticator
    require_organization: bool
    minimum_version: tuple[int, int]
    max_body: int


_CONTENT_LENGTH = re.compile(r"[0-9]{1,15}")
_INTERNAL_ERROR = EncodedResponse(
    500, b'{"error":"InternalError","description":"The service broker failed. See its log for the cause."}'
)


class Unauthenticated(BrokerError):
    """The request has no credentials or invalid credentials: 401 (R-REQ-2)."""

    status = 401
    error = "Unauthenticated"
    description = (
        "Authentication failed. Please check the credentials that the platform uses for this broker."
    )

    def __init__(self, challenge: str) -> None:
        super().__init__()
        self.headers = (("WWW-Authenticate", challenge),)


class Pipeline:
    """The request pipeline of one broker.

    Args:
        sender: The broker, as the sender of signals.
        catalog: The catalog, or a function that returns the current one.
        settings: The settings that concern requests.
        dispatch: Serves the decoded requests.
        has_store: Whether the broker has a store, which makes some handlers optional. Defaults to False.
    """

    def __init__(
        self,
        sender: object,
        catalog: Catalog | Callable[[], Catalog],
        settings: Settings,
        dispatch: Dispatch,
        *,
        has_store: bool = False,
    ) -> None:
        self._sender = sender
        self._dispatch = dispatch
        self._has_store = has_store
        self._catalog = catalog
        self._settings = settings
        self._handlers: Sequence[Handler] = ()
        self._table: HandlerTable | None = None

    @property
    def sender(self) -> object:
        """The broker that the signals are sent for."""
        return self._sender

    def start(self, handlers: Sequence[Handler]) -> list[str]:
        """Set the handlers. No handler can be added later.

        Returns:
            A message for each mismatch between handlers and catalog. If a function returns the catalog, the
            list is empty: each new catalog is checked when the function returns it, and faults are logged.
        """
        self._handlers = handlers
        if isinstance(self._catalog, Catalog):
            self._table = HandlerTable(handlers, self._catalog, has_store=self._has_store)
            return self._table.faults
        return []

    def handle(
        self,
        http: HTTPRequest,
        route: APIEndpoint | BrokerError,
        request_identity: str | None,
        ids: dict[str, str],
    ) -> EncodedResponse:
        """Handle an HTTP request and return its response.

        Args:
            http: The HTTP request.
            route: The endpoint. If the path or method is not part of the API, the error for authenticated
                callers.
            request_identity: The request's identity, or None if it has none that can be sent back.
            ids: The `instance_id` and `binding_id` from the path, if the path has them.
        """
        current = CallContext(None if isinstance(route, BrokerError) else route.operation, ids)
        token = CURRENT_CALL.set(current)
        try:
            started = perf_counter()
            trace_context = get_trace_context(http.environ)
            if signals.request_started.receivers:
                replaced = signals.send(
                    signals.request_started,
                    self._sender,
                    operation=current.operation,
                    method=http.method,
                    scheme=http.scheme,
                    path=http.path,
                    instance_id=current.instance_id,
                    binding_id=current.binding_id,
                    trace_context=MappingProxyType(trace_context),
                )
                if replaced is not None:
                    trace_context = dict(replaced)
            result: object = None
            error: BaseException | None = None
            try:
                result, response = self._serve(http, route, request_identity, ids, current, trace_context)
            except BrokerError as refusal:
                error = refusal
                response = _encode_refusal(refusal, http.method, current.operation, ids)
            except (KeyboardInterrupt, SystemExit, GeneratorExit):
                raise
            except BaseException as failure:  # noqa: BLE001 - such as asyncio's CancelledError or gevent's Timeout
                error = failure
                response = log_failure(failure, _describe_request(current.operation, ids))
            if signals.request_finished.receivers:
                signals.send(
                    signals.request_finished,
                    self._sender,
                    operation=current.operation,
                    status=response.status,
                    seconds=perf_counter() - started,
                    instance_id=current.instance_id,
                    binding_id=current.binding_id,
                    headers=current.headers,
                    request=current.request,
                    result=result,
                    error=error,
                    operation_id=current.operation_id,
                )
            return response
        finally:
            current.is_over = True
            CURRENT_CALL.reset(token)

    def _serve(
        self,
        http: HTTPRequest,
        route: APIEndpoint | BrokerError,
        request_identity: str | None,
        ids: dict[str, str],
        current: CallContext,
        trace_context: dict[str, str],
    ) -> tuple[object, EncodedResponse]:
        username = self._authenticate(http)
        if isinstance(route, BrokerError):
            raise route
        environ = http.environ
        headers = parse_headers(
            environ, username, self._settings.minimum_version, request_identity, trace_context
        )
        current.headers = headers
        body = self._read_body(http) if route.has_body else b""
        table = self.current_table()
        for resource_id in ids.values():
            if "\ufffd" in resource_id:
                _check_encoding(environ)
        request = DECODERS[route.operation](
            RawRequest(
                table.catalog,
                headers,
                ids,
                environ.get("QUERY_STRING", ""),
                body,
                self._settings.require_organization,
            )
        )
        current.request = request
        if route.operation is not Operation.CATALOG:
            return self._dispatch.serve(table, route.operation, request)
        self._dispatch.ensure_started()
        return table.catalog, encode_catalog(table.catalog, environ.get("HTTP_IF_NONE_MATCH"))

    def _authenticate(self, http: HTTPRequest) -> str | None:
        caller = self._settings.auth(http)
        if not caller:
            signals.send(
                signals.authentication_failed,
                self._sender,
                method=http.method,
                path=http.path,
                remote_addr=http.remote_addr,
            )
            raise Unauthenticated(getattr(self._settings.auth, "challenge", DEFAULT_CHALLENGE))
        if caller is True:
            return None
        if not isinstance(caller, str):
            raise HandlerMistake(
                f"auth, {describe_function(self._settings.auth)}, returned a value of the type"
                f" {type(caller).__name__}; return the caller's name, True, None or False"
            )
        return caller

    def _read_body(self, http: HTTPRequest) -> bytes:
        environ = http.environ
        mimetype = environ.get("CONTENT_TYPE", "")
        if mimetype and mimetype != "application/json" and not http.is_json:
            raise BadRequest("The header Content-Type must be application/json.")
        limit = self._settings.max_body
        length = environ.get("CONTENT_LENGTH", "")
        try:
            if _CONTENT_LENGTH.fullmatch(length) and int(length) <= limit and "stream" not in vars(http):
                # Reading without Werkzeug makes a request 6 % faster. Later reads by the app get a copy.
                body = _read_exactly(environ["wsgi.input"], int(length))
                environ["wsgi.input"] = BytesIO(body)
                return body
            http.max_content_length = limit + 1  # Werkzeug silently truncates a chunked body at the limit
            body = http.get_data()
            if len(body) > limit:
                raise RequestEntityTooLarge
            return body
        except RequestEntityTooLarge:
            raise BrokerError(
                f"The body is larger than the limit of {limit:,} bytes.", status=413, error="BodyTooLarge"
            ) from None
        except Exception as error:
            _logger.debug("Cannot read the body of a request", exc_info=error)
            raise BadRequest("The body is incomplete; the connection was interrupted.") from None

    def current_catalog(self) -> Catalog:
        """Return the current catalog. This works before the pipeline is started, too."""
        if isinstance(self._catalog, Catalog):
            return self._catalog
        return self.current_table().catalog if self._handlers else self._catalog()

    @property
    def last_catalog(self) -> Catalog | None:
        """The last catalog that a request used, or None before the first request."""
        if isinstance(self._catalog, Catalog):
            return self._catalog
        return self._table.catalog if self._table is not None else None

    def current_table(self) -> HandlerTable:
        """Return the handlers, resolved against the current catalog."""
        if isinstance(self._catalog, Catalog):
            assert self._table is not None, "the pipeline is started when the blueprint is registered"
            return self._table
        table = self._table
        try:
            catalog = self._catalog()
        except Exception:
            if table is None:
                raise
            _logger.exception("Catalog function failed; serving the last catalog that it returned")
            return table
        if table is None or table.catalog is not catalog:
            if not isinstance(catalog, Catalog):
                raise HandlerMistake(
                    f"The catalog function returned a {type(catalog).__name__}; return a Catalog"
                )
            table = HandlerTable(self._handlers, catalog, has_store=self._has_store)
            for fault in table.faults:
                _logger.error("Cannot serve a part of the new catalog: %s", fault)
            self._table = table
        return table


def _read_exactly(stream: IO[bytes], length: int) -> bytes:
    body = stream.read(length)
    while len(body) < length:
        chunk = stream.read(length - len(body))
        if not chunk:
            raise ClientDisconnected
        body += chunk
    return body


def _describe_request(operation: Operation | None, ids: Mapping[str, str]) -> str:
    """Name a request by its operation and ids for a log record."""
    subject = ", ".join(f"{name.removesuffix('_id')} {quote_id(value)}" for name, value in ids.items())
    return f"{operation}{f' of {subject}' if subject else ''}" if operation else "request"


def _encode_refusal(
    refusal: BrokerError, method: str, operation: Operation | None, ids: Mapping[str, str]
) -> EncodedResponse:
    subject = _describe_request(operation, ids)
    try:
        response = encode_error(refusal, method, operation)
    except HandlerMistake as mistake:
        return log_failure(mistake, subject)
    if response.status < 500:
        _logger.info("Refused %s with %d: %r", subject, response.status, refusal.description)
    else:
        _logger.error("Refused %s with %d", subject, response.status, exc_info=refusal)
    return response


def log_failure(failure: BaseException, subject: str) -> EncodedResponse:
    """Log a failure of the broker and return the response, which does not reveal the cause.

    Args:
        failure: The exception.
        subject: The name of the request, for the log record.
    """
    if isinstance(failure, HandlerMistake):
        _logger.error("%s [%s]", failure, subject)
    else:
        _logger.error("Failed to handle %s", subject, exc_info=failure)
    return _INTERNAL_ERROR


def _check_encoding(environ: Mapping[str, Any]) -> None:
    """Reject an id that is not UTF-8, because its replacement characters would also match other ids."""
    try:
        environ["PATH_INFO"].encode("latin-1").decode()
    except UnicodeError:
        raise BadRequest(
            "The path is not valid UTF-8. Encode the ids as UTF-8 and percent-encode them."
        ) from None
