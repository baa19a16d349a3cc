"""Every pair of requests in every status of the rules table, with one preemption at each point."""

from __future__ import annotations

import pytest

from .exhaustive import WAYS, Case, cases, runs

QUICK_SHARE = 32


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("part", range(3))
def test_pairs_violate_no_invariant(way: str, part: int, is_quick: bool) -> None:
    """Two concurrent requests keep all invariants, wherever the other one runs in between."""
    for case in _chosen(way, part, is_quick):
        for result in runs(case):
            assert result.violation is None, f"{case}\n{result}"


def _chosen(way: str, part: int, is_quick: bool) -> list[Case]:
    chosen = [case for case in cases() if case.way == way][part::3]
    return chosen[::QUICK_SHARE] if is_quick else chosen
