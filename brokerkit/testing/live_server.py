"""Serves an app on a port of this machine while a test needs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socket import SHUT_RD, socket
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING, Any

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from ..broker import Broker
from .introspection import brokers_of, prefix_of

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_SERVED: dict[str, WSGIApplication] = {}
_PATIENCE = 5.0
"""For how many seconds the end waits for requests that are still being answered."""


@contextmanager
def serve(app: WSGIApplication) -> Iterator[str]:
    """Serve an app on a free port of 127.0.0.1, one thread for each connection.

    So::

        with serve(app) as url:
            client = BrokerClient(url, username="platform", password="s3cret")

    At the end the port is closed, and so is what the app's brokers do in the background, as when a process
    ends: what is in progress goes on when they are served again.

    Args:
        app: The Flask app that the broker's blueprint is attached to; or another WSGI app.

    Yields:
        The broker's URL, with the prefix that its blueprint has in the app.

    Raises:
        TypeError: It is no app.
    """
    if isinstance(app, Broker):
        raise TypeError(
            "serve takes the Flask app, not the Broker; make one: app.register_blueprint(broker.blueprint)"
        )
    if not callable(app):
        raise TypeError(f"serve takes a WSGI app, such as one of Flask's, not a {type(app).__name__}")
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
        server.hang_up()
        for broker in brokers_of(app):
            if broker._runtime is not None:
                broker._runtime.stop()


def served_at(url: str) -> WSGIApplication | None:
    """The app that is served here by :func:`serve`, if one is."""
    return _SERVED.get(url.rstrip("/"))


class _Handler(WSGIRequestHandler):
    """Leaves no line on stderr for each request."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


class _Server(ThreadedWSGIServer):
    """A server whose connections do not outlive it: clients keep theirs open for further requests."""

    def __init__(self, app: WSGIApplication) -> None:
        super().__init__("127.0.0.1", 0, app, handler=_Handler)
        self._connections: list[tuple[socket, Thread]] = []

    def process_request(self, request: Any, client_address: Any) -> None:
        """As ever, but the connection and its thread are known."""
        name = "brokerkit-testing-connection"
        thread = Thread(
            target=self.process_request_thread, args=(request, client_address), name=name, daemon=True
        )
        self._connections = [each for each in self._connections if each[1].is_alive()]
        thread.start()
        self._connections.append((request, thread))

    def hang_up(self) -> None:
        """Read no further request, and wait a while for those that are being answered."""
        for connection, _ in self._connections:
            with suppress(OSError):  # it is closed already
                connection.shutdown(SHUT_RD)
        until = monotonic() + _PATIENCE
        for _, thread in self._connections:
            thread.join(max(0.0, until - monotonic()))
