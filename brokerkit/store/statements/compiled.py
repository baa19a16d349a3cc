"""All chapters, compiled once for each kind of database."""

from __future__ import annotations

from sqlalchemy import Dialect

from .attempts import AttemptStatements
from .claims import ClaimStatements
from .due import DueStatements
from .ends import EndStatements
from .reads import ReadStatements
from .stats import StatsStatements


class Statements:
    """Every statement of a store.

    Args:
        dialect: The database's.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.reads = ReadStatements(dialect)
        self.claims = ClaimStatements(dialect)
        self.ends = EndStatements(dialect)
        self.attempts = AttemptStatements(dialect)
        self.sweeps = DueStatements(dialect)
        self.census = StatsStatements(dialect)


_COMPILED: dict[str, Statements] = {}


def statements_for(dialect: Dialect) -> Statements:
    """The statements for a kind of database, compiled once for all stores on it."""
    found = _COMPILED.get(dialect.name)
    if found is None:
        found = _COMPILED[dialect.name] = Statements(dialect)
    return found
