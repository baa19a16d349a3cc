"""Explore schedules for a number of minutes: ``python -m tests.simulation --minutes 30 --seed 1``."""

from __future__ import annotations

import argparse
import sys

from .explore import explore
from .run import silence


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
    report = explore(
        options.seed, count=options.count, seconds=60 * options.minutes, most_failures=options.failures
    )
    sys.stdout.write(f"{report}\n")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
