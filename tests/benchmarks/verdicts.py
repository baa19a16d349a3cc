"""What is made of a ratio: whether it keeps its budget, and whether all did."""

from __future__ import annotations

from collections.abc import Iterable


class Verdicts:
    """Judges ratios, and remembers whether one missed its budget."""

    def __init__(self) -> None:
        self.all_kept = True

    def at_most(self, value: float, budget: float, digits: int = 3) -> tuple[str, str, str]:
        """Three cells: the value, the most that it may be, and whether it is."""
        return self._cells(value, budget, "OVER" if value > budget else "ok", digits)

    def at_least(self, value: float, budget: float, digits: int = 3) -> tuple[str, str, str]:
        """Three cells: the value, the least that it may be, and whether it is."""
        return self._cells(value, budget, "UNDER" if value < budget else "ok", digits)

    def _cells(self, value: float, budget: float, verdict: str, digits: int) -> tuple[str, str, str]:
        self.all_kept = self.all_kept and verdict == "ok"
        return f"{value:.{digits}f}", f"{budget:.{max(digits - 1, 0)}f}", verdict


def joined(verdicts: Iterable[tuple[str, str, str]]) -> list[str]:
    """The cells of several, one after the other."""
    return [cell for verdict in verdicts for cell in verdict]
