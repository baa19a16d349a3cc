"""From signals to lines of the log: what each says, at which level, and what it keeps to itself."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from functools import partial

from blinker import NamedSignal

from .. import signals
from .._context import CURRENT_CALL
from .._internal.redaction import mask_text
from ..errors import BrokerError, Retry
from ..requests import InstanceRequest, Operation, Request, RequestHeaders
from ..results import Binding, LastOperation
from ..signals import AttemptEnd
from ._common import LONGEST_TEXT
from ._log_fields import NO_CONTEXT, Fields, attempt_of, context_at, context_of, escape_line_breaks
from ._redacted_shape import redacted_shape
from ._subscriptions import Receiver

SECRET_FIELDS = frozenset({"parameters", "credentials"})
"""What is on a line only if it is asked for, and masked."""


class EventLogger:
    """Writes the lines of a broker.

    Args:
        logger: Where to.

    Attributes:
        secret_fields: Those of `SECRET_FIELDS` to show, masked.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self.secret_fields: frozenset[str] = frozenset()

    def receivers(self) -> Mapping[NamedSignal, Receiver]:
        """What to call for which signal."""
        events = {
            "provisioned": signals.provisioned,
            "updated": signals.updated,
            "deprovisioned": signals.deprovisioned,
            "bound": signals.bound,
            "unbound": signals.unbound,
            "operation started": signals.operation_started,
            "operation progressed": signals.operation_progressed,
            "operation failed": signals.operation_failed,
        }
        return {
            signals.request_finished: self.request_finished,
            signals.attempt_started: self.attempt_started,
            signals.attempt_finished: self.attempt_finished,
            signals.authentication_failed: self.authentication_failed,
            **{signal: partial(self.event, event) for event, signal in events.items()},
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
        **more: object,
    ) -> None:
        """A request was answered."""
        level = logging.ERROR if status >= 500 else logging.INFO
        if not self._logger.isEnabledFor(level):
            return
        context = context_of(
            operation,
            operation_id=operation_id,
            instance_id=instance_id,
            binding_id=binding_id,
            request=request,
            headers=headers,
        )
        told = _told(error)
        self._write(
            level,
            "request finished",
            context,
            "%s: %d in %.3f s%s%s",
            _subject(context),
            status,
            seconds,
            text=told,
            shown=self._outlines(request, result),
            error=told,
            status=status,
            seconds=round(seconds, 6),
        )

    def event(
        self,
        event: str,
        sender: object,
        *,
        request: InstanceRequest,
        result: object,
        operation: Operation,
        operation_id: str | None,
        seconds: float,
        **more: object,
    ) -> None:
        """Something was made, changed or deleted; or work goes on, got further, or failed."""
        has_failed = event == "operation failed"
        level = logging.WARNING if has_failed else logging.INFO
        if not self._logger.isEnabledFor(level):
            return
        current = CURRENT_CALL.get()
        context = _context(
            request, operation, operation_id, is_attempt=current is not None and current.is_attempt
        )
        said = getattr(result, "description", None)
        text = _safe(said) if isinstance(said, str) else None
        self._write(
            level,
            event,
            context,
            "%s: %s after %.3f s%s%s",
            _subject(context),
            event,
            seconds,
            text=text,
            shown={} if isinstance(result, LastOperation) else self._outlines(request, result),
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
        **more: object,
    ) -> None:
        """An attempt of work in the background begins."""
        if not self._logger.isEnabledFor(logging.INFO):
            return
        context = _context(request, operation, operation_id, is_attempt=True)
        self._write(
            logging.INFO,
            "attempt started",
            context,
            "%s: attempt %d started%s%s",
            _subject(context),
            context["attempt"],
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
        **more: object,
    ) -> None:
        """An attempt of work in the background is through."""
        level = _level_of(end, error)
        if not self._logger.isEnabledFor(level):
            return
        context = _context(request, operation, operation_id, is_attempt=True)
        told = _told(error)
        self._write(
            level,
            "attempt finished",
            context,
            "%s: attempt %d %s in %.3f s%s%s",
            _subject(context),
            context["attempt"],
            end.value,
            seconds,
            text=told,
            error=told,
            end=end.value,
            seconds=round(seconds, 6),
        )

    def authentication_failed(
        self, sender: object, *, method: str, path: str, remote_addr: str | None, **more: object
    ) -> None:
        """Somebody was not let in."""
        if not self._logger.isEnabledFor(logging.WARNING):
            return
        current = CURRENT_CALL.get()
        method, path = escape_line_breaks(method), escape_line_breaks(path, LONGEST_TEXT)
        remote_addr = escape_line_breaks(remote_addr) if remote_addr else None
        self._write(
            logging.WARNING,
            "authentication failed",
            NO_CONTEXT if current is None else context_at(current),
            "authentication failed: %s %s from %s%s%s",
            method,
            path,
            remote_addr,
            method=method,
            path=path,
            remote_addr=remote_addr,
        )

    def _outlines(self, request: Request | None, result: object) -> dict[str, object]:
        """What was asked to be shown of what is secret, as far as it is there."""
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
        shown: dict[str, object] | None = None,
        **facts: object,
    ) -> None:
        """Write a line.

        Args:
            level: Its level.
            event: What it tells.
            context: Which request it belongs to.
            message: With places for the arguments, the text, and what is shown of secrets.
            arguments: For the message.
            text: What was told of it.
            shown: Outlines of what is secret, by their names.
            facts: Further fields.
        """
        shown = shown or {}
        outlines = "".join(f" {name}={json.dumps(each, ensure_ascii=False)}" for name, each in shown.items())
        told = *arguments, f": {text}" if text else "", outlines
        logger = self._logger
        file, line, function, _ = logger.findCaller()
        record = logger.makeRecord(logger.name, level, file, line, message, told, None, function)
        # `extra` would refuse what a record has already, such as an app's own correlation_id.
        record.__dict__.update({"event": event, **context, **_NO_FACTS, **shown, **facts})
        logger.handle(record)


_NO_FACTS: dict[str, object] = dict.fromkeys(
    (
        *("status", "seconds", "end", "error", "description"),
        *("method", "path", "remote_addr", *sorted(SECRET_FIELDS)),
    )
)
"""All lines have all fields, so that a format may name any of them."""


def _context(
    request: InstanceRequest, operation: Operation, operation_id: str | None, *, is_attempt: bool
) -> Fields:
    return context_of(
        operation,
        operation_id=operation_id,
        instance_id=request.instance_id,
        binding_id=getattr(request, "binding_id", None),
        request=request,
        headers=request.headers,
        attempt=attempt_of(request) if is_attempt else None,
    )


def _subject(context: Fields) -> str:
    """What a line is about: ``bind of i1/b1 (db, small)``."""
    ids = "/".join(
        _quoted(str(context[name])) for name in ("instance_id", "binding_id") if context[name] is not None
    )
    names = ", ".join(str(context[name]) for name in ("offering", "plan") if context[name] is not None)
    operation = context["operation"] or "request"
    return f"{operation}{' of ' if ids else ''}{ids}{f' ({names})' if names else ''}"


def _quoted(resource_id: str) -> str:
    """An id as it stands in a sentence, which none must go on with."""
    return json.dumps(resource_id, ensure_ascii=False) if " " in resource_id else resource_id


def _level_of(end: AttemptEnd, error: BaseException | None) -> int:
    """ERROR only for what nobody meant; that an operation failed has a line of its own."""
    if end in (AttemptEnd.FAILED, AttemptEnd.INTERRUPTED):
        is_meant = error is None or isinstance(error, BrokerError)
        return logging.INFO if is_meant and end is AttemptEnd.FAILED else logging.ERROR
    return logging.INFO


def _told(error: BaseException | None) -> str | None:
    """What may be said of an exception: the text of one that is not for the platform may hold secrets."""
    if isinstance(error, Retry):
        error = error.__cause__
    if error is None:
        return None
    return (
        _safe(error.description)
        if isinstance(error, BrokerError)
        else escape_line_breaks(type(error).__name__)
    )


def _safe(description: str) -> str:
    """What a platform's user is told; it should have no secrets."""
    return escape_line_breaks(mask_text(description), LONGEST_TEXT)
