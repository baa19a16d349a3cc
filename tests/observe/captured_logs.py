"""A logger for one test, whose records the test can inspect."""

from __future__ import annotations

import logging
from typing import Any


class Log(logging.Handler):
    """A handler that keeps the logged records.

    Args:
        filters: The filters for each record.

    Attributes:
        logger: A logger of its own that records every level.
        records: The logged records.
    """

    def __init__(self, *filters: logging.Filter) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.logger = logging.Logger("test", logging.DEBUG)
        self.logger.addHandler(self)
        for log_filter in filters:
            self.addFilter(log_filter)

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]

    @property
    def fields(self) -> dict[str, Any]:
        """The added fields of the only record."""
        (record,) = self.records
        return fields_of(record)


_USUAL = vars(logging.makeLogRecord({})).keys()


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields that were added to a record, without empty ones."""
    return {name: value for name, value in vars(record).items() if name not in _USUAL and value is not None}
