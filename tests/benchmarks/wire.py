"""Clients of HTTP/1.1 that cost little: many connections in one thread, or one request after the other."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .traffic import Question, Reply

_PLACES = {"HTTP_HOST": "", "CONTENT_TYPE": "Content-Type", "CONTENT_LENGTH": "Content-Length"}
"""Headers whose names in an environ say it otherwise than the rest; the host is our own affair."""


def as_bytes(question: Question, *, last: bool) -> bytes:
    """What goes over the wire.

    Args:
        question: What is asked.
        last: Whether the connection is to be closed after the answer.
    """
    environ = question.environ
    query = f"?{environ['QUERY_STRING']}" if environ["QUERY_STRING"] else ""
    lines = [f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}{query} HTTP/1.1", "Host: broker"]
    for key, value in environ.items():
        name = _PLACES.get(key, key[5:].replace("_", "-").title() if key.startswith("HTTP_") else "")
        if name:
            lines.append(f"{name}: {value}")
    lines.append(f"Connection: {'close' if last else 'keep-alive'}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + question.body


class Connection(asyncio.Protocol):
    """A connection, on which one request is answered after the other."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[Reply] | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    async def ask(self, request: bytes) -> Reply:
        """Send a request and wait for the answer.

        Raises:
            ConnectionError: There was none.
        """
        if self._transport.is_closing():
            raise ConnectionResetError("the server closed the connection")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        """More of an answer."""
        self._received += data
        reply = _reply(self._received)
        if reply is None or self._answer is None:
            return
        self._received = b""
        answer, self._answer = self._answer, None
        answer.set_result(reply)

    def connection_lost(self, error: Exception | None) -> None:
        """It is gone."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError("the server closed the connection"))

    def close(self) -> None:
        """End it."""
        self._transport.close()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Connection]:
    """A connection to a server on the loopback."""
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(Connection, "127.0.0.1", port)
    try:
        yield connection
    finally:
        connection.close()


def ask_once(port: int, request: bytes) -> Reply:
    """Ask a server on the loopback through a connection of its own.

    Raises:
        ConnectionError: There was no answer.
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
    """What was answered; None while it is not all there."""
    head, ends, body = received.partition(b"\r\n\r\n")
    if not ends:
        return None
    lines = head.split(b"\r\n")
    length = next(int(line[15:]) for line in lines if line.lower().startswith(b"content-length:"))
    return None if len(body) < length else Reply(int(lines[0].split()[1]), json.loads(body))
