"""Benchmarks of brokerkit against budgets: ``make bench``.

With names of parts it measures only these: ``python -m tests.benchmarks polls recovery``. The exit status is
1 if a budget is missed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from time import perf_counter

from . import (
    checking,
    crowd,
    imports,
    lifecycle,
    observing,
    polls,
    processes,
    recovery,
    requests,
    sample,
    sizes,
    volume,
    waiting,
    workers,
)
from .databases import Database, databases
from .verdicts import Verdicts

STATELESS: dict[str, Callable[[Sequence[Database], Verdicts], None]] = {
    "requests": requests.run,
    "imports": imports.run,
    "checking": checking.run,
    "sample": sample.run,
}
STORED: dict[str, Callable[[Sequence[Database], Verdicts], None]] = {
    "lifecycles": lifecycle.run,
    "polls": polls.run,
    "volume": volume.run,
    "sizes": sizes.run,
    "recovery": recovery.run,
    "waiting": waiting.run,
    "processes": processes.run,
    "workers": workers.run,
    "crowd": crowd.run,
    "observing": observing.run,
}


def main(names: Sequence[str]) -> int:
    parts = STATELESS | STORED
    verdicts = Verdicts()
    with ExitStack() as stack:
        kinds = stack.enter_context(databases()) if STORED.keys() & names else []
        for name in names:
            started = perf_counter()
            parts[name](kinds, verdicts)
            sys.stdout.write(f"\n({name}: {perf_counter() - started:.0f} s)\n\n")
            sys.stdout.flush()
    return 0 if verdicts.all_kept else 1


def _names(arguments: Sequence[str]) -> Sequence[str]:
    """Return the requested parts. `store` stands for all that need a store. Defaults to all parts."""
    everything = [*STATELESS, *STORED]
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Measure brokerkit.")
    parser.add_argument("parts", nargs="*", help=f"store, {', '.join(everything)}. Defaults to all.")
    requested = parser.parse_args(arguments).parts or everything
    chosen = [name for part in requested for name in (STORED if part == "store" else [part])]
    if unknown := set(chosen) - set(everything):
        parser.error(f"unknown part {unknown.pop()!r}; use store, {', '.join(everything)}")
    return chosen


if __name__ == "__main__":
    sys.exit(main(_names(sys.argv[1:])))
