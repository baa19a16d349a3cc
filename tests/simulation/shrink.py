"""Shrinking: the smallest schedule that still violates the same invariant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from .run import Result, replay
from .schedule import At, Schedule


def shrink(
    failure: Result, run: Callable[[Schedule], Result] = replay, *, most_runs: int = 400
) -> tuple[Result, int]:
    """Shrink the schedule of a failure.

    Args:
        failure: The failed run.
        run: Replays a schedule. Defaults to :func:`tests.simulation.run.replay`.
        most_runs: The maximum number of replays. Defaults to 400.

    Returns:
        The failed run of the smallest schedule that was found, and the number of replays.
    """
    assert failure.violation is not None, "only failures are shrunk"
    best, runs = failure, 0
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for candidate in _candidates(best.schedule):
            if runs >= most_runs:
                return best, runs
            runs += 1
            result = run(candidate)
            if result.violation and result.violation.invariant == failure.violation.invariant:
                # Only the deviations that happened are kept.
                best, is_smaller = result, True
                break
    return best, runs


def _candidates(schedule: Schedule) -> Iterator[Schedule]:
    """Yield smaller schedules, those with the greatest reduction first."""
    deviations, requests = schedule.deviations, schedule.requests
    size = len(deviations)
    while size >= 1:
        for start in range(0, len(deviations), size):
            yield replace(schedule, deviations=deviations[:start] + deviations[start + size :])
        size //= 2
    for index in range(len(requests)):
        yield replace(schedule, requests=requests[:index] + requests[index + 1 :])
    if schedule.processes > 2:
        yield replace(schedule, processes=2)
    if schedule.backlog:
        yield replace(schedule, backlog=0)
    for index, request in enumerate(requests):
        simpler = []
        if request.long:
            simpler.append(replace(request, long=False))
        if request.size != 1:
            simpler.append(replace(request, size=1))
        if request.process != 0:
            simpler.append(replace(request, process=0))
        if request.binding != "a":
            simpler.append(replace(request, binding="a"))
        if not request.polls:
            simpler.append(replace(request, polls=True))
        if request.seconds != 1.0:
            simpler.append(replace(request, seconds=1.0))
        if request.at != round(request.at):
            simpler.append(replace(request, at=float(round(request.at))))
        for other in simpler:
            yield replace(schedule, requests=(*requests[:index], other, *requests[index + 1 :]))
    for index, at in enumerate(deviations):
        if at.action == "delay" and at.seconds:
            other_at: At = replace(at, seconds=0.0)
            yield replace(schedule, deviations=(*deviations[:index], other_at, *deviations[index + 1 :]))
