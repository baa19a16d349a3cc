"""How much memory an operation takes that waits in `Retry`: nothing but its row is to be kept."""

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
"""How many wait before those that are measured, and how many these are."""

BUDGET = 200
"""In bytes, of what Python's allocator gave."""


def run(kinds: Sequence[Database], verdicts: Verdicts) -> None:
    """Measure, print and judge."""
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
    """Bytes of this process."""

    resident: int
    allocated: int


def _retry(request: ProvisionRequest) -> NoReturn:
    raise Retry(after=3600)


def _wait_with(background: Background, count: int) -> None:
    """Have so many more operations wait."""
    then = background.counted + count
    background.submit(provisions(count))
    background.wait_for(then)


def _memory() -> _Memory:
    gc.collect()
    return _Memory(_resident(), tracemalloc.get_traced_memory()[0])


def _resident() -> int:
    """0 where the system does not tell."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0
