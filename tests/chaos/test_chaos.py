"""Tests of lifecycles of real databases while processes, Redis and PostgreSQL are killed.

The environment variable `BROKERKIT_SOAK_MINUTES` sets the duration. `make soak` sets 15 minutes.
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
from .deployment import running_deployment
from .faults import FaultInjector
from .invariants import (
    check_databases,
    check_handlers,
    check_logs,
    check_operations,
    delete_everything,
    recovery_delays,
)

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc for processes")

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
    with running_deployment(tmp_path) as deployment:
        before = deployment.cluster.names()
        injector = FaultInjector(deployment, seed)
        customers = [Customer(1000 * seed + number, deployment.servers) for number in range(CUSTOMERS)]
        with ThreadPoolExecutor(CUSTOMERS + 1) as pool:
            injecting = pool.submit(injector.run)
            customer_runs = [
                pool.submit(customer.run_until, injector.stopped.is_set) for customer in customers
            ]
            wait([injecting, *customer_runs], timeout=SECONDS, return_when=FIRST_EXCEPTION)
            injector.stopped.set()
            deployment.make_reliable()
            wait(customer_runs)
            injector.settled.set()
            for future in (injecting, *customer_runs):
                future.result()
        check_operations(deployment, customers)
        killed = {event.pid for event in deployment.events.of("killed")}
        check_handlers(deployment.events.runs(), killed)
        check_databases(deployment, customers)
        delete_everything(deployment, customers, before)
        runs = deployment.events.runs()
        check_handlers(runs, killed)
        check_logs(deployment)
    delays = sorted(recovery_delays(runs))
    report = {
        "seed": seed,
        "lifecycles": dict(sum((customer.lifecycles for customer in customers), Counter[str]())),
        "operations_accepted": sum(len(customer.accepted) for customer in customers),
        "handlers_run": len(runs),
        "interrupted": sum(not run.completed for run in runs),
        "faults": dict(injector.injected),
        "recovered": len(delays),
        "recovery_delay_median": round(median(delays), 1) if delays else None,
        "recovery_delay_maximum": round(delays[-1], 1) if delays else None,
    }
    for name, value in report.items():
        record_property(name, value)
        sys.stdout.write(f"{name.replace('_', ' ')}: {value}\n")
    assert sum(not run.completed for run in runs) >= 3, "too few handlers were interrupted"
