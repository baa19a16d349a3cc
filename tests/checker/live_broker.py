"""Serves the right broker, and those made of it, on the network."""

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

from .messages import Asked, Node, read_json
from .reference_broker import RightBroker

_INSTANCES = {
    "GET": Operation.GET_INSTANCE,
    "PUT": Operation.PROVISION,
    "PATCH": Operation.UPDATE,
    "DELETE": Operation.DEPROVISION,
}
_BINDINGS = {"GET": Operation.GET_BINDING, "PUT": Operation.BIND, "DELETE": Operation.UNBIND}


def app(broker: RightBroker) -> Callable[[Node, Any], list[bytes]]:
    """Its WSGI application."""

    def serve(environ: Node, start_response: Any) -> list[bytes]:
        answer = broker.answer(_asked(environ))
        if answer.hangs_up:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        body = answer.body
        if not isinstance(body, bytes):
            body = b"" if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **answer.headers}
        status = f"{answer.status} {HTTPStatus(answer.status).phrase}"
        start_response(status, list(headers.items()))
        return [body]

    return serve


def _asked(environ: Node) -> Asked:
    raw = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    headers = {
        name.removeprefix("HTTP_").replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    operation, *ids = _routed(environ["REQUEST_METHOD"], environ["PATH_INFO"].strip("/").split("/"))
    body = read_json(raw)
    return Asked(
        operation,
        ids[0] if ids else "",
        ids[1] if len(ids) > 1 else None,
        dict(parse_qsl(environ["QUERY_STRING"])),
        headers,
        raw,
        body if isinstance(body, dict) else {},
    )


def _routed(method: str, path: list[str]) -> tuple[Any, ...]:
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


class _Silent(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - werkzeug's name
        pass


@contextmanager
def serving(broker: RightBroker) -> Iterator[str]:
    """Serve a broker on a free port; gives its URL."""
    server = make_server("127.0.0.1", 0, app(broker), threaded=True, request_handler=_Silent)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
