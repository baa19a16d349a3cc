"""Explore schedules for a number of minutes: ``python -m tests.simulation --minutes 30 --seed 1``."""

from __future__ import annotations

import argparse
import sys
import time
from random import Random

from tests.support.postgres import Server, fresh_database
from tests.support.postgres_fixtures import memory_folder

from .concurrency import Laboratory
from .exhaustive import explore_cases
from .explore import explore
from .run import silence
from .transitions import SITUATIONS

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
    parser.add_argument(
        "--database",
        choices=("sqlite", "postgresql"),
        default="sqlite",
        help="defaults to sqlite; on postgresql, pairs of concurrent transitions run in controlled order",
    )
    options = parser.parse_args()
    silence()
    if options.database == "postgresql":
        return _run_transitions(options)
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


def _run_transitions(options: argparse.Namespace) -> int:
    """Run pairs of transitions on a PostgreSQL server, in the order that the seed determines."""
    ends, count, failures = time.monotonic() + 60 * options.minutes, 0, 0
    situations = list(SITUATIONS)
    Random(options.seed).shuffle(situations)
    with Server(under=memory_folder(), fsync="off") as server, fresh_database(server.url) as url:
        laboratory = Laboratory(url)
        for situation in situations:
            count += 1
            for anomaly in laboratory.anomalies(situation, is_thorough=True):
                failures += 1
                sys.stdout.write(f"{anomaly}\n\n")
            if time.monotonic() > ends or failures >= options.failures:
                break
        laboratory.close()
    sys.stdout.write(
        f"postgresql: {count} of {len(situations)} situations, {laboratory.runs} runs, {failures} failures\n"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
