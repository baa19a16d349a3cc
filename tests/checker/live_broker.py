"""The WSGI application of the reference broker, and a server for it."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl

from werkzeug.serving import WSGIRequestHandler, make_server

from brokerkit.requests import Operation

from .messages import BrokerRequest, Node, read_json
from .reference_broker import ReferenceBroker

_INSTANCES = {
    "GET": Operation.GET_INSTANCE,
    "PUT": Operation.PROVISION,
    "PATCH": Operation.UPDATE,
    "DELETE": Operation.DEPROVISION,
}
_BINDINGS = {"GET": Operation.GET_BINDING, "PUT": Operation.BIND, "DELETE": Operation.UNBIND}


def app(broker: ReferenceBroker) -> Callable[[Node, Any], list[bytes]]:
    """Build the WSGI application of a broker."""

    def serve(environ: Node, start_response: Any) -> list[bytes]:
        response = broker.respond(_parse_request(environ))
        if response.hangs_up:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        body = response.body
        if not isinstance(body, bytes):
            body = b"" if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **response.headers}
        status = f"{response.status} {HTTPStatus(response.status).phrase}"
        start_response(status, list(headers.items()))
        return [body]

    return serve


def _parse_request(environ: Node) -> BrokerRequest:
    raw = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    headers = {
        name.removeprefix("HTTP_").replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    operation, *ids = _route(environ["REQUEST_METHOD"], environ["PATH_INFO"].strip("/").split("/"))
    body = read_json(raw)
    return BrokerRequest(
        operation,
        ids[0] if ids else "",
        ids[1] if len(ids) > 1 else None,
        dict(parse_qsl(environ["QUERY_STRING"])),
        headers,
        raw,
        body if isinstance(body, dict) else {},
    )


def _route(method: str, path: list[str]) -> tuple[Any, ...]:
    match path:
        case ["v2", "catalog"]:
            return (Operation.CATALOG,)
        case ["v2", "service_instances", instance_id]:
            return _INSTANCES.get(method), instance_id
        case ["v2", "service_instances", instance_id, "last_operation"]:
            return Operation.LAST_OPERATION, instance_id
        case ["v2", "service_instances", instance_id, "service_bindings", binding_id]:
            return _BINDINGS.get(method), instance_id, binding_id
        case ["v2", "service_instances", instance_id, "service_bindings", binding_id, "last_operation"]:
            return Operation.LAST_BINDING_OPERATION, instance_id, binding_id
    return (None,)


class _QuietHandler(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - werkzeug's name
        pass


@contextmanager
def serving(broker: ReferenceBroker) -> Iterator[str]:
    """Serve a broker on a free port; yields its URL."""
    server = make_server("127.0.0.1", 0, app(broker), threaded=True, request_handler=_QuietHandler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
