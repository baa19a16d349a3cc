"""Exhaustive exploration: every pair of requests in every state, with one preemption at each point.

A case begins with requests that bring the instance or binding into a status of the rules table. Then two (or
three) requests begin at the same time. One run without preemptions finds the points of the first request.
Further runs let it wait at each of these points until the others have run as far as they can.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations, product
from random import Random
from time import monotonic

from brokerkit.lifecycle.policy import RULES, ResourceStatus
from brokerkit.requests import Operation

from .actors import Actor
from .explore import Report
from .run import Result, execute, replay
from .schedule import CHANGES, At, Request, Schedule
from .shrink import shrink

WAYS = ("synchronous", "accepted", "background")
"""The three ways to work: in the request, outside of the broker, and in a background handler."""

_START = 20.0
_LONG = 40.0
_INSTANCE_CHANGES = ("provision", "update", "deprovision")
_BINDING_CHANGES = ("bind", "unbind")


@dataclass(frozen=True)
class Case:
    """A case: the status before the requests, the requests and the way to work."""

    status: ResourceStatus
    kinds: tuple[str, ...]
    way: str

    def __str__(self) -> str:
        return f"{self.status.value}, {', '.join(self.kinds)}, {self.way}"


def cases(size: int = 2) -> Iterator[Case]:
    """Yield all cases with a number of requests. Each status is that of a row of the rules table."""
    for way in WAYS:
        for first in CHANGES:
            for status in RULES[Operation(first)]:
                for others in product(CHANGES, repeat=size - 1):
                    yield Case(status, (first, *others), way)


def schedule_of(case: Case) -> Schedule:
    """Return the schedule of a case, without preemptions."""
    before = _preparation(case.status, of_binding=case.kinds[0] in _BINDING_CHANGES)
    is_long = case.way == "accepted"
    first = [
        replace(request, name=f"before{number}", long=is_long and not _fails(request))
        for number, request in enumerate(before, 1)
    ]
    # The first request and the others have different processes.
    then = [
        Request(f"r{number}", kind, _START, process=(number + 1) % 2, long=is_long, size=2)
        for number, kind in enumerate(case.kinds, 1)
    ]
    deviations = tuple(
        At(f"{request.name}@p0" if case.way == "background" else request.name, point, "error")
        for request in first
        if _fails(request)
        for point in range(1, 20)
    )
    background = CHANGES if case.way == "background" else ()
    return Schedule((*first, *then), deviations, background)


def _fails(request: Request) -> bool:
    return request.size == _FAILING


_FAILING = 9


def _preparation(status: ResourceStatus, *, of_binding: bool) -> list[Request]:
    """Return the requests that bring an instance, or a binding of a ready instance, into a status."""
    ready = Request("", "provision", 0.0, seconds=0.5)
    if not of_binding:
        return {
            ResourceStatus.ABSENT: [],
            ResourceStatus.CREATING: [replace(ready, at=_START - 5, seconds=_LONG)],
            ResourceStatus.READY: [ready],
            ResourceStatus.FAILED: [replace(ready, size=_FAILING)],
            ResourceStatus.UPDATING: [ready, Request("", "update", _START - 5, seconds=_LONG, size=3)],
            ResourceStatus.DELETING: [ready, Request("", "deprovision", _START - 5, seconds=_LONG)],
        }[status]
    bound = Request("", "bind", 8.0, seconds=0.5)
    return {
        ResourceStatus.ABSENT: [ready],
        ResourceStatus.CREATING: [ready, replace(bound, at=_START - 5, seconds=_LONG)],
        ResourceStatus.READY: [ready, bound],
        ResourceStatus.FAILED: [ready, replace(bound, size=_FAILING)],
        ResourceStatus.UPDATING: [ready, Request("", "update", _START - 5, seconds=_LONG, size=3)],
        ResourceStatus.DELETING: [ready, bound, Request("", "unbind", _START - 5, seconds=_LONG)],
    }[status]


def runs(case: Case, preemptions: int = 1) -> Iterator[Result]:
    """Run a case without preemptions, and with each choice of a number of preemptions."""
    schedule = schedule_of(case)
    points: list[tuple[str, int]] = []
    fixed = {(at.actor, at.point): at for at in schedule.deviations}

    def observe(actor: Actor, kind: str) -> At | None:
        if actor.request is not None and actor.request.name.startswith("r") and actor.name != "platform":
            points.append((actor.name, actor.points))
        at = fixed.get((actor.name, actor.points))
        return at if at is None or kind == "step" else None

    yield execute(schedule, observe)
    reached = sorted(set(points))
    for number in range(1, preemptions + 1):
        for chosen in combinations(reached, number):
            delays = tuple(At(actor, point, "delay") for actor, point in chosen)
            yield replay(replace(schedule, deviations=(*schedule.deviations, *delays)))


def explore_cases(seed: int, *, size: int = 3, preemptions: int = 2, seconds: float) -> Report:
    """Run cases in an order that a seed determines, until a time is over, and shrink the failures.

    Args:
        seed: The seed.
        size: The number of concurrent requests. Defaults to 3.
        preemptions: The maximum number of preemptions. Defaults to 2.
        seconds: The maximum duration.
    """
    report, ends = Report(), monotonic() + seconds
    chosen = list(cases(size))
    Random(seed).shuffle(chosen)
    for case in chosen:
        for result in runs(case, preemptions):
            report.schedules += 1
            report.choices += result.choices
            if result.violation is not None:
                report.seeds.append(seed)
                report.failures.append(shrink(result)[0])
                return report
            if monotonic() > ends:
                return report
    return report
