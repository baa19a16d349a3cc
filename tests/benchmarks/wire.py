"""Cheap HTTP/1.1 clients: many connections in one thread, or one request after the other."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .traffic import Exchange, Reply

_PLACES = {"HTTP_HOST": "", "CONTENT_TYPE": "Content-Type", "CONTENT_LENGTH": "Content-Length"}
"""Headers with irregular names in an environ. The client itself sets the host."""


def as_bytes(exchange: Exchange, *, last: bool) -> bytes:
    """Return the bytes of a request.

    Args:
        exchange: The request.
        last: Whether the server should close the connection after the response.
    """
    environ = exchange.environ
    query = f"?{environ['QUERY_STRING']}" if environ["QUERY_STRING"] else ""
    lines = [f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}{query} HTTP/1.1", "Host: broker"]
    for key, value in environ.items():
        name = _PLACES.get(key, key[5:].replace("_", "-").title() if key.startswith("HTTP_") else "")
        if name:
            lines.append(f"{name}: {value}")
    lines.append(f"Connection: {'close' if last else 'keep-alive'}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + exchange.body


class Connection(asyncio.Protocol):
    """A connection for one request after the other."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[Reply] | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connect."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    async def send(self, request: bytes) -> Reply:
        """Send a request and wait for the response.

        Raises:
            ConnectionError: The server closed the connection.
        """
        if self._transport.is_closing():
            raise ConnectionResetError("the server closed the connection")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        """Receive a part of a response."""
        self._received += data
        reply = _reply(self._received)
        if reply is None or self._answer is None:
            return
        self._received = b""
        answer, self._answer = self._answer, None
        answer.set_result(reply)

    def connection_lost(self, error: Exception | None) -> None:
        """Record the end of the connection."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError("the server closed the connection"))

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Connection]:
    """Open a connection to a server on the loopback."""
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(Connection, "127.0.0.1", port)
    try:
        yield connection
    finally:
        connection.close()


def ask_once(port: int, request: bytes) -> Reply:
    """Send a request to a server on the loopback on a new connection.

    Raises:
        ConnectionError: The server closed the connection.
    """
    received = b""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(request)
        while (reply := _reply(received)) is None:
            more = connection.recv(65536)
            if not more:
                raise ConnectionResetError("the server closed the connection")
            received += more
    return reply


def _reply(received: bytes) -> Reply | None:
    """Return the response, or None while it is incomplete."""
    head, ends, body = received.partition(b"\r\n\r\n")
    if not ends:
        return None
    lines = head.split(b"\r\n")
    length = next(int(line[15:]) for line in lines if line.lower().startswith(b"content-length:"))
    return None if len(body) < length else Reply(int(lines[0].split()[1]), json.loads(body))
