"""Explore schedules for a number of minutes: ``python -m tests.simulation --minutes 30 --seed 1``."""

from __future__ import annotations

import argparse
import sys

from .exhaustive import explore_cases
from .explore import explore
from .run import silence

_SHARE_OF_TRIPLES = 0.25
"""The share of the time for three concurrent requests with two preemptions."""


def main() -> int:
    """Explore, and print the counts and the failures."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0, help="the duration; defaults to 15")
    parser.add_argument("--seed", type=int, default=1, help="the first seed; defaults to 1")
    parser.add_argument("--count", type=int, help="the maximum number of schedules")
    parser.add_argument(
        "--failures", type=int, default=3, help="stop after this many failures; defaults to 3"
    )
    options = parser.parse_args()
    silence()
    seconds = 60 * options.minutes
    report = explore(
        options.seed,
        count=options.count,
        seconds=seconds * (1 - _SHARE_OF_TRIPLES),
        most_failures=options.failures,
    )
    sys.stdout.write(f"seeds: {report}\n")
    triples = explore_cases(options.seed, seconds=seconds * _SHARE_OF_TRIPLES)
    sys.stdout.write(f"three requests with two preemptions: {triples}\n")
    return 1 if report.failures or triples.failures else 0


if __name__ == "__main__":
    sys.exit(main())
