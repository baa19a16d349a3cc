"""Fixtures for tests of `samples/postgres`: a prepared server and database names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from samples.postgres.databases import Databases, Limits

from ..support.postgres_fixtures import memory_folder
from .cluster import PASSWORD, SAMPLE, TEMPLATE, Cluster, Row, prepared

__all__ = ["PASSWORD", "SAMPLE", "TEMPLATE", "Cluster", "Row"]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Start one server for all tests. The tests use different database names."""
    with prepared(under=memory_folder(), fsync="off", log_statement="all") as cluster:
        yield cluster


@pytest.fixture
def databases(cluster: Cluster) -> Databases:
    return Databases(cluster.url)


LIMITS = Limits(connections=5, statement_timeout="30s", databases=100)


@pytest.fixture
def new_name(databases: Databases) -> Iterator[Callable[[], str]]:
    """Return a factory of database names. The databases are dropped after the test."""
    names: list[str] = []

    def new() -> str:
        names.append(f"db_{uuid4().hex}")
        return names[-1]

    yield new
    for name in names:
        databases.drop(name)


@pytest.fixture
def name(new_name: Callable[[], str]) -> str:
    """Return the name of a database."""
    return new_name()
