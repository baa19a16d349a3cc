"""Pairs of concurrent transitions on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from brokerkit.requests import Operation

from .concurrency import Laboratory
from .transitions import PHASES, SITUATIONS, Situation

QUICK_PHASES = ("inline", "queued", "running", "accepted", "failed", "abandoned", "abandoned, followed")
"""The phases of a test. `python -m tests.simulation --database postgresql` runs all of them."""

AT_REST = [situation for situation in SITUATIONS if ":" not in situation.name]


@pytest.fixture
def laboratory(postgres_url: str) -> Iterator[Laboratory]:
    opened = Laboratory(postgres_url)
    yield opened
    opened.close()


@pytest.mark.parametrize("kind", ["rest", "provision", "update", "deprovision", "bind", "unbind"])
def test_concurrent_transitions_are_serial(kind: str, laboratory: Laboratory) -> None:
    """Two concurrent transitions lead to a result of a serial order, or one of them is refused."""
    anomalies = [
        str(anomaly) for situation in _situations(kind) for anomaly in laboratory.anomalies(situation)
    ]
    assert not anomalies, "\n".join(anomalies)
    assert laboratory.runs > 100


def _situations(kind: str) -> list[Situation]:
    if kind == "rest":
        return AT_REST
    names = [f"{Operation(kind).value}: {phase}" for phase in QUICK_PHASES]
    return [situation for situation in SITUATIONS if situation.name in names]


def test_phases_exist() -> None:
    """The chosen phases are phases of the situations."""
    assert set(QUICK_PHASES) <= set(PHASES)
