"""Memory per operation that waits in `Retry`: only its row may use memory."""

from __future__ import annotations

import gc
import os
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from brokerkit import ProvisionRequest, Retry, signals

from .background import Background, working
from .databases import Database
from .table import Table
from .traffic import provisions
from .verdicts import Verdicts

OTHERS, OPERATIONS = 1000, 2000
"""The numbers of waiting operations before the measurement and during it."""

BUDGET = 200
"""In bytes of Python's allocator."""


def run(kinds: Sequence[Database], verdicts: Verdicts) -> None:
    """Measure, print and compare with the budgets."""
    table = Table(label=24, cells=(12, 10, 7, 6))
    table.write("bytes per waiting", "resident", "allocated", "budget", "")
    for kind in kinds:
        with kind.fresh() as url, working(url, _retry, signals.operation_progressed) as background:
            _wait_with(background, OTHERS)
            tracemalloc.start()
            try:
                before = _memory()
                _wait_with(background, OPERATIONS)
                after = _memory()
            finally:
                tracemalloc.stop()
        resident, allocated = ((b - a) / OPERATIONS for a, b in zip(before, after, strict=True))
        table.write(kind.name, f"{resident:.0f}", *verdicts.at_most(allocated, BUDGET, digits=0))


class _Memory(NamedTuple):
    """The memory of this process in bytes."""

    resident: int
    allocated: int


def _retry(request: ProvisionRequest) -> NoReturn:
    raise Retry(after=3600)


def _wait_with(background: Background, count: int) -> None:
    """Add operations that wait."""
    then = background.counted + count
    background.submit(provisions(count))
    background.wait_for(then)


def _memory() -> _Memory:
    gc.collect()
    return _Memory(_resident(), tracemalloc.get_traced_memory()[0])


def _resident() -> int:
    """Return the resident memory, or 0 where the system does not report it."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0
