"""How a request becomes an answer: the one way that all endpoints go.

Authenticate, read the headers, decode, ask the handler, encode, tell the signals; and whatever goes
wrong on the way becomes an answer too.
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
from ..auth import DEFAULT_CHALLENGE, Authenticator
from ..catalog.models import Catalog
from ..endpoints import APIEndpoint
from ..errors import BadRequest, BrokerError, HandlerMistake
from ..handlers.group import Handler, describe_function
from ..handlers.table import HandlerTable
from ..protocol.decoding import DECODERS, RawRequest
from ..protocol.encoding import EncodedResponse, encode_catalog, encode_error
from ..protocol.headers import read_headers, trace_context_of
from ..requests import Operation
from .dispatch import Dispatch

_logger = logging.getLogger("brokerkit")


class Settings(NamedTuple):
    """What a broker's author decides about requests.

    Args:
        auth: Who may call.
        require_organization: Must a provision name an organization and a space?
        minimum_version: The least version of the API, as major and minor.
        max_body: How many bytes a body may have.
    """

    auth: Authenticator
    require_organization: bool
    minimum_version: tuple[int, int]
    max_body: int


_CATALOG = Operation.CATALOG  # looking a member up in its enum is slow
_LENGTH = re.compile(r"[0-9]{1,15}")
_FAILURE = EncodedResponse(
    500, b'{"error":"InternalError","description":"The service broker failed. Its log says why."}'
)


class Unauthenticated(BrokerError):
    """The caller did not say who it is, or not in a way that convinces: 401 (R-REQ-2)."""

    status = 401
    error = "Unauthenticated"
    description = "Authentication is required; check the credentials that the platform uses."

    def __init__(self, challenge: str) -> None:
        super().__init__()
        self.headers = (("WWW-Authenticate", challenge),)


class Pipeline:
    """Turns requests into answers, for one broker.

    Args:
        sender: The broker, for the signals.
        catalog: The catalog, or a function that returns it.
        settings: What the broker's author decided.
        dispatch: Who answers what is in order.
        has_store: Has the broker a store, so that some handlers are needed no more?
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
        """Take the handlers, all that there will be.

        Returns:
            What does not fit the catalog, a line each. A catalog that a function returns is checked
            when it is first returned, and its faults are logged.
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
        echo: str | None,
        ids: dict[str, str],
    ) -> EncodedResponse:
        """Answer a request, whatever it is.

        Args:
            http: The request as it came.
            route: The endpoint; or, where the path or method is none of the API's, what to tell those
                who may call.
            echo: The request's identity, if the answer can carry it back.
            ids: The `instance_id` and `binding_id` in the path, those that it has.
        """
        current = CallContext(None if isinstance(route, BrokerError) else route.operation, ids)
        token = CURRENT_CALL.set(current)
        try:
            started = perf_counter()
            trace_context = trace_context_of(http.environ)
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
                result, answer = self._serve(http, route, echo, ids, current, trace_context)
            except BrokerError as refused:
                error = refused
                answer = _refused(refused, http.method, current.operation, ids)
            except (KeyboardInterrupt, SystemExit, GeneratorExit):
                raise
            except BaseException as failure:  # noqa: BLE001 - such as asyncio's CancelledError or gevent's Timeout
                error = failure
                answer = log_failure(failure, _named(current.operation, ids))
            if signals.request_finished.receivers:
                signals.send(
                    signals.request_finished,
                    self._sender,
                    operation=current.operation,
                    status=answer.status,
                    seconds=perf_counter() - started,
                    instance_id=current.instance_id,
                    binding_id=current.binding_id,
                    headers=current.headers,
                    request=current.request,
                    result=result,
                    error=error,
                    operation_id=current.operation_id,
                )
            return answer
        finally:
            current.is_over = True
            CURRENT_CALL.reset(token)

    def _serve(
        self,
        http: HTTPRequest,
        route: APIEndpoint | BrokerError,
        echo: str | None,
        ids: dict[str, str],
        current: CallContext,
        trace_context: dict[str, str],
    ) -> tuple[object, EncodedResponse]:
        username = self._authenticate(http)
        if isinstance(route, BrokerError):
            raise route
        environ = http.environ
        headers = read_headers(environ, username, self._settings.minimum_version, echo, trace_context)
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
        if route.operation is not _CATALOG:
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
            if _LENGTH.fullmatch(length) and int(length) <= limit and "stream" not in vars(http):
                # Nobody has begun to read it: read it at once, and leave it for whoever reads it after us.
                body = _read_exactly(environ["wsgi.input"], int(length))
                environ["wsgi.input"] = BytesIO(body)
                return body
            http.max_content_length = limit + 1  # werkzeug cuts a chunked body off there without a word
            body = http.get_data()
            if len(body) > limit:
                raise RequestEntityTooLarge
            return body
        except RequestEntityTooLarge:
            raise BrokerError(
                f"The body is larger than {limit:,} bytes.", status=413, error="BodyTooLarge"
            ) from None
        except Exception as error:
            _logger.debug("a body could not be read", exc_info=error)
            raise BadRequest("The body did not arrive whole.") from None

    def current_catalog(self) -> Catalog:
        """What is offered now, also before there are handlers."""
        if isinstance(self._catalog, Catalog):
            return self._catalog
        return self.current_table().catalog if self._handlers else self._catalog()

    @property
    def last_catalog(self) -> Catalog | None:
        """What was offered when that was last asked."""
        if isinstance(self._catalog, Catalog):
            return self._catalog
        return self._table.catalog if self._table is not None else None

    def current_table(self) -> HandlerTable:
        """The handlers, resolved against the catalog as it is now."""
        if isinstance(self._catalog, Catalog):
            assert self._table is not None, "the blueprint starts the pipeline when it is attached"
            return self._table
        table = self._table
        try:
            catalog = self._catalog()
        except Exception:
            if table is None:
                raise
            _logger.exception("the catalog function failed; the last catalog that it returned is served")
            return table
        if table is None or table.catalog is not catalog:
            if not isinstance(catalog, Catalog):
                raise HandlerMistake(
                    f"the catalog function returned a {type(catalog).__name__}; return a Catalog"
                )
            table = HandlerTable(self._handlers, catalog, has_store=self._has_store)
            for fault in table.faults:
                _logger.error("the broker cannot serve all of its new catalog: %s", fault)
            self._table = table
        return table


def _read_exactly(stream: IO[bytes], length: int) -> bytes:
    body = stream.read(length)
    while len(body) < length:
        more = stream.read(length - len(body))
        if not more:
            raise ClientDisconnected
        body += more
    return body


def _named(operation: Operation | None, ids: Mapping[str, str]) -> str:
    """What a log line is about; an id is as long as its sender likes."""
    short = {name: value if len(value) <= 80 else f"{value[:80]}…" for name, value in ids.items()}
    subject = ", ".join(f"{name.removesuffix('_id')} {value!r}" for name, value in short.items())
    return f"{operation}{f' of {subject}' if subject else ''}" if operation else "a request"


def _refused(
    refusal: BrokerError, method: str, operation: Operation | None, ids: Mapping[str, str]
) -> EncodedResponse:
    what = _named(operation, ids)
    try:
        answer = encode_error(refusal, method, operation)
    except HandlerMistake as mistake:
        return log_failure(mistake, what)
    if answer.status < 500:
        _logger.info("%s was refused with %d: %r", what, answer.status, refusal.description)
    else:
        _logger.error("%s was answered with %d", what, answer.status, exc_info=refusal)
    return answer


def log_failure(failure: BaseException, what: str) -> EncodedResponse:
    """Log what went wrong on our side, for the broker's author; the platform learns nothing of the inside."""
    if isinstance(failure, HandlerMistake):
        _logger.error("%s [%s]", failure, what)
    else:
        _logger.error("%s failed", what, exc_info=failure)
    return _FAILURE


def _check_encoding(environ: Mapping[str, Any]) -> None:
    """Refuse an id that is no UTF-8: what stands for its bytes would stand for other ids too."""
    try:
        environ["PATH_INFO"].encode("latin-1").decode()
    except UnicodeError:
        raise BadRequest("The path is not UTF-8; percent-encode its ids.") from None
