"""Redis fixtures: each pytest-xdist worker starts its own server when a test needs one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .redis import Server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Server]:
    """A server shared by tests. A test that stops it starts it again, and a test that fills it empties it."""
    with Server() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: Server) -> str:
    """The URL of an empty Redis for one test."""
    with redis_server.client() as client:
        client.flushall()
    return redis_server.url
