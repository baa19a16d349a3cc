"""A server that serves an app on a local port for the duration of a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socket import SHUT_RD, socket
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING, Any

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from ..broker import Broker, runtime_of
from .introspection import brokers_of, prefix_of

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_SERVED: dict[str, WSGIApplication] = {}
_DRAIN_TIMEOUT = 5.0
"""Seconds that the server waits for running requests when it shuts down."""


@contextmanager
def serve(app: WSGIApplication) -> Iterator[str]:
    """Serve an app on a free port of 127.0.0.1, with one thread for each connection.

    For example::

        with serve(app) as url:
            client = BrokerClient(url, username="platform", password="s3cret")

    At the end the port is closed and the background work of the app's brokers is stopped, as at the end of
    a process. Operations in progress continue when the brokers are served again.

    Args:
        app: The Flask app with the broker's blueprint, or another WSGI app.

    Yields:
        The broker's URL, with the prefix of its blueprint.

    Raises:
        TypeError: `app` is not a WSGI app.
    """
    if isinstance(app, Broker):
        raise TypeError(
            "serve takes a Flask app, not a Broker; register the blueprint in one:"
            " app.register_blueprint(broker.blueprint)"
        )
    if not callable(app):
        raise TypeError(f"serve takes a WSGI app, such as a Flask app, not a {type(app).__name__}")
    server = _Server(app)
    thread = Thread(target=server.serve_forever, args=(0.02,), name="brokerkit-testing", daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.port}{prefix_of(app)}"
    _SERVED[url] = app
    try:
        yield url
    finally:
        del _SERVED[url]
        server.shutdown()
        thread.join()
        server.server_close()
        server.close_connections()
        for broker in brokers_of(app):
            runtime = runtime_of(broker)
            if runtime is not None:
                runtime.stop()


def served_at(url: str) -> WSGIApplication | None:
    """Return the app that :func:`serve` serves at a URL; None if there is none."""
    return _SERVED.get(url.rstrip("/"))


class _Handler(WSGIRequestHandler):
    """A request handler that writes no access log."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


class _Server(ThreadedWSGIServer):
    """A server that closes its connections at the end, because clients keep them open between requests."""

    def __init__(self, app: WSGIApplication) -> None:
        super().__init__("127.0.0.1", 0, app, handler=_Handler)
        self._connections: list[tuple[socket, Thread]] = []

    def process_request(self, request: Any, client_address: Any) -> None:
        """Process a connection in a thread, and record both for :meth:`close_connections`."""
        name = "brokerkit-testing-connection"
        thread = Thread(
            target=self.process_request_thread, args=(request, client_address), name=name, daemon=True
        )
        self._connections = [
            (connection, worker) for connection, worker in self._connections if worker.is_alive()
        ]
        thread.start()
        self._connections.append((request, thread))

    def close_connections(self) -> None:
        """Read no further requests, and wait up to five seconds for running ones."""
        for connection, _ in self._connections:
            with suppress(OSError):  # the client has closed it already
                connection.shutdown(SHUT_RD)
        deadline = monotonic() + _DRAIN_TIMEOUT
        for _, thread in self._connections:
            thread.join(max(0.0, deadline - monotonic()))
