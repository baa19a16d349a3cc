"""Tables of results with aligned columns."""

from __future__ import annotations

import sys
from collections.abc import Sequence


class Table:
    """A table that is written to standard output row by row.

    Args:
        label: The width of the first column.
        cells: The widths of the other columns, which are aligned to the right.
    """

    def __init__(self, label: int, cells: Sequence[int]) -> None:
        self._label = label
        self._cells = cells

    def write(self, label: str, *cells: str) -> None:
        row = label.ljust(self._label) + "".join(map(str.rjust, cells, self._cells))
        sys.stdout.write(row.rstrip() + "\n")
        sys.stdout.flush()
