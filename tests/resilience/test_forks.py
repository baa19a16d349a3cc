"""Tests of servers that load the app once and then fork workers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path

import pytest

from ..support.servers import KINDS
from ..support.wait import wait_until
from .broker_app import LEASE
from .conftest import BrokerProcesses
from .deployments import NEVER, Deployment, server_of
from .final_state import check_nothing_in_progress, is_idle
from .processes import NoResponse, Server, wait_until_succeeded
from .requests import CAN_POLL, instance_path, provision_body

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc for threads")


@contextmanager
def preloaded(processes: BrokerProcesses, lease: float) -> Iterator[Server]:
    """Serve with gunicorn, which loads the app before it forks two workers."""
    deployment = Deployment(KINDS["gthread"], processes.url, processes.folder)
    process = deployment.serve("--preload", "--graceful-timeout=5", workers=2, lease=lease)
    try:
        yield server_of(process)
        process.terminate()
        process.wait()
    finally:
        deployment.close()


def workers_of(master: Server) -> list[int]:
    children = Path(f"/proc/{master.pid}/task/{master.pid}/children")
    return [int(pid) for pid in children.read_text().split()]


def threads_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def connections(processes: BrokerProcesses, pid: int) -> int:
    """Return the number of connections of a server's parent process to the store."""
    opened = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()]
    if processes.url.startswith("sqlite"):
        return sum("broker.db" in target and not target.endswith(".key") for target in opened)
    listeners = 1
    return sum(target.startswith("socket:") for target in opened) - listeners


def test_preloaded_master_starts_no_threads(processes: BrokerProcesses) -> None:
    """Threads and connections are created in each worker, never before the server forks."""
    with preloaded(processes, lease=NEVER) as master:
        workers = wait_until(lambda: len(workers_of(master)) == 2 and workers_of(master), timeout=60)
        assert connections(processes, master.pid) == 0
        before = {pid: threads_of(pid) for pid in workers}
        served: set[int] = set()
        operations: dict[str, str] = {}
        numbers = count()

        def provision(number: int) -> None:
            path = instance_path(f"i{number}")
            response = master.send("PUT", path, provision_body("background", seconds=0.02), CAN_POLL)
            assert response.status == 202, response
            operations[path] = response.body["operation"]
            served.add(int(master.send("GET", "/pid").body["text"]))

        def both_served() -> bool:
            with ThreadPoolExecutor(16) as pool:
                list(pool.map(provision, islice(numbers, 16)))
            return served == set(workers)

        wait_until(both_served, timeout=60)
        for path, operation in operations.items():
            wait_until_succeeded(master, path, operation)
        assert threads_of(master.pid) == 1
        assert all(threads_of(pid) > before[pid] for pid in workers)
        assert {run.begin.pid for run in processes.events.runs()} <= set(workers)
        assert all(run.begin.attempt == 1 for run in processes.events.runs())
        check_nothing_in_progress(processes.url)


def test_killed_worker_operation_is_recovered(processes: BrokerProcesses) -> None:
    """The master forks a new worker, and a live worker runs the next attempt."""
    path = instance_path("i1")
    body = provision_body("background", gate="open", attempts=1)
    with preloaded(processes, lease=LEASE) as master:
        wait_until(lambda: len(workers_of(master)) == 2, timeout=60)
        operation = master.send("PUT", path, body, CAN_POLL).body["operation"]
        (first,) = wait_until(lambda: processes.events.runs("i1"))
        os.kill(first.begin.pid, signal.SIGKILL)

        def has_succeeded() -> bool:
            try:
                response = master.send("GET", f"{path}/last_operation", None, f"operation={operation}")
            except NoResponse:
                return False  # the killed worker had accepted the connection
            return bool(response.body["state"] == "succeeded")

        wait_until(has_succeeded, pause=0.05)
        assert [run.begin.attempt for run in processes.events.runs("i1")] == [1, 2]
        wait_until(lambda: is_idle(processes.url))
