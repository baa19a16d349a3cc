"""`kill -9` at every point where it could matter, and what becomes of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from ..support.postgres import fresh_database
from .broker_app import LEASE
from .conftest import ROUNDS, Range
from .events import at_once
from .final_state import check_nothing_is_left, is_at_rest, operations
from .processes import Nursery, started, until_it_succeeded
from .requests import CAN_POLL, body, instance_path
from .retrying_platform import Insisting
from .wait import until

SIDE_BY_SIDE = 6
"""How many broken lives are led at a time; they mostly wait for a lease to end."""


MANY = 400
"""More points than any life has."""


class NewRange:
    """Makes ranges on stores of their own, as every point is tried on an empty one.

    Args:
        number: Of the kind of store.
        make: Makes one, with a name.
    """

    def __init__(self, number: int, make: Callable[[str], Range]) -> None:
        self.number, self.make = number, make


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh_range(request: pytest.FixtureRequest, nursery: Nursery, tmp_path: Path) -> Iterator[NewRange]:
    server_url = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    stack = ExitStack()

    def make(name: str) -> Range:
        folder = tmp_path / name
        folder.mkdir()
        url = f"sqlite:///{folder / 'broker.db'}"
        if server_url is not None:
            url = stack.enter_context(fresh_database(server_url))
        made = Range(nursery, url, folder)
        stack.callback(made.close)
        return made

    with stack:
        yield NewRange(0 if server_url is None else 1, make)


LIVES = {
    "at-once": ("at-once", ""),
    "at-once, who can poll": ("at-once", CAN_POLL),
    "polled": ("polled", CAN_POLL),
    "background": ("background", CAN_POLL),
}


@pytest.mark.rule("R-PROV-4", "R-DEL-3", "R-DEL-5")
@pytest.mark.parametrize("resends", [True, False], ids=["resends", "deletes"])
@pytest.mark.parametrize("life", LIVES)
def test_lifecycle_completes_after_kill_anywhere(
    fresh_range: NewRange,
    life: str,
    resends: bool,
    record_property: Callable[[str, object], None],
) -> None:
    """The process is killed at each point of a lifecycle.

    The platform resends or deletes with the next process.
    """
    plan, query = LIVES[life]
    # Between the two stores every point is tried; with more time, on each of them.
    points = range(MANY) if ROUNDS > 1 else range(fresh_range.number, MANY, 2)

    def is_killed(number: int) -> bool:
        shooting_range = fresh_range.make(f"{number}")
        first = shooting_range.serve(shooting_range.setting(kill_at=number), threads=2)
        platform = Insisting(
            plan, first, lambda: shooting_range.serve(threads=2), query=query, resends=resends
        )
        platform.live()
        check_life(shooting_range, platform, plan)
        died = bool(shooting_range.events.of("killed"))
        shooting_range.close()
        return died

    killed = 0
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for batch in _batches(points):
            died = list(pool.map(is_killed, batch))
            killed += sum(died)
            if not all(died):
                break
    record_property("kills", killed)
    assert killed >= 5


def _batches(points: range) -> Iterator[range]:
    for first in range(0, len(points), SIDE_BY_SIDE):
        yield points[first : first + SIDE_BY_SIDE]
    raise AssertionError("no life was led to its end")


def check_life(shooting_range: Range, platform: Insisting, plan: str) -> None:
    """Nothing was lost, and nothing done twice but what an interrupted attempt did."""
    events = shooting_range.events
    until(lambda: is_at_rest(shooting_range.url), pause=0.05)
    check_nothing_is_left(shooting_range.url)
    known = operations(shooting_range.url)
    assert set(platform.accepted) <= known.keys()
    runs = events.runs()
    assert at_once(runs) == []
    asked = Counter((run.begun.identity, run.begun.name) for run in runs)
    assert all(times <= (2 if plan == "background" else 1) for times in asked.values())
    for run in runs:
        assert run.through or run.begun.pid == _dead(shooting_range), "only the dead leave it undone"
    if not platform.was_interrupted:
        assert [run.begun.name for run in runs] == platform.orders
        assert all(row["state"] == "succeeded" for row in known.values())


def _dead(shooting_range: Range) -> int | None:
    killed = shooting_range.events.of("killed")
    return killed[0].pid if killed else None


@pytest.mark.parametrize("plan", ["background", "single"])
def test_surviving_process_recovers_killed_operation(
    shooting_range: Range, plan: str, record_property: Callable[[str, object], None]
) -> None:
    """After `kill -9` a live process recovers the operation once, within about one lease."""
    survivor = started(shooting_range.serve())
    delays = []
    for number in range(2 * ROUNDS):
        instance = f"i{number}"
        victim = started(shooting_range.serve())
        order = body(plan, gate="open", attempts=1)
        path = instance_path(instance)
        operation = victim.send("PUT", path, order, CAN_POLL).body["operation"]
        (first,) = shooting_range.events.wait_for_runs(instance, 1)
        if first.begun.pid == survivor.pid:  # which found it before its own process came to it
            victim, survivor = survivor, victim
        victim.kill()
        killed_at = time.monotonic()
        _, second = shooting_range.events.wait_for_runs(instance, 2)
        delays.append(second.begun.at - killed_at)
        assert (second.begun.pid, second.begun.attempt) == (survivor.pid, 2)
        until_it_succeeded(survivor, path, operation)
        assert survivor.send("PUT", path, order, CAN_POLL).status == 200
        assert len(shooting_range.events.runs(instance)) == 2
        assert len(shooting_range.events.of("signal", "provisioned", instance=instance)) == 1
    record_property("taken_over_after", [round(delay, 2) for delay in delays])
    assert max(delays) < 10 * LEASE
