"""Tests of `kill -9` at every point of a lifecycle, and of the recovery."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from ..support.postgres import fresh_database
from ..support.wait import wait_until
from .conftest import ROUNDS, BrokerProcesses
from .events import overlapping_runs
from .final_state import check_everything_deleted, is_idle, operations
from .processes import ProcessPool, activate, wait_until_succeeded
from .requests import CAN_POLL, instance_path, provision_body
from .retrying_platform import RetryingPlatform

CONCURRENT_LIFECYCLES = 6
"""Interrupted lifecycles mostly wait for a lease to expire."""

MAX_POINTS = 400
"""More kill points than any lifecycle has."""


class EnvironmentFactory:
    """A factory of processes, each time with an empty store.

    Args:
        number: The number of the kind of store.
        make: Creates the processes in a folder with the given name.
    """

    def __init__(self, number: int, make: Callable[[str], BrokerProcesses]) -> None:
        self.number, self.make = number, make


@pytest.fixture(params=["sqlite", "postgresql"])
def factory(
    request: pytest.FixtureRequest, process_pool: ProcessPool, tmp_path: Path
) -> Iterator[EnvironmentFactory]:
    server_url = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    stack = ExitStack()

    def make(name: str) -> BrokerProcesses:
        folder = tmp_path / name
        folder.mkdir()
        url = f"sqlite:///{folder / 'broker.db'}"
        if server_url is not None:
            url = stack.enter_context(fresh_database(server_url))
        created = BrokerProcesses(process_pool, url, folder)
        stack.callback(created.close)
        return created

    with stack:
        yield EnvironmentFactory(0 if server_url is None else 1, make)


LIFECYCLES = {
    "synchronous": ("synchronous", ""),
    "synchronous, polling": ("synchronous", CAN_POLL),
    "polled": ("polled", CAN_POLL),
    "background": ("background", CAN_POLL),
}


@pytest.mark.rule("R-PROV-4", "R-DEL-3", "R-DEL-5")
@pytest.mark.parametrize("resends", [True, False], ids=["resends", "deletes"])
@pytest.mark.parametrize("lifecycle", LIFECYCLES)
def test_lifecycle_completes_after_kill_anywhere(
    factory: EnvironmentFactory,
    lifecycle: str,
    resends: bool,
    record_property: Callable[[str, object], None],
) -> None:
    """The process is killed at each point of a lifecycle.

    The platform resends or deletes with the next process.
    """
    plan, query = LIFECYCLES[lifecycle]
    # The two stores share the points; with more rounds, each store gets all of them.
    kill_points = range(MAX_POINTS) if ROUNDS > 1 else range(factory.number, MAX_POINTS, 2)

    def is_killed(number: int) -> bool:
        processes = factory.make(f"{number}")
        first = processes.serve(processes.settings(kill_at=number), threads=2)
        platform = RetryingPlatform(
            plan, first, lambda: processes.serve(threads=2), query=query, resends=resends
        )
        platform.run_lifecycle()
        check_lifecycle(processes, platform, plan)
        died = bool(processes.events.of("killed"))
        processes.close()
        return died

    killed = 0
    with ThreadPoolExecutor(CONCURRENT_LIFECYCLES) as pool:
        for batch in _batches(kill_points):
            died = list(pool.map(is_killed, batch))
            killed += sum(died)
            if not all(died):
                break
    record_property("kills", killed)
    assert killed >= 5


def _batches(kill_points: range) -> Iterator[range]:
    for first in range(0, len(kill_points), CONCURRENT_LIFECYCLES):
        yield kill_points[first : first + CONCURRENT_LIFECYCLES]
    raise AssertionError("no lifecycle ran without a kill")


def check_lifecycle(processes: BrokerProcesses, platform: RetryingPlatform, plan: str) -> None:
    """Check that nothing was lost, and only interrupted attempts ran twice."""
    events = processes.events
    wait_until(lambda: is_idle(processes.url), pause=0.05)
    check_everything_deleted(processes.url)
    stored = operations(processes.url)
    assert set(platform.accepted) <= stored.keys()
    runs = events.runs()
    assert overlapping_runs(runs) == []
    calls = Counter((run.begin.identity, run.begin.name) for run in runs)
    assert all(times <= (2 if plan == "background" else 1) for times in calls.values())
    for run in runs:
        assert run.completed or run.begin.pid == _killed_pid(processes), "incomplete handler"
    if not platform.was_interrupted:
        assert [run.begin.name for run in runs] == platform.handlers
        assert all(row["state"] == "succeeded" for row in stored.values())


def _killed_pid(processes: BrokerProcesses) -> int | None:
    killed = processes.events.of("killed")
    return killed[0].pid if killed else None


@pytest.mark.parametrize("plan", ["background", "function"])
def test_surviving_process_recovers_killed_operation(
    processes: BrokerProcesses, plan: str, record_property: Callable[[str, object], None]
) -> None:
    """After `kill -9`, a live process recovers the operation exactly once."""
    survivor = activate(processes.serve())
    delays = []
    for number in range(2 * ROUNDS):
        instance = f"i{number}"
        victim = activate(processes.serve())
        body = provision_body(plan, gate="open", attempts=1)
        path = instance_path(instance)
        operation = victim.send("PUT", path, body, CAN_POLL).body["operation"]
        (first,) = processes.events.wait_for_runs(instance, 1)
        if first.begin.pid == survivor.pid:  # it claimed the operation before the process that accepted it
            victim, survivor = survivor, victim
        victim.kill()
        killed_at = time.monotonic()
        _, second = processes.events.wait_for_runs(instance, 2)
        delays.append(second.begin.at - killed_at)
        assert (second.begin.pid, second.begin.attempt) == (survivor.pid, 2)
        wait_until_succeeded(survivor, path, operation)
        assert survivor.send("PUT", path, body, CAN_POLL).status == 200
        assert len(processes.events.runs(instance)) == 2
        assert len(processes.events.of("signal", "provisioned", instance=instance)) == 1
    record_property("recovery_delays", [round(delay, 2) for delay in delays])
