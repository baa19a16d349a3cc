"""Log records for the signals of a broker: their messages, levels and fields, without secrets."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from functools import partial

from blinker import NamedSignal

from .. import signals
from .._context import CURRENT_CALL
from .._internal.redaction import mask_text
from .._internal.text import MESSAGE_LIMIT, single_line
from ..errors import BrokerError, Retry
from ..requests import InstanceRequest, Operation, Request, RequestHeaders
from ..results import Binding, LastOperation
from ..signals import AttemptEnd
from ._log_fields import NO_CONTEXT, Fields, attempt_of, context_fields, fields_of_call
from ._redacted_shape import redacted_shape
from ._subscriptions import Receiver

SECRET_FIELDS = frozenset({"parameters", "credentials"})
"""The fields that a record has only on request, with masked values."""

_COMPLETED = {
    "provisioned": signals.provisioned,
    "updated": signals.updated,
    "deprovisioned": signals.deprovisioned,
    "bound": signals.bound,
    "unbound": signals.unbound,
}
_CONTINUED = {
    "operation started": signals.operation_started,
    "operation progressed": signals.operation_progressed,
    "operation failed": signals.operation_failed,
}


class EventLogger:
    """A set of signal receivers that log the events of one broker.

    Args:
        logger: The logger for the records.

    Attributes:
        secret_fields: The names from `SECRET_FIELDS` whose masked values the records have.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self.secret_fields: frozenset[str] = frozenset()

    def receivers(self) -> Mapping[NamedSignal, Receiver]:
        """Return a receiver for each signal."""
        return {
            signals.request_finished: self.request_finished,
            signals.attempt_started: self.attempt_started,
            signals.attempt_finished: self.attempt_finished,
            signals.authentication_failed: self.authentication_failed,
            **{signal: partial(self.change_completed, event) for event, signal in _COMPLETED.items()},
            **{signal: partial(self.operation_continued, event) for event, signal in _CONTINUED.items()},
        }

    def request_finished(
        self,
        sender: object,
        *,
        operation: Operation | None,
        status: int,
        seconds: float,
        instance_id: str | None,
        binding_id: str | None,
        headers: RequestHeaders | None,
        request: Request | None,
        result: object,
        error: BaseException | None,
        operation_id: str | None,
        **extra: object,
    ) -> None:
        """Log the response to a request."""
        level = logging.ERROR if status >= 500 else logging.INFO
        if not self._logger.isEnabledFor(level):
            return
        context = context_fields(
            operation,
            operation_id=operation_id,
            instance_id=instance_id,
            binding_id=binding_id,
            request=request,
            headers=headers,
        )
        error_text = _safe_error_text(error)
        self._write(
            level,
            "request finished",
            context,
            "Request finished: %s returned %d in %.3f s%s%s",
            _subject(context),
            status,
            seconds,
            text=error_text,
            shapes=self._shapes(request, result),
            error=error_text,
            status=status,
            seconds=round(seconds, 6),
        )

    def change_completed(
        self,
        event: str,
        sender: object,
        *,
        request: InstanceRequest,
        result: object,
        operation: Operation,
        operation_id: str | None,
        seconds: float,
        **extra: object,
    ) -> None:
        """Log that an instance or a binding was created, updated or deleted."""
        if not self._logger.isEnabledFor(logging.INFO):
            return
        context = _current_context(request, operation, operation_id)
        self._write(
            logging.INFO,
            event,
            context,
            "%s %s after %.3f s%s%s",
            event.capitalize(),
            _resource(context),
            seconds,
            shapes=self._shapes(request, result),
            seconds=round(seconds, 6),
        )

    def operation_continued(
        self,
        event: str,
        sender: object,
        *,
        request: InstanceRequest,
        result: object,
        operation: Operation,
        operation_id: str | None,
        seconds: float,
        **extra: object,
    ) -> None:
        """Log the start, the progress or the failure of an asynchronous operation."""
        has_failed = event == "operation failed"
        level = logging.WARNING if has_failed else logging.INFO
        if not self._logger.isEnabledFor(level):
            return
        context = _current_context(request, operation, operation_id)
        description = getattr(result, "description", None)
        text = _safe_text(description) if isinstance(description, str) else None
        self._write(
            level,
            event,
            context,
            "%s: %s after %.3f s%s%s",
            event.capitalize(),
            _subject(context),
            seconds,
            text=text,
            shapes={} if isinstance(result, LastOperation) else self._shapes(request, result),
            seconds=round(seconds, 6),
            error=text if has_failed else None,
            description=None if has_failed else text,
        )

    def attempt_started(
        self,
        sender: object,
        *,
        request: InstanceRequest,
        operation: Operation,
        operation_id: str,
        **extra: object,
    ) -> None:
        """Log the start of an attempt of background work."""
        if not self._logger.isEnabledFor(logging.INFO):
            return
        context = _context(request, operation, operation_id, is_attempt=True)
        self._write(
            logging.INFO,
            "attempt started",
            context,
            "Attempt %d started: %s%s%s",
            context["attempt"],
            _subject(context),
        )

    def attempt_finished(
        self,
        sender: object,
        *,
        request: InstanceRequest,
        operation: Operation,
        operation_id: str,
        end: AttemptEnd,
        seconds: float,
        error: BaseException | None,
        **extra: object,
    ) -> None:
        """Log the end of an attempt of background work."""
        level = _level_of(end, error)
        if not self._logger.isEnabledFor(level):
            return
        context = _context(request, operation, operation_id, is_attempt=True)
        error_text = _safe_error_text(error)
        self._write(
            level,
            "attempt finished",
            context,
            "Attempt %d %s: %s in %.3f s%s%s",
            context["attempt"],
            end.value,
            _subject(context),
            seconds,
            text=error_text,
            error=error_text,
            end=end.value,
            seconds=round(seconds, 6),
        )

    def authentication_failed(
        self, sender: object, *, method: str, path: str, remote_addr: str | None, **extra: object
    ) -> None:
        """Log a failed authentication attempt."""
        if not self._logger.isEnabledFor(logging.WARNING):
            return
        call = CURRENT_CALL.get()
        method, path = single_line(method), single_line(path, MESSAGE_LIMIT)
        remote_addr = single_line(remote_addr) if remote_addr else None
        self._write(
            logging.WARNING,
            "authentication failed",
            NO_CONTEXT if call is None else fields_of_call(call),
            "Authentication failed: %s %s from %s%s%s",
            method,
            path,
            remote_addr,
            method=method,
            path=path,
            remote_addr=remote_addr,
        )

    def _shapes(self, request: Request | None, result: object) -> dict[str, object]:
        """Return the masked values of the selected secret fields, as far as they are present."""
        if not self.secret_fields:
            return {}
        values = {
            "parameters": getattr(request, "parameters", None),
            "credentials": result.credentials if isinstance(result, Binding) else None,
        }
        return {name: redacted_shape(values[name]) for name in sorted(self.secret_fields) if values[name]}

    def _write(
        self,
        level: int,
        event: str,
        context: Fields,
        message: str,
        *arguments: object,
        text: str | None = None,
        shapes: dict[str, object] | None = None,
        **facts: object,
    ) -> None:
        """Write a record.

        Args:
            level: The level of the record.
            event: The value of the field `event`.
            context: The fields that identify the request.
            message: A format for the arguments, followed by the text and the shapes.
            arguments: The arguments of the message.
            text: An error or a description, for the end of the message.
            shapes: The masked values of secret fields, by name.
            facts: The other fields.
        """
        shapes = shapes or {}
        shapes_text = "".join(
            f" {name}={json.dumps(shape, ensure_ascii=False)}" for name, shape in shapes.items()
        )
        all_arguments = *arguments, f": {text}" if text else "", shapes_text
        logger = self._logger
        file, line, function, _ = logger.findCaller()
        record = logger.makeRecord(logger.name, level, file, line, message, all_arguments, None, function)
        # Not by `extra`: it rejects names that the record already has, such as an app's correlation_id.
        record.__dict__.update({"event": event, **context, **_NO_FACTS, **shapes, **facts})
        logger.handle(record)


_NO_FACTS: dict[str, object] = dict.fromkeys(
    (
        *("status", "seconds", "end", "error", "description"),
        *("method", "path", "remote_addr", *sorted(SECRET_FIELDS)),
    )
)
"""The default of each field: all records have all fields, so a format may name any of them."""


def _current_context(request: InstanceRequest, operation: Operation, operation_id: str | None) -> Fields:
    call = CURRENT_CALL.get()
    return _context(request, operation, operation_id, is_attempt=call is not None and call.is_attempt)


def _context(
    request: InstanceRequest, operation: Operation, operation_id: str | None, *, is_attempt: bool
) -> Fields:
    return context_fields(
        operation,
        operation_id=operation_id,
        instance_id=request.instance_id,
        binding_id=getattr(request, "binding_id", None),
        request=request,
        headers=request.headers,
        attempt=attempt_of(request) if is_attempt else None,
    )


def _subject(context: Fields) -> str:
    """Describe an operation and its resource: ``bind of i1/b1 (db, small)``."""
    operation = context["operation"]
    if operation is None:
        return "unknown endpoint"
    resource = _resource(context)
    return f"{operation} of {resource}" if resource else str(operation)


def _resource(context: Fields) -> str:
    """Describe a resource: ``i1/b1 (db, small)``."""
    ids = "/".join(
        _quote_spaces(str(context[name]))
        for name in ("instance_id", "binding_id")
        if context[name] is not None
    )
    names = ", ".join(str(context[name]) for name in ("offering", "plan") if context[name] is not None)
    return f"{ids} ({names})" if names else ids


def _quote_spaces(resource_id: str) -> str:
    """Quote an id that contains a space, so that it cannot pose as the rest of the message."""
    return json.dumps(resource_id, ensure_ascii=False) if " " in resource_id else resource_id


def _level_of(end: AttemptEnd, error: BaseException | None) -> int:
    """Return ERROR for an unexpected end. A deliberate failure has a WARNING of its own."""
    if end in (AttemptEnd.FAILED, AttemptEnd.INTERRUPTED):
        is_deliberate = error is None or isinstance(error, BrokerError)
        return logging.INFO if is_deliberate and end is AttemptEnd.FAILED else logging.ERROR
    return logging.INFO


def _safe_error_text(error: BaseException | None) -> str | None:
    """Return a `BrokerError`'s description, or any other error's class: its message may hold secrets."""
    if isinstance(error, Retry):
        error = error.__cause__
    if error is None:
        return None
    return (
        _safe_text(error.description) if isinstance(error, BrokerError) else single_line(type(error).__name__)
    )


def _safe_text(description: str) -> str:
    """Return a description for users on one line, with its secrets masked."""
    return single_line(mask_text(description), MESSAGE_LIMIT)
