"""Safeguards that are switched off: the simulation finds the fault, and shrinks the schedule."""

from __future__ import annotations

from functools import partial

import pytest

from .explore import explore
from .mutants import BlindStore, ConfusedStore, ForgetfulStore, ImpatientStore, mutant_fleet
from .processes import SimulatedStore
from .run import replay
from .schedule import At, Request, Schedule
from .test_regressions import REMADE_BINDING

BEHIND_BACKLOG = Schedule(
    requests=(Request("r1", "provision", seconds=5.0),),
    deviations=(At("r1@p0", 5, "Retry", 10.0),),
    background=("provision", "update", "deprovision", "bind", "unbind"),
    backlog=520,
)


@pytest.mark.parametrize(
    ("store", "invariant"),
    [(ForgetfulStore, "overlap"), (ImpatientStore, "overlap")],
)
def test_faults_are_found(store: type[SimulatedStore], invariant: str, is_quick: bool) -> None:
    """Exploration finds a switched off safeguard, and the shrunk schedule violates the same invariant."""
    if is_quick and store is not ForgetfulStore:
        pytest.skip("the exploration takes seconds")
    others = frozenset({"busy", "token"})
    report = explore(1, count=6000, fleet_of=partial(mutant_fleet, store), ignored=others)
    (failure,) = report.failures
    assert failure.violation is not None
    assert failure.violation.invariant == invariant
    assert len(failure.schedule.requests) <= 4
    assert len(failure.schedule.deviations) <= 4
    assert replay(failure.schedule).violation is None, "the safeguard prevents it"


@pytest.mark.parametrize(
    ("store", "schedule", "invariant"),
    [(ConfusedStore, REMADE_BINDING, "token"), (BlindStore, BEHIND_BACKLOG, "stuck")],
)
def test_faults_are_seen(
    store: type[SimulatedStore], schedule: Schedule, invariant: str, is_quick: bool
) -> None:
    """A known schedule violates an invariant without its safeguard, and none with it."""
    if is_quick and schedule.backlog:
        pytest.skip("a run with a backlog takes seconds")
    fleet = mutant_fleet(store, frozenset(schedule.background))
    violation = replay(schedule, fleet).violation
    assert violation is not None
    assert violation.invariant == invariant
    assert replay(schedule).violation is None
