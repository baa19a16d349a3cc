"""Times of lifecycles in a store with many instances, against one with few."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from .databases import Database
from .filling import fill
from .lifecycle import measure_lifecycles
from .stored import stored_app
from .table import Table
from .verdicts import Verdicts

MANY, FEW = 100_000, 100

BUDGET = 1.2

ROUNDS = 60


def run(kinds: Sequence[Database], verdicts: Verdicts) -> None:
    """Measure, print and compare with the budgets."""
    names = {count: f"of {count:,}" for count in (MANY, FEW)}
    table = Table(label=24, cells=(12, 10, 9, 7, 6))
    table.write("µs per lifecycle", *names.values(), "/ few", "budget", "")
    for kind in kinds:
        with ExitStack() as stack:
            apps = {}
            for count, name in names.items():
                url = stack.enter_context(kind.fresh())
                apps[name] = stack.enter_context(stored_app(url))
                fill(url, apps[name], count)
            times = measure_lifecycles(apps, threads=1, rounds=ROUNDS)
        medians = [f"{times.seconds(name) * 1e6:.0f}" for name in apps]
        verdict = verdicts.at_most(times.ratio(names[MANY], names[FEW]), BUDGET)
        table.write(kind.name, *medians, *verdict)
