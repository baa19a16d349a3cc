"""The size of a store on PostgreSQL: bytes per row, writes per lifecycle, time of upkeep.

There is no budget. docs/scaling.md uses these numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import islice
from statistics import median
from time import perf_counter, sleep

from brokerkit.admin.queries import purge_records
from brokerkit.store.encryption import new_key
from brokerkit.store.key_rotation import rotate
from brokerkit.store.store import Store

from .databases import Database
from .filling import fill
from .meters import PostgresMeter
from .stored import KEY, stored_app
from .table import Table
from .traffic import lifecycles, send
from .verdicts import Verdicts

INSTANCES = 100_000
LIFECYCLES = 2_000
FEW = 10_000
"""The number of instances for the measurement of upkeep."""

_TABLES = ("instances", "bindings", "operations")


def run(kinds: Sequence[Database], _: Verdicts) -> None:
    """Measure and print."""
    (kind,) = (kind for kind in kinds if kind.name == "PostgreSQL")
    with kind.fresh() as url, stored_app(url) as app:
        fill(url, app, INSTANCES)
        with PostgresMeter(url) as meter:
            _tell_sizes(meter)
        _tell_times(url)
    with kind.fresh() as url:
        _tell_writes(url)
    with kind.fresh() as url:
        _tell_upkeep(url)


def _tell_sizes(meter: PostgresMeter) -> None:
    table = Table(label=24, cells=(10, 12, 12, 14))
    table.write("bytes per row", "rows", "table", "indexes", "index depth")
    for name in _TABLES:
        sizes = meter.size_of(f"brokerkit_{name}")
        depths = " ".join(map(str, sizes.index_depths))
        value = (f"{size / sizes.rows:.0f}" for size in (sizes.heap, sizes.indexes))
        table.write(name, f"{sizes.rows:,}", *value, depths)
    table.write("")


def _tell_times(url: str) -> None:
    """Measure the statements of schedulers and polls on the large store."""
    store = Store(url, encryption_keys=[KEY])
    store.open()
    try:
        table = Table(label=24, cells=(10,))
        table.write(f"ms, of {INSTANCES:,}")
        table.write("a look of the keeper", f"{_median(lambda: store.due_waiting(500)) * 1e3:.2f}")
        table.write("a poll's read", f"{_median(lambda: store.find_operation('none')) * 1e3:.2f}")
        table.write("a census", f"{_median(store.stats, times=10) * 1e3:.0f}")
        table.write("")
    finally:
        store.close()


def _median(work: Callable[[], object], times: int = 200) -> float:
    return median(_seconds(work) for _ in range(times))


def _tell_writes(url: str) -> None:
    with ExitStack() as stack:
        app = stack.enter_context(stored_app(url))
        meter = stack.enter_context(PostgresMeter(url))
        before = meter.written()
        for exchange in (value for life in islice(lifecycles(), LIFECYCLES) for value in life):
            reply = send(app, exchange.fresh_environ())
            if reply != exchange.expected:
                raise AssertionError(f"a {exchange.endpoint} got {reply}, not {exchange.expected}")
        written = meter.written().since(before).each_of(LIFECYCLES)
    table = Table(label=24, cells=(10, 10, 14, 10))
    table.write("rows per lifecycle", "inserted", "updated", "of these HOT", "deleted")
    with PostgresMeter(url) as meter:
        sleep(2.0)  # PostgreSQL updates the statistics of ended sessions with a delay
        for name in _TABLES:
            changes = (value / LIFECYCLES for value in meter.changes_of(f"brokerkit_{name}"))
            table.write(name, *(f"{value:.1f}" for value in changes))
    table.write("commits", f"{written.commits:.1f}")
    table.write("WAL bytes", f"{written.wal:.0f}")
    table.write("")


def _tell_upkeep(url: str) -> None:
    with stored_app(url) as app:
        fill(url, app, FEW)
        for exchange in (value for life in islice(lifecycles(), LIFECYCLES) for value in life):
            send(app, exchange.fresh_environ())
    store = Store(url, encryption_keys=[new_key(), KEY])
    store.open()
    table = Table(label=24, cells=(10, 10))
    table.write("upkeep", "rows", "µs each")
    try:
        started = perf_counter()
        purged = purge_records(store, 0.0)
        rows = purged.instances + purged.operations
        table.write("purge", f"{rows:,}", f"{(perf_counter() - started) / rows * 1e6:.0f}")
        started = perf_counter()
        rows = sum(rotate(store).reencrypted.values())
        table.write("rotate-keys", f"{rows:,}", f"{(perf_counter() - started) / rows * 1e6:.0f}")
    finally:
        store.close()


def _seconds(work: Callable[[], object]) -> float:
    started = perf_counter()
    work()
    return perf_counter() - started
