"""A logger of a test's own, whose records it can look at."""

from __future__ import annotations

import logging
from typing import Any


class Log(logging.Handler):
    """Keeps what is logged.

    Args:
        filters: What each record goes through.

    Attributes:
        logger: Where to log, from any level on; nobody else sees it.
        records: What was logged.
    """

    def __init__(self, *filters: logging.Filter) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.logger = logging.Logger("test", logging.DEBUG)
        self.logger.addHandler(self)
        for each in filters:
            self.addFilter(each)

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]

    @property
    def fields(self) -> dict[str, Any]:
        """Those that the one record was given, and that are there."""
        (record,) = self.records
        return fields_of(record)


_USUAL = vars(logging.makeLogRecord({})).keys()


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """What a record was given beside what each has."""
    return {name: value for name, value in vars(record).items() if name not in _USUAL and value is not None}
