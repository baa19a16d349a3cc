"""Synchronous handlers, which run once in the request and whose result is stored before the response."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ..background.runtime import Runtime
from ..errors import BrokerError, ConcurrencyError, HandlerMistake, Retry
from ..handlers.group import Handler
from ..handlers.invocation import call_handler, check_pollable, naming_handler
from ..handlers.table import HandlerTable
from ..lifecycle.conversion import dump_request
from ..lifecycle.events import OperationRef
from ..lifecycle.outcomes import (
    accepted_outcome,
    failure_change,
    failure_outcome,
    is_gone,
    planned_change,
    stored_result,
    success_change,
)
from ..protocol.encoding import EMPTY_RESULTS, EncodedResponse, encode_result
from ..requests import InstanceRequest, Operation
from ..results import Accepted
from ..store.errors import StoreUnavailable
from ..store.models import Attempt, BindingRecord, Change, InstanceRecord, Outcome, Progress
from ..store.retry import follower_of, is_written, persist

_logger = logging.getLogger(__name__)

_PATIENCE = 3.0
"""The maximum seconds that a response waits for a store that became unavailable during the handler."""


class ClaimedRequest(Struct, frozen=True):
    """A request whose operation was claimed, and the stored state before the claim.

    Args:
        attempt: The attempt of the operation.
        request: The request for the handler.
        instance: The instance before the request.
        binding: The binding before the request.
        previous: The id of the previous operation.
    """

    attempt: Attempt
    request: InstanceRequest
    instance: InstanceRecord | None = None
    binding: BindingRecord | None = None
    previous: str | None = None


def run_inline(
    runtime: Runtime, table: HandlerTable, handler: Handler, claimed: ClaimedRequest
) -> tuple[object, EncodedResponse]:
    """Call the handler and store its result.

    Returns:
        The result of the handler, and the response.

    Raises:
        BrokerError: The handler refused the request, which changes nothing, or failed, which is stored.
        HandlerMistake: The handler returned an invalid result.
    """
    attempt, request = claimed.attempt, claimed.request
    runtime.heartbeat.add(attempt)
    inline = _InlineAttempt(runtime, claimed, planned_change(attempt.kind, request, claimed.instance))
    try:
        try:
            result, response = _call(table, handler, attempt, request)
        except BaseException as error:
            inline.failed(error)
            raise
        inline.finished(result)
    finally:
        inline.close()
    return result, response


def _call(
    table: HandlerTable, handler: Handler, attempt: Attempt, request: Any
) -> tuple[object, EncodedResponse]:
    try:
        _, result = call_handler(handler, request)
    except Retry as retry:
        raise HandlerMistake(f"{handler} raised Retry, which requires background=True") from retry
    if result is None:
        result = EMPTY_RESULTS.get(attempt.kind)
    if type(result) is Accepted:
        check_pollable(table, attempt.kind, handler, request.offering, request.plan)
    with naming_handler(handler):
        stored_result(attempt.kind, result, None, None)  # raises HandlerMistake for invalid data
        public_result = (
            replace(result, operation=attempt.operation_id) if type(result) is Accepted else result
        )
        response = encode_result(
            attempt.kind,
            public_result,
            offering=request.offering,
            accepts_incomplete=request.accepts_incomplete,
        )
    return result, response


class _InlineAttempt:
    """The attempt of a synchronous handler, whose end is stored before the response."""

    def __init__(self, runtime: Runtime, claimed: ClaimedRequest, planned: Change) -> None:
        self._runtime = runtime
        self._planned = planned
        self._store = runtime.store
        self._claimed = claimed
        self._attempt = claimed.attempt
        self._ref = OperationRef.now(claimed.attempt.operation_id, claimed.attempt.kind)
        self._started = monotonic()
        self._is_deferred = False

    def close(self) -> None:
        """Stop the heartbeat of the attempt, unless its end is yet to be written."""
        if not self._is_deferred:
            self._runtime.heartbeat.remove(self._attempt)

    def finished(self, result: object) -> None:
        """Store the result of a handler.

        Raises:
            ConcurrencyError: The operation was cancelled. The operation that follows receives the result.
            StoreUnavailable: The store is unavailable. The result is stored when it is available again.
        """
        claimed, kind, store = self._claimed, self._attempt.kind, self._store
        if isinstance(result, Accepted):
            outcome, made = accepted_outcome(kind, result, claimed.instance, claimed.binding)
            write = partial(store.accept, self._attempt, outcome, dump_request(claimed.request), made)
            leads_to = Progress.IN_PROGRESS
        else:
            change = success_change(kind, self._planned, result, claimed.instance, claimed.binding)
            made = change.result
            write = partial(store.end, self._attempt, Progress.SUCCEEDED, None, change)
            leads_to = Progress.SUCCEEDED
        if not self._write(write, leads_to, told=result, made=made):
            raise ConcurrencyError(
                "The operation was cancelled or the resource was deleted while it was running."
            )

    def failed(self, error: BaseException) -> None:
        """Store a failure, or restore the previous state after a refusal (R-REQ-8)."""
        kind, store = self._attempt.kind, self._store
        try:
            if is_gone(kind, error):
                end = partial(store.end, self._attempt, Progress.SUCCEEDED, None, self._planned)
                self._write(end, Progress.SUCCEEDED, told=EMPTY_RESULTS[kind])
            elif _is_refusal(error):
                self._write(partial(store.withdraw, self._attempt, self._claimed.previous), Progress.FAILED)
            else:
                outcome = failure_outcome(error)
                end = partial(store.end, self._attempt, Progress.FAILED, outcome, failure_change(kind))
                self._write(end, Progress.FAILED, told=outcome)
        except StoreUnavailable:
            pass  # the response reports the first error, and the failure is stored later

    def _write(
        self, write: Callable[[], bool], leads_to: Progress, *, told: object = None, made: Any = None
    ) -> bool:
        """Write how it ended; if the store stays away, have that done later.

        Args:
            write: Writes it.
            leads_to: The state that the operation then has.
            told: What the signals are told when it is written: the result, or of a failure its outcome.
            made: What was made, if it turns out that the operation was given up.
        """
        stopping = self._runtime.stopping
        failed = told if isinstance(told, Outcome) else None
        try:
            written = persist(
                self._store,
                self._attempt,
                write,
                stopping,
                leads_to=leads_to,
                outcome=failed,
                patience=_PATIENCE,
            )
        except StoreUnavailable:
            self._is_deferred = True
            later = partial(self._write_now, write, leads_to, told, made)
            self._runtime.scheduler.defer_write(self._attempt, later)
            raise
        return self._settle(written, told, made)

    def _write_now(self, write: Callable[[], bool], leads_to: Progress, told: object, made: Any) -> None:
        failed = told if isinstance(told, Outcome) else None
        written = write() or is_written(self._store, self._attempt, leads_to, failed)
        with self._runtime.app.app_context():  # as receivers have it elsewhere
            self._settle(written, told, made)

    def _settle(self, written: bool, told: object, made: Any) -> bool:
        if not written:
            self._leave(made)
        elif told is not None:
            self._tell(told)
        return written

    def _tell(self, told: object) -> None:
        teller, seconds = self._runtime.publisher, monotonic() - self._started
        request = self._claimed.request
        if isinstance(told, Outcome):
            teller.failed_inline(self._ref, request, told, seconds)
        elif isinstance(told, Accepted):
            teller.accepted(self._ref, request, told, seconds)
        else:
            teller.succeeded(self._ref, request, told, seconds)

    def _leave(self, result: Any) -> None:
        """It was given up: let what follows begin, with what was made all the same."""
        if self._attempt.kind is Operation.UPDATE:
            result = None  # an update that failed made nothing (R-UPD-5)
        if not self._store.release(self._attempt, result):
            _logger.warning(
                "a request, the operation %s, ended after its lease was lost; it is not remembered",
                self._attempt.operation_id,
            )
        elif follower := follower_of(self._store, self._attempt):
            self._runtime.submit(follower)


def _is_refusal(error: BaseException) -> bool:
    """A 4xx, which says that nothing was done."""
    if not isinstance(error, BrokerError):
        return False
    try:
        error.check()
    except (ValueError, TypeError):
        return False
    return error.status < 500
