"""Resource usage during a measurement, and the resource that limited it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter

from .meters import PostgresMeter, Samples, Written, ticks
from .table import Table

POSTGRES, CLIENTS, OTHERS, IDLE = "PostgreSQL", "clients", "others", "idle"


class Account:
    """The resource usage of one candidate of a benchmark.

    Args:
        meter: The meter of the PostgreSQL server.
        database: The name of the database.
        roots: The parent processes of the candidate by label. Their children are included.
    """

    def __init__(self, meter: PostgresMeter, database: str, roots: Mapping[str, int]) -> None:
        self._meter = meter
        self._database = database
        self._roots = roots
        self.samples = Samples()
        self._seconds = self._machine = 0.0
        self._used = dict.fromkeys([*roots, POSTGRES, CLIENTS], 0.0)
        self._written = Written()

    @contextmanager
    def open(self) -> Iterator[None]:
        """Add the usage until the context ends."""
        pids = [*self._roots.values(), self._meter.pid]
        with self._meter.sampling(self._database, self.samples):
            started, before, written = perf_counter(), ticks(*pids), self._meter.written()
            yield
            used, now = ticks(*pids).since(before), self._meter.written()
            self._seconds += perf_counter() - started
        self._written = self._written.and_then(now.since(written))
        self._machine += used.machine
        for name, pid in {**self._roots, POSTGRES: self._meter.pid}.items():
            self._used[name] += used.trees[pid]
        self._used[CLIENTS] += used.own

    def per(self, count: int) -> Written:
        """Return the writes per lifecycle."""
        return self._written.each_of(count)

    def seconds_per(self, count: int) -> dict[str, float]:
        """Return the CPU seconds per lifecycle, without clients."""
        return {name: used / count for name, used in self._used.items() if name != CLIENTS}

    def shares(self) -> dict[str, float]:
        """Return the shares of the time of all cores."""
        whole = self._seconds * _cores()
        shares = {name: used / whole for name, used in self._used.items()}
        shares[OTHERS] = max(0.0, self._machine / whole - sum(shares.values()))
        shares[IDLE] = max(0.0, 1.0 - sum(shares.values()))
        return shares

    def limit(self) -> str:
        """Return the resource that limited the speed."""
        shares = self.shares()
        if shares[IDLE] < 0.15:
            most = max((name for name in shares if name != IDLE), key=lambda name: shares[name])
            return f"the cores, most of all {most}"
        return f"waiting; busy connections: {self.samples.busiest()}"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def print_accounts(accounts: Mapping[str, Account], lifecycles: int) -> None:
    """Print the resource usage.

    Args:
        accounts: The accounts by label.
        lifecycles: The number of lifecycles in each account.
    """
    names = next(iter(accounts.values())).shares()
    table = Table(label=24, cells=[max(len(name) + 2, 7) for name in names])
    table.write(f"% of {_cores()} cores", *names)
    for label, account in accounts.items():
        table.write(label, *(f"{share:.0%}" for share in account.shares().values()))
    table.write("")
    used = next(iter(accounts.values())).seconds_per(lifecycles)
    headings = [f"{name} ms" for name in used]
    table = Table(label=24, cells=(8, 8, *(len(heading) + 2 for heading in headings), 13, 0))
    table.write("per lifecycle", "commits", "WAL kB", *headings, "connections", "  limited by")
    for label, account in accounts.items():
        written = account.per(lifecycles)
        table.write(
            label,
            f"{written.commits:.1f}",
            f"{written.wal / 1000:.1f}",
            *(f"{seconds * 1e3:.1f}" for seconds in account.seconds_per(lifecycles).values()),
            f"{account.samples.connections}",
            f"  {account.limit()}",
        )
