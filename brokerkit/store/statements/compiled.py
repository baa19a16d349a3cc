"""All chapters, compiled once for each kind of database."""

from __future__ import annotations

from sqlalchemy import Dialect

from .attempts import Attempts
from .claims import Claims
from .due import Sweeps
from .ends import Ends
from .reads import Reads
from .stats import CensusTaking


class Statements:
    """Every statement of a store.

    Args:
        dialect: The database's.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.reads = Reads(dialect)
        self.claims = Claims(dialect)
        self.ends = Ends(dialect)
        self.attempts = Attempts(dialect)
        self.sweeps = Sweeps(dialect)
        self.census = CensusTaking(dialect)


_COMPILED: dict[str, Statements] = {}


def statements_for(dialect: Dialect) -> Statements:
    """The statements for a kind of database, compiled once for all stores on it."""
    found = _COMPILED.get(dialect.name)
    if found is None:
        found = _COMPILED[dialect.name] = Statements(dialect)
    return found
