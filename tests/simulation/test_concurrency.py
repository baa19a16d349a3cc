"""Pairs of concurrent transitions on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from brokerkit.requests import Operation
from brokerkit.store.bind_params import instance_fence
from brokerkit.store.models import InstanceRecord, NewOperation

from .concurrency import ControlledStore, Laboratory
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


@pytest.mark.parametrize("name", ["bind: abandoned", "unbind: abandoned", "update: abandoned"])
def test_concurrent_transitions_do_not_deadlock(name: str, laboratory: Laboratory) -> None:
    """Two transitions that wait for any locked row in the middle of their work never wait for each other."""
    (situation,) = (case for case in SITUATIONS if case.name == name)
    anomalies = [str(anomaly) for anomaly in laboratory.anomalies(situation, is_thorough=True)]
    assert not anomalies, "\n".join(anomalies)


class UnmarkedStore(ControlledStore):
    """A store that does not mark an operation when another one claims to follow it."""

    def claim_instance(self, new: NewOperation, instance: InstanceRecord) -> bool:
        parameters = {**self._claim_params(new), **instance_fence(instance)}
        return self._apply(self._sql.claims.instance, parameters)


def test_missing_marks_are_found(postgres_url: str) -> None:
    """Without the mark of a followed operation, its release does not wake the operation that follows."""
    laboratory = Laboratory(postgres_url, UnmarkedStore)
    (situation,) = (case for case in SITUATIONS if case.name == "update: abandoned")
    pairs = {(anomaly.first, anomaly.second) for anomaly in laboratory.anomalies(situation)}
    laboratory.close()
    assert ("claim deprovision, as a follower", "release work") in pairs


def _situations(kind: str) -> list[Situation]:
    if kind == "rest":
        return AT_REST
    names = [f"{Operation(kind).value}: {phase}" for phase in QUICK_PHASES]
    return [situation for situation in SITUATIONS if situation.name in names]


def test_phases_exist() -> None:
    """The chosen phases are phases of the situations."""
    assert set(QUICK_PHASES) <= set(PHASES)
