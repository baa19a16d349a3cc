"""Servers that load the app once and fork after that."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from ..support.servers import KINDS
from .broker_app import LEASE
from .conftest import Range
from .deployments import Site, server_of
from .final_state import check_all_rests, is_at_rest
from .processes import Gone, Server, until_it_succeeded
from .requests import CAN_POLL, body, instance_path
from .wait import until

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at threads in /proc")


@pytest.fixture
def master(shooting_range: Range) -> Iterator[Server]:
    """gunicorn, with an app that was loaded before two workers were forked."""
    site = Site(KINDS["gthread"], shooting_range.url, shooting_range.folder)
    process = site.serve("--preload", "--graceful-timeout=5", workers=2, lease=LEASE)
    try:
        yield server_of(process)
        process.terminate()
        process.wait()
    finally:
        site.close()


def workers_of(master: Server) -> list[int]:
    children = Path(f"/proc/{master.pid}/task/{master.pid}/children")
    return [int(pid) for pid in children.read_text().split()]


def threads_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def connections(shooting_range: Range, pid: int) -> int:
    """To the store, of a process that nobody asked anything yet."""
    if shooting_range.url.startswith("sqlite"):
        opened = (os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink())
        return sum("broker.db" in target and not target.endswith(".key") for target in opened)
    engine = create_engine(shooting_range.url)
    with engine.connect() as connection:
        found: int = connection.scalar(
            text(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    engine.dispose()
    return found


def test_preloaded_master_starts_no_threads(shooting_range: Range, master: Server) -> None:
    """Threads and connections are created in each worker, never before the server forks."""
    workers = until(lambda: len(workers_of(master)) == 2 and workers_of(master), timeout=60)
    assert connections(shooting_range, master.pid) == 0
    before = {pid: threads_of(pid) for pid in workers}
    served: set[int] = set()
    operations: dict[str, str] = {}

    def order(number: int) -> None:
        path = instance_path(f"i{number}")
        answer = master.send("PUT", path, body("background", seconds=0.02), CAN_POLL)
        assert answer.status == 202, answer
        operations[path] = answer.body["operation"]
        served.add(int(master.send("GET", "/pid").body["text"]))

    for first in range(0, 160, 16):
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(order, range(first, first + 16)))
        if served == set(workers):
            break
    assert served == set(workers)
    for path, operation in operations.items():
        until_it_succeeded(master, path, operation)
    assert threads_of(master.pid) == 1
    assert all(threads_of(pid) > before[pid] for pid in workers)
    assert {run.begun.pid for run in shooting_range.events.runs()} <= set(workers)
    assert all(run.begun.attempt == 1 for run in shooting_range.events.runs())
    check_all_rests(shooting_range.url)


def test_killed_worker_operation_is_recovered(shooting_range: Range, master: Server) -> None:
    """The master forks a new worker, and a live worker runs the next attempt."""
    path = instance_path("i1")
    order = body("background", gate="open", attempts=1)
    until(lambda: len(workers_of(master)) == 2, timeout=60)
    operation = master.send("PUT", path, order, CAN_POLL).body["operation"]
    (first,) = until(lambda: shooting_range.events.runs("i1"))
    os.kill(first.begun.pid, signal.SIGKILL)

    def is_done() -> bool:
        try:
            answer = master.send("GET", f"{path}/last_operation", None, f"operation={operation}")
        except Gone:
            return False  # it was at the dead one
        return bool(answer.body["state"] == "succeeded")

    until(is_done, pause=0.05)
    assert [run.begun.attempt for run in shooting_range.events.runs("i1")] == [1, 2]
    until(lambda: is_at_rest(shooting_range.url))
