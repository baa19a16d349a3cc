"""Redis for tests, as fixtures: a server for each process of pytest-xdist that asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .redis import Server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Server]:
    """A server that tests share; who stops it starts it again, and who fills it empties it."""
    with Server() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: Server) -> str:
    """The URL of an empty Redis for one test."""
    with redis_server.client() as client:
        client.flushall()
    return redis_server.url
