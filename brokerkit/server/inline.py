"""A handler that is asked in the request itself: once, and what it did is durable before its answer."""

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

_logger = logging.getLogger("brokerkit")

_PATIENCE = 3.0
"""For how many seconds an answer waits for a store that went away while its handler ran."""


class ClaimedRequest(Struct, frozen=True):
    """A request that was let in, and what the store knew when it was.

    Args:
        attempt: Its attempt.
        request: The request, for the handler.
        instance: The instance before it.
        binding: The binding before it.
        previous: The id of the last operation before it.
    """

    attempt: Attempt
    request: InstanceRequest
    instance: InstanceRecord | None = None
    binding: BindingRecord | None = None
    previous: str | None = None


def run_inline(
    running: Runtime, table: HandlerTable, handler: Handler, claimed: ClaimedRequest
) -> tuple[object, EncodedResponse]:
    """Ask the handler, and remember what it did.

    Raises:
        BrokerError: It refused, which changed nothing; or failed, which is remembered.
        HandlerMistake: It answered what no platform may be told.
    """
    attempt, request = claimed.attempt, claimed.request
    running.heartbeat.add(attempt)
    ending = _InlineAttempt(running, claimed, planned_change(attempt.kind, request, claimed.instance))
    try:
        try:
            result, answer = _ask(table, handler, attempt, request)
        except BaseException as error:
            ending.failed(error)
            raise
        ending.went_well(result)
    finally:
        ending.close()
    return result, answer


def _ask(
    table: HandlerTable, handler: Handler, attempt: Attempt, request: Any
) -> tuple[object, EncodedResponse]:
    try:
        _, result = call_handler(handler, request)
    except Retry as retry:
        raise HandlerMistake(f"{handler} raised Retry, which is for background=True") from retry
    told = EMPTY_RESULTS.get(attempt.kind) if result is None else result
    if type(told) is Accepted:
        check_pollable(table, attempt.kind, handler, request.offering, request.plan)
    with naming_handler(handler):
        stored_result(attempt.kind, told, None, None)  # finds what cannot be
        shown = replace(told, operation=attempt.operation_id) if type(told) is Accepted else told
        answer = encode_result(
            attempt.kind, shown, offering=request.offering, accepts_incomplete=request.accepts_incomplete
        )
    return told, answer


class _InlineAttempt:
    """How an attempt ends, in the store."""

    def __init__(self, running: Runtime, claimed: ClaimedRequest, plan: Change) -> None:
        self._running = running
        self._plan = plan
        self._store = running.store
        self._claimed = claimed
        self._attempt = claimed.attempt
        self._asked = OperationRef.now(claimed.attempt.operation_id, claimed.attempt.kind)
        self._began = monotonic()
        self._is_pending = False

    def close(self) -> None:
        if not self._is_pending:
            self._running.heartbeat.remove(self._attempt)

    def went_well(self, result: object) -> None:
        """Remember what was done.

        Raises:
            ConcurrencyError: It was halted meanwhile; what follows gets what was made.
            StoreUnavailable: The store is away. It is remembered when it is back.
        """
        claimed, kind, store = self._claimed, self._attempt.kind, self._store
        if isinstance(result, Accepted):
            outcome, made = accepted_outcome(kind, result, claimed.instance, claimed.binding)
            write = partial(store.accept, self._attempt, outcome, dump_request(claimed.request), made)
            leads_to = Progress.IN_PROGRESS
        else:
            change = success_change(kind, self._plan, result, claimed.instance, claimed.binding)
            made = change.result
            write = partial(store.end, self._attempt, Progress.SUCCEEDED, None, change)
            leads_to = Progress.SUCCEEDED
        if not self._write(write, leads_to, told=result, made=made):
            raise ConcurrencyError("It was given up, or deleted, while it was being done.")

    def failed(self, error: BaseException) -> None:
        """Remember that it failed, or, after a refusal, nothing at all (R-REQ-8)."""
        kind, store = self._attempt.kind, self._store
        try:
            if is_gone(kind, error):
                end = partial(store.end, self._attempt, Progress.SUCCEEDED, None, self._plan)
                self._write(end, Progress.SUCCEEDED, told=EMPTY_RESULTS[kind])
            elif _is_refusal(error):
                self._write(partial(store.withdraw, self._attempt, self._claimed.previous), Progress.FAILED)
            else:
                outcome = failure_outcome(error)
                end = partial(store.end, self._attempt, Progress.FAILED, outcome, failure_change(kind))
                self._write(end, Progress.FAILED, told=outcome)
        except StoreUnavailable:
            pass  # what went wrong first is told; this is written later

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
        stopping = self._running.stopping
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
            self._is_pending = True
            later = partial(self._write_now, write, leads_to, told, made)
            self._running.scheduler.defer_write(self._attempt, later)
            raise
        return self._settle(written, told, made)

    def _write_now(self, write: Callable[[], bool], leads_to: Progress, told: object, made: Any) -> None:
        failed = told if isinstance(told, Outcome) else None
        written = write() or is_written(self._store, self._attempt, leads_to, failed)
        with self._running.app.app_context():  # as receivers have it elsewhere
            self._settle(written, told, made)

    def _settle(self, written: bool, told: object, made: Any) -> bool:
        if not written:
            self._leave(made)
        elif told is not None:
            self._tell(told)
        return written

    def _tell(self, told: object) -> None:
        teller, seconds = self._running.publisher, monotonic() - self._began
        request = self._claimed.request
        if isinstance(told, Outcome):
            teller.failed_inline(self._asked, request, told, seconds)
        elif isinstance(told, Accepted):
            teller.accepted(self._asked, request, told, seconds)
        else:
            teller.succeeded(self._asked, request, told, seconds)

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
            self._running.submit(follower)


def _is_refusal(error: BaseException) -> bool:
    """A 4xx, which says that nothing was done."""
    if not isinstance(error, BrokerError):
        return False
    try:
        error.check()
    except (ValueError, TypeError):
        return False
    return error.status < 500
