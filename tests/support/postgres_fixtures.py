"""PostgreSQL fixtures.

Each pytest-xdist worker starts its own server when a test needs one. It starts within a second and uses about
25 MB of memory and 50 MB of disk space. Workers that may crash need not agree on anything.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from .postgres import Server, fresh_database


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a server without `fsync`: no test crashes the machine."""
    with Server(under=memory_folder(), fsync="off") as server:
        yield server.url


@pytest.fixture
def postgres_url(postgres: str) -> Iterator[str]:
    """The URL of an empty database for one test."""
    with fresh_database(postgres) as url:
        yield url


def memory_folder() -> Path | None:
    """Return a folder in memory, if there is one with 2 GB free.

    On some disks, creating a database takes a quarter of a second.
    """
    folder = Path("/dev/shm")
    return folder if folder.is_dir() and shutil.disk_usage(folder).free > 2 << 30 else None
