"""Whole lifecycles of real databases while processes are killed, and Redis and PostgreSQL restarted.

`BROKERKIT_SOAK_MINUTES=15`, as `make soak` sets it, makes it take so long.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from statistics import median

import pytest

from .customers import Customer
from .deployment import production
from .faults import Havoc
from .invariants import (
    check_databases,
    check_handlers,
    check_logs,
    check_operations,
    give_everything_back,
    taken_over,
)

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")

SECONDS = 60 * float(os.environ.get("BROKERKIT_SOAK_MINUTES", "1"))
CUSTOMERS = 16


@pytest.mark.rule("R-DEL-5")
def test_killed_processes_lose_no_operations(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """While processes, Redis and PostgreSQL are killed, every operation ends and no database is lost.

    Handlers of one instance never overlap, and synchronous handlers run once per request.
    """
    seed = time.time_ns() % 1000
    with production(tmp_path) as site:
        before = site.cluster.names()
        havoc = Havoc(site, seed)
        customers = [Customer(1000 * seed + number, site.servers) for number in range(CUSTOMERS)]
        with ThreadPoolExecutor(CUSTOMERS + 1) as pool:
            wreaking = pool.submit(havoc.wreak)
            living = [pool.submit(customer.live_until, havoc.stopped.is_set) for customer in customers]
            wait([wreaking, *living], timeout=SECONDS, return_when=FIRST_EXCEPTION)
            havoc.stopped.set()
            site.calm_down()
            wait(living)
            havoc.settled.set()
            for each in (wreaking, *living):
                each.result()
        check_operations(site, customers)
        killed = {event.pid for event in site.events.of("killed")}
        check_handlers(site.events.runs(), killed)
        check_databases(site, customers)
        give_everything_back(site, customers, before)
        runs = site.events.runs()
        check_handlers(runs, killed)
        check_logs(site)
    delays = sorted(taken_over(runs))
    report = {
        "seed": seed,
        "lifecycles": dict(sum((customer.lives for customer in customers), Counter[str]())),
        "operations_accepted": sum(len(customer.accepted) for customer in customers),
        "handlers_run": len(runs),
        "interrupted": sum(not run.through for run in runs),
        "done_to_it": dict(havoc.done),
        "taken_over": len(delays),
        "taken_over_after_median": round(median(delays), 1) if delays else None,
        "taken_over_after_most": round(delays[-1], 1) if delays else None,
    }
    for name, value in report.items():
        record_property(name, value)
        sys.stdout.write(f"{name.replace('_', ' ')}: {value}\n")
    assert sum(not run.through for run in runs) >= 3, "it was hit"
