"""Fixtures of the simulation's tests."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from .run import silence


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Switch off the log of brokerkit, which would describe each of the many faults."""
    logger = logging.getLogger("brokerkit")
    level = logger.level
    silence()
    yield
    logger.setLevel(level)


@pytest.fixture
def is_quick(request: pytest.FixtureRequest) -> bool:
    """Whether this is `make quick`, which must take only seconds."""
    return bool(request.config.getoption("--hypothesis-profile", default=None) == "quick")
