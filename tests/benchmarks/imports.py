"""Import times in a new interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from .databases import Database
from .measure import Times
from .table import Table
from .verdicts import Verdicts

BUDGET = 1.35

ROUNDS = 10

_CHILD = "from time import perf_counter as now; start = now(); import {}; print(now() - start)"


def run(kinds: Sequence[Database], verdicts: Verdicts) -> None:
    """Measure, print and compare with the budgets."""
    table = Table(label=15, cells=(10, 11, 9, 7, 5))
    imports = measure_imports(["brokerkit", "flask"])
    medians = [f"{imports.seconds(module) * 1e3:.1f}" for module in ("brokerkit", "flask")]
    table.write("ms to import", "brokerkit", "flask", "/ flask", "budget", "")
    table.write("", *medians, *verdicts.at_most(imports.ratio("brokerkit", "flask"), BUDGET))


def measure_imports(modules: Sequence[str]) -> Times:
    """Import each module in a new interpreter, in turns."""
    for module in modules:  # compile the bytecode of all modules before measuring
        _import(module)
    return Times(
        [
            {module: _import(module) for module in (modules if number % 2 else modules[::-1])}
            for number in range(ROUNDS)
        ]
    )


def _import(module: str) -> float:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    child = subprocess.run(
        [sys.executable, "-c", _CHILD.format(module)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(child.stdout)
