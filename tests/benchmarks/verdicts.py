"""Comparisons of ratios with budgets."""

from __future__ import annotations

from collections.abc import Iterable


class Verdicts:
    """A judge of ratios that records whether one missed its budget."""

    def __init__(self) -> None:
        self.all_kept = True

    def at_most(self, value: float, budget: float, digits: int = 3) -> tuple[str, str, str]:
        """Return three cells: the value, its maximum, and whether it is kept."""
        return self._cells(value, budget, "OVER" if value > budget else "ok", digits)

    def at_least(self, value: float, budget: float, digits: int = 3) -> tuple[str, str, str]:
        """Return three cells: the value, its minimum, and whether it is kept."""
        return self._cells(value, budget, "UNDER" if value < budget else "ok", digits)

    def _cells(self, value: float, budget: float, verdict: str, digits: int) -> tuple[str, str, str]:
        self.all_kept = self.all_kept and verdict == "ok"
        return f"{value:.{digits}f}", f"{budget:.{max(digits - 1, 0)}f}", verdict


def joined(verdicts: Iterable[tuple[str, str, str]]) -> list[str]:
    """Return the cells of several verdicts."""
    return [cell for verdict in verdicts for cell in verdict]
