"""Exploration: runs of many schedules, until a time or a number is reached."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from .generate import RandomChoices
from .processes import Fleet
from .run import Result, execute, replay
from .schedule import Schedule
from .shrink import shrink

FleetOf = Callable[[frozenset[str]], Fleet]


@dataclass
class Report:
    """The result of an exploration.

    Args:
        schedules: The number of schedules.
        choices: The number of points at which a deviation was possible.
        failures: The shrunk failures.
        seeds: The seeds of the failures.
    """

    schedules: int = 0
    choices: int = 0
    failures: list[Result] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        text = f"{self.schedules} schedules, {self.choices} choices, {len(self.failures)} failures"
        parts = [f"seed {seed}:\n{failure}" for seed, failure in zip(self.seeds, self.failures, strict=True)]
        return "\n\n".join([*parts, text])


def run_seed(seed: int, fleet_of: FleetOf | None = None, ignored: frozenset[str] = frozenset()) -> Result:
    """Run the schedule of a seed. Odd seeds are directed."""
    choices = RandomChoices(seed, is_directed=seed % 2 == 1)
    schedule = choices.schedule()
    fleet = fleet_of(frozenset(schedule.background)) if fleet_of else None
    return execute(schedule, choices.decide, fleet, ignored)


def explore(
    first: int,
    *,
    count: int | None = None,
    seconds: float | None = None,
    most_failures: int = 1,
    fleet_of: FleetOf | None = None,
    ignored: frozenset[str] = frozenset(),
) -> Report:
    """Run schedules by seed, and shrink those that fail.

    Args:
        first: The first seed.
        count: The maximum number of schedules. Defaults to no limit.
        seconds: The maximum duration. Defaults to no limit.
        most_failures: The number of failures after which to stop. Defaults to 1.
        fleet_of: Returns the brokers for a set of background operations. Defaults to those of the project.
        ignored: The invariants that are not checked. Defaults to none.
    """
    report, ends, seed = Report(), time.monotonic() + (seconds or 0.0), first

    def run(schedule: Schedule) -> Result:
        return replay(schedule, fleet_of(frozenset(schedule.background)) if fleet_of else None, ignored)

    while (count is None or report.schedules < count) and (seconds is None or time.monotonic() < ends):
        result = run_seed(seed, fleet_of, ignored)
        report.schedules += 1
        report.choices += result.choices
        if result.violation is not None:
            report.seeds.append(seed)
            report.failures.append(shrink(result, run)[0])
            if len(report.failures) >= most_failures:
                break
        seed += 1
    return report
