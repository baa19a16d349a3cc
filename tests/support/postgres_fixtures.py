"""PostgreSQL for tests, as fixtures.

Each process of pytest-xdist that asks for it has a server of its own: it is there within a second and takes
about 25 MB (and 50 for data), and nothing has to be agreed on between processes that may crash.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from .postgres import Server, fresh_database


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a server that forgets everything when the machine crashes, since no test crashes that."""
    with Server(under=_memory(), fsync="off") as server:
        yield server.url


@pytest.fixture
def postgres_url(postgres: str) -> Iterator[str]:
    """The URL of an empty database for one test."""
    with fresh_database(postgres) as url:
        yield url


def _memory() -> Path | None:
    """A folder in memory, if there is one with room: on some disks a new database takes a quarter second."""
    folder = Path("/dev/shm")
    return folder if folder.is_dir() and shutil.disk_usage(folder).free > 2 << 30 else None
