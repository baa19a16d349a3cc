"""Fixed seeds of the simulation, and its own properties."""

from __future__ import annotations

import pytest

from .explore import explore, run_seed
from .run import replay
from .schedule import At, Request, Schedule

BLOCKS = 8
SEEDS = 500
QUICK_SEEDS = 15


@pytest.mark.parametrize("block", range(BLOCKS))
def test_schedules_violate_no_invariant(block: int, is_quick: bool) -> None:
    """Random and directed schedules with faults keep all invariants."""
    report = explore(block * SEEDS, count=QUICK_SEEDS if is_quick else SEEDS)
    assert not report.failures, str(report)


@pytest.mark.parametrize("seed", range(100, 112))
def test_runs_are_deterministic(seed: int) -> None:
    """A seed, and the deviations of its run, lead to the same events again."""
    first = run_seed(seed)
    assert run_seed(seed).trace == first.trace
    assert replay(first.schedule).trace == first.trace


def test_impossible_deviations_have_no_effect() -> None:
    """Deviations at points that no actor reaches are skipped, so that any part of a schedule replays."""
    schedule = Schedule(
        (Request("r1", "provision"),),
        (At("r9", 1, "kill"), At("r1", 99, "delay", 5.0), At("r1", 3, "lose")),
    )
    result = replay(schedule)
    assert result.violation is None
    assert result.schedule.deviations == ()


def test_schedules_are_literals() -> None:
    """The text of a schedule is the Python expression of the same schedule."""
    schedule = run_seed(11).schedule
    names = {"Schedule": Schedule, "Request": Request, "At": At}
    assert eval(repr(schedule), names) == schedule
