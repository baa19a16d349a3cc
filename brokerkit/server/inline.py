"""Execution of synchronous handlers: one call per request, with the result stored before the response."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ..background.attempt import AttemptEnding, AttemptProtocol, StoredResult, UnstorableEnd
from ..background.runtime import Runtime
from ..errors import ConcurrencyError, HandlerMistake, Retry
from ..handlers.group import Handler
from ..handlers.invocation import call_handler, check_pollable, naming_handler
from ..handlers.table import HandlerTable
from ..lifecycle.events import OperationRef
from ..lifecycle.outcomes import (
    failure_outcome,
    is_gone,
    is_valid_error,
)
from ..protocol.encoding import EMPTY_RESULTS, EncodedResponse, encode_result
from ..requests import InstanceRequest
from ..results import Accepted
from ..store.errors import StoreUnavailable
from ..store.models import Attempt, BindingRecord, InstanceRecord, Outcome, Progress
from ..store.retry import is_written, persist

_PATIENCE = 3.0
"""The maximum seconds that a response waits if the store became unavailable during the handler."""


class ClaimedRequest(Struct, frozen=True):
    """A request with a claimed operation, and the stored state before the claim.

    Args:
        attempt: The attempt of the operation.
        request: The request for the handler.
        instance: The instance before the request. Defaults to None.
        binding: The binding before the request. Defaults to None.
        previous: The id of the last operation before this one. Defaults to None.
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
        BrokerError: The handler refused the request, and the claim is undone. Or the handler failed, and the
            failure is stored.
        HandlerMistake: The handler returned an invalid result.
    """
    attempt, request = claimed.attempt, claimed.request
    runtime.heartbeat.add(attempt)
    inline = _InlineAttempt(runtime, handler, claimed)
    try:
        try:
            result, response = _call(table, handler, attempt, request)
            with naming_handler(handler):
                ending = inline.ending_of(result)
        except BaseException as error:
            inline.fail(error)
            raise
        inline.finish(ending)
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


class _InlineAttempt(AttemptProtocol):
    """The attempt of a synchronous handler. Its end is stored before the response."""

    def __init__(self, runtime: Runtime, handler: Handler, claimed: ClaimedRequest) -> None:
        attempt = claimed.attempt
        super().__init__(
            runtime.store,
            attempt,
            handler,
            claimed.request,
            claimed.instance,
            claimed.binding,
            runtime.submit,
        )
        self._runtime = runtime
        self._previous = claimed.previous
        self._ref = OperationRef.now(attempt.operation_id, attempt.kind)
        self._started = monotonic()
        self._is_deferred = False

    def close(self) -> None:
        """Stop the heartbeat of the attempt, unless its end must still be written."""
        if not self._is_deferred:
            self._runtime.heartbeat.remove(self._attempt)

    def finish(self, ending: AttemptEnding) -> None:
        """Store the end of an attempt whose handler returned a result.

        Raises:
            ConcurrencyError: The operation was cancelled. The operation that deletes the resource receives
                the result.
            StoreUnavailable: The store is unavailable. The result is stored when it is available again.
            UnstorableEnd: The result could not be written, and a failure is stored.
        """
        if not self.conclude(ending):
            raise ConcurrencyError(
                "The operation was cancelled or the resource was deleted while it was running."
            )

    def fail(self, error: BaseException) -> None:
        """Store an exception as a failure, or restore the previous state after a refusal (R-REQ-8)."""
        try:
            if is_gone(self._attempt.kind, error):
                self.gone()
            elif is_valid_error(error) and error.status < 500:  # a refusal: nothing changed
                withdraw = partial(self._store.withdraw, self._attempt, self._previous)
                self.conclude(AttemptEnding(withdraw, leads_to=None))
            else:
                self.failed(failure_outcome(error))
        except (StoreUnavailable, UnstorableEnd):
            pass  # the response reports the first error; in an outage, the failure is stored later

    def _write(self, ending: AttemptEnding) -> bool:
        """Store an ending, or defer the write if the store stays unavailable."""
        try:
            return self._persist(ending)
        except StoreUnavailable:
            self._defer(partial(self._write_deferred, ending))
            raise

    def _persist(self, ending: AttemptEnding) -> bool:
        return persist(
            self._store,
            self._attempt,
            ending.write,
            self._runtime.stopping,
            leads_to=ending.leads_to,
            outcome=ending.outcome,
            patience=_PATIENCE,
        )

    def _defer(self, write: Callable[[], object]) -> None:
        self._is_deferred = True
        self._runtime.scheduler.defer_write(self._attempt, write)

    def _write_deferred(self, ending: AttemptEnding) -> None:
        written = self._write_again(ending)
        with self._runtime.app.app_context():  # receivers of signals may rely on an app context
            self._settle(ending, written)

    def _write_again(self, ending: AttemptEnding) -> bool:
        """Write an ending once more, after a commit that may have succeeded without a response."""
        return ending.write() or is_written(self._store, self._attempt, ending.leads_to, ending.outcome)

    def released(self, result: StoredResult) -> None:
        """Implement :meth:`AttemptProtocol.released`. If the store stays unavailable, defer the release."""
        release = partial(super().released, result)
        try:
            release()
        except StoreUnavailable:
            if not self._is_deferred:  # otherwise the scheduler repeats the deferred write
                self._defer(release)
            raise

    def _write_release(self, write: Callable[[], bool]) -> bool:
        ending = AttemptEnding(write, Progress.FAILED)
        return self._write_again(ending) if self._is_deferred else self._persist(ending)

    def _publish_success(self, result: Any) -> None:
        self._runtime.publisher.succeeded(self._ref, self._request, result, self._seconds)

    def _publish_acceptance(self, result: Accepted) -> None:
        self._runtime.publisher.accepted(self._ref, self._request, result, self._seconds)

    def _publish_failure(self, outcome: Outcome) -> None:
        self._runtime.publisher.failed_inline(self._ref, self._request, outcome, self._seconds)

    @property
    def _seconds(self) -> float:
        return monotonic() - self._started
