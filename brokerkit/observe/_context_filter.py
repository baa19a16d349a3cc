"""A logging filter that adds the ids of the current request or attempt to each log record."""

from __future__ import annotations

import logging

from .._context import CURRENT_CALL
from ._log_fields import NO_CONTEXT, fields_of_call


class ContextFilter(logging.Filter):
    """A filter that adds the fields of the current request or attempt to each record.

    The fields are `operation`, `operation_id`, `instance_id`, `binding_id`, `offering`, `plan`, `attempt`,
    `username`, `platform`, `platform_user`, `request_identity`, `correlation_id` and `trace_id`. A field is
    None if its value is unknown, and outside of requests, so a format may always name all of them. Fields
    that a record already has stay unchanged. The filter accepts every record and raises nothing.

    Attach it to a handler: a filter of a logger does not see the records of child loggers. With a
    `QueueHandler`, attach it to that handler, because only the logging thread knows its request.
    If a broker's handler starts a thread, run it in a copy of the handler's context
    (`contextvars.copy_context().run`); its records then have the fields too.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields and accept the record."""
        if NO_CONTEXT.keys() <= record.__dict__.keys():  # a record of `EventLogger`
            return True
        fields = NO_CONTEXT
        call = CURRENT_CALL.get()
        if call is not None:
            try:
                fields = fields_of_call(call)
            except Exception:  # noqa: BLE001 - logging must not make a handler fail
                fields = NO_CONTEXT
        for name, value in fields.items():
            record.__dict__.setdefault(name, value)
        return True
