"""The ids of a request on every line that is logged while it is answered or worked on."""

from __future__ import annotations

import logging

from .._context import CURRENT_CALL
from ._log_fields import NO_CONTEXT, context_at


class ContextFilter(logging.Filter):
    """Gives each record the fields that say which request it belongs to.

    They are `operation`, `operation_id`, `instance_id`, `binding_id`, `offering`, `plan`, `attempt`,
    `username`, `platform`, `platform_user`, `request_identity`, `correlation_id` and `trace_id`; None for
    what is not known, and in a thread that is at no request, so that a format may name any of them. What a
    record has already stays as it is. Every record passes, and nothing is raised.

    Attach it to a handler: a filter of a logger sees no lines of the loggers below. Where a `QueueHandler`
    passes lines on to another thread, it belongs to that one, as only the thread that logs knows its request.
    Threads that a handler of the broker begins have the fields if they run in a copy of its context
    (`contextvars.copy_context().run`).
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields; keep the record."""
        if NO_CONTEXT.keys() <= record.__dict__.keys():  # it is one of our own lines
            return True
        fields = NO_CONTEXT
        current = CURRENT_CALL.get()
        if current is not None:
            try:
                fields = context_at(current)
            except Exception:  # noqa: BLE001 - a handler must not fail because it says something
                fields = NO_CONTEXT
        for name, value in fields.items():
            record.__dict__.setdefault(name, value)
        return True
