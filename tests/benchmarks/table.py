"""What is measured, told in rows of columns that stand below each other."""

from __future__ import annotations

import sys
from collections.abc import Sequence


class Table:
    """Writes to the standard output, row by row, as soon as a row is known.

    Args:
        label: The width of the first column.
        cells: The widths of the others; their text is on the right.
    """

    def __init__(self, label: int, cells: Sequence[int]) -> None:
        self._label = label
        self._cells = cells

    def write(self, label: str, *cells: str) -> None:
        row = label.ljust(self._label) + "".join(map(str.rjust, cells, self._cells))
        sys.stdout.write(row.rstrip() + "\n")
        sys.stdout.flush()
