"""The groups of statements, compiled once for each kind of database."""

from __future__ import annotations

from sqlalchemy import Dialect

from .attempts import AttemptStatements
from .claims import ClaimStatements
from .due import DueStatements
from .ends import EndStatements
from .reads import ReadStatements
from .stats import StatsStatements


class Statements:
    """All statements of a store.

    Args:
        dialect: The SQL dialect of the database.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.reads = ReadStatements(dialect)
        self.claims = ClaimStatements(dialect)
        self.ends = EndStatements(dialect)
        self.attempts = AttemptStatements(dialect)
        self.due = DueStatements(dialect)
        self.stats = StatsStatements(dialect)


_COMPILED: dict[str, Statements] = {}


def statements_for(dialect: Dialect) -> Statements:
    """Return the statements for a dialect. They are compiled once and shared by all stores."""
    statements = _COMPILED.get(dialect.name)
    if statements is None:
        statements = _COMPILED[dialect.name] = Statements(dialect)
    return statements
