"""Attempts of background operations, from claim to end."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Generator
from functools import partial
from threading import Event
from time import monotonic
from typing import Any

from flask import Flask
from msgspec.structs import replace

from .. import signals
from .._context import CallContext, attempt_context
from .._internal.forks import EndForkedChild
from .._internal.text import quote_id
from ..errors import BrokerError, HandlerMistake, Retry
from ..handlers.group import Handler
from ..handlers.invocation import call_handler, check_pollable, naming_handler
from ..handlers.table import HandlerTable
from ..lifecycle.conversion import load_request, resolve_plan
from ..lifecycle.events import EventPublisher, OperationRef
from ..lifecycle.outcomes import UNKNOWN_FAILURE, failure_outcome, is_gone
from ..protocol.encoding import EMPTY_RESULTS, encode_result
from ..requests import InstanceRequest
from ..results import Accepted, LastOperation
from ..signals import AttemptEnd
from ..store.errors import StoreUnavailable
from ..store.models import Attempt, OperationRecord, Outcome, Progress, Snapshot
from ..store.retry import follower_of, persist
from ..store.store import Store
from .attempt import AttemptEnding, AttemptProtocol, StoredResult, UnstorableEnd
from .heartbeat import Heartbeat

_logger = logging.getLogger(__name__)


_RETRY_AFTER = 0.5
"""The seconds until the next attempt, if the store was unavailable before the handler was called."""


class _Stopped(Exception):
    """The end of an attempt at a `yield`, after its generator was closed.

    Args:
        resumes: Whether the operation is requeued. Otherwise it was cancelled or taken over.
    """

    def __init__(self, *, resumes: bool) -> None:
        super().__init__()
        self.resumes = resumes


class _NotStarted(Exception):
    """An error before the call of the handler. Its cause is the exception."""


class Worker:
    """Runs attempts of background operations.

    Args:
        publisher: The publisher of signals.
        store: The store.
        heartbeat: The heartbeat, which renews the leases of attempts.
        app: Returns the Flask app. Handlers run in the context of that app.
        table: Returns the handler table.
        submit: Submits an operation again, after a delay in seconds.
        stopping: The event that is set when the process is about to exit.
        at_yield: Called after each `yield` of a handler, in the thread of the attempt, if the operation was
            not cancelled or taken over.
        defer: Writes the end of an attempt later, and renews its lease until then.
        grace: The seconds for which an end is retried in an outage while the process shuts down.
    """

    def __init__(
        self,
        publisher: EventPublisher,
        store: Store,
        heartbeat: Heartbeat,
        *,
        app: Callable[[], Flask],
        table: Callable[[], HandlerTable],
        submit: Callable[[str, float], None],
        stopping: Event,
        at_yield: Callable[[], None],
        defer: Callable[[Attempt, Callable[[], object]], None],
        grace: float,
    ) -> None:
        self.publisher = publisher
        self.store = store
        self._heartbeat = heartbeat
        self._app = app
        self._table = table
        self.submit = submit
        self.stopping = stopping
        self.at_yield = at_yield
        self._defer = defer
        self.grace = grace
        self._unserved: set[str] = set()

    def run(self, operation_id: str) -> None:
        """Run the next attempt of an operation if it is due and can be claimed. Raises no exceptions."""
        if self.stopping.is_set():
            return  # another process begins the attempt, or this one after its restart
        try:
            operation = self.store.begin(operation_id, self._is_served)
            if operation is None:
                return
            attempt = Attempt.of(operation)
            self._heartbeat.add(attempt)
            try:
                with self._app().app_context(), attempt_context(operation.kind, operation.id) as context:
                    self._attempt(operation, attempt, context)
            except _NotStarted as error:
                self._hand_over(operation, attempt, error.__cause__)
                return
            except BaseException:
                self._heartbeat.remove(attempt)
                raise
            self._heartbeat.remove(attempt)
        except StoreUnavailable:
            pass  # the store has logged it, and the operation is recovered when the store is available
        except BaseException:
            _logger.exception(
                "Cannot complete an attempt of the operation %s; will retry after its lease expires",
                operation_id,
            )

    def _hand_over(self, operation: OperationRecord, attempt: Attempt, cause: BaseException | None) -> None:
        """Hand over an operation whose handler was not called, as soon as the store is available."""
        after = _RETRY_AFTER
        if not isinstance(cause, StoreUnavailable):
            after = self.store.lease
            message = "%s: attempt %d ended before its handler was called; will retry in %g seconds"
            _logger.error(message, describe(operation), operation.tries, after, exc_info=cause)

        def write() -> None:
            if self.store.postpone(attempt, after, None, handover=True):
                self.submit(operation.id, after)
                return
            is_cancelled = self.store.release(attempt, None)
            follower = follower_of(self.store, attempt) if is_cancelled else None
            if follower is not None:
                self.submit(follower, 0.0)

        self._defer(attempt, write)

    def _is_served(self, operation: OperationRecord) -> bool:
        """Whether this process has a handler for an operation. During a rollout, some processes have none."""
        table = self._table()
        offering, plan = resolve_plan(table.catalog, operation.service_id, operation.plan_id)
        if table.handlers_for(operation.kind, offering, plan):
            return True
        if operation.id not in self._unserved:
            self._unserved.add(operation.id)
            _logger.warning(
                "%s was not started: this process has no @%s handler for the plan %r",
                describe(operation),
                operation.kind,
                operation.plan_id,
            )
        return False

    def _attempt(self, operation: OperationRecord, attempt: Attempt, context: CallContext) -> None:
        started = monotonic()
        try:
            running, facts = self._start(operation, attempt, context, started)
        except BaseException as error:
            raise _NotStarted from error
        try:
            running.run()
        except BaseException as error:
            running.cause = error
            raise
        finally:
            signals.send(
                signals.attempt_finished,
                self.publisher.sender,
                **facts,
                end=running.end,
                seconds=monotonic() - started,
                error=running.cause,
            )

    def _start(
        self, operation: OperationRecord, attempt: Attempt, context: CallContext, started: float
    ) -> tuple[_BackgroundAttempt, dict[str, Any]]:
        """Prepare the call of the handler, and announce it to the receivers of signals.

        Returns:
            The attempt, and the arguments of its signals.
        """
        snapshot = self.store.find_by_key(operation.instance_key, operation.binding_key)
        table = self._table()
        request: Any = load_request(self.store, table.catalog, operation, snapshot.instance, snapshot.binding)
        handler = table.handlers_for(operation.kind, request.offering, request.plan)[0]
        context.request, context.headers = request, request.headers
        context.instance_id, context.binding_id = request.instance_id, getattr(request, "binding_id", None)
        _logger.info("%s: attempt %d started", describe(operation), operation.tries)
        facts = {"request": request, "operation": operation.kind, "operation_id": operation.id}
        trace_context = signals.send(signals.attempt_started, self.publisher.sender, **facts)
        if trace_context is not None:
            headers = replace(request.headers, trace_context=dict(trace_context))
            request = facts["request"] = replace(request, headers=headers)
            context.request, context.headers = request, headers
        running = _BackgroundAttempt(self, operation, attempt, table, handler, request, snapshot, started)
        return running, facts


class _BackgroundAttempt(AttemptProtocol):
    """One attempt of a background operation.

    Attributes:
        end: How the attempt ended.
        cause: The exception that ended the attempt, or None.
    """

    def __init__(
        self,
        worker: Worker,
        operation: OperationRecord,
        attempt: Attempt,
        table: HandlerTable,
        handler: Handler,
        request: InstanceRequest,
        snapshot: Snapshot,
        started: float,
    ) -> None:
        super().__init__(
            worker.store, attempt, handler, request, snapshot.instance, snapshot.binding, worker.submit
        )
        self.end = AttemptEnd.INTERRUPTED
        self.cause: BaseException | None = None
        self._worker = worker
        self._table = table
        self._operation = operation
        self._kind = operation.kind
        self._started = started

    def run(self) -> None:
        """Call the handler and store the end of the attempt."""
        handler = self._handler
        if handler.max_attempts is not None and self._counted_attempts > handler.max_attempts:
            return self._fail(
                HandlerMistake(f"{handler} was interrupted in each of {handler.max_attempts} attempts")
            )
        return self._run(handler)

    @property
    def _counted_attempts(self) -> int:
        """The number of attempts that count for `max_attempts`, with this one."""
        return self._operation.tries - self._operation.handovers

    def _run(self, handler: Handler) -> None:
        try:
            result = self._call(handler)
            if type(result) is Accepted:
                offering, plan = self._request.offering, self._request.plan
                check_pollable(self._table, self._kind, handler, offering, plan)
            with naming_handler(handler):
                self._check(result)
                ending = self.ending_of(result)
        except _Stopped as stopped:
            self._stop(resumes=stopped.resumes)
        except Retry as retry:
            self.cause = retry
            self._retry(handler, retry)
        except BaseException as error:  # noqa: BLE001 - every exception of a handler ends its attempt
            if is_gone(self._kind, error):
                self.gone()
            else:
                self._fail(error)
        else:
            self.conclude(ending)

    def _call(self, handler: Handler) -> object:
        _, result = call_handler(handler, self._request)
        if inspect.isgenerator(result):
            result = self._drive(handler, result)
        return EMPTY_RESULTS.get(self._kind) if result is None else result

    def _drive(self, handler: Handler, steps: Generator[object, Any, object]) -> object:
        """Run a generator step by step, and publish the progress that it yields."""
        while True:
            try:
                with EndForkedChild():
                    description = next(steps)
            except StopIteration as end:
                return end.value
            if description is not None and not isinstance(description, str):
                self._close(handler, steps)
                raise HandlerMistake(
                    f"{handler} yielded a {type(description).__name__}; yield a progress text for the user,"
                    " and return the result"
                )
            is_current = self._record_progress(description)
            if is_current:
                self._worker.at_yield()
            if not is_current or self._worker.stopping.is_set():
                self._close(handler, steps)
                raise _Stopped(resumes=is_current)

    def _close(self, handler: Handler, steps: Generator[object, Any, object]) -> None:
        """Run the `finally` clauses of a generator. Their exceptions do not affect the operation."""
        try:
            with EndForkedChild():
                steps.close()
        except Exception:
            _logger.exception("Cleanup of %s failed [%s]", handler, describe(self._operation))

    def _record_progress(self, description: str | None) -> bool:
        """Store and publish progress. Return False if the operation was cancelled or taken over."""
        try:
            if not self._store.record_progress(self._attempt, Outcome(description=description or None)):
                return False
        except StoreUnavailable:
            return True  # the end of the attempt will detect a lost claim
        self._publish_progress(description)
        return True

    def _check(self, result: Any) -> None:
        public_result = replace(result, operation=self._operation.id) if type(result) is Accepted else result
        encode_result(self._kind, public_result, offering=self._request.offering, accepts_incomplete=True)

    # Ends

    @property
    def _success_outcome(self) -> Outcome:
        """The outcome of a success, which has no description."""
        return Outcome()

    def _fail(self, error: BaseException) -> None:
        """Store and publish an exception of the handler as a failure."""
        self.cause = error
        self.failed(_log_failure(self._operation, self._handler, error))

    def _stop(self, *, resumes: bool) -> None:
        """Store the end of an attempt whose generator was closed, and hand the operation over."""
        hand_over = partial(self._store.postpone, self._attempt, 0.0, None, handover=True)
        if resumes and self._persist(AttemptEnding(hand_over, Progress.IN_PROGRESS)):
            self.end = AttemptEnd.REQUEUED
            self._submit(self._operation.id, 0.0)
        else:
            self.released(None)

    def _retry(self, handler: Handler, retry: Retry) -> None:
        attempts = self._counted_attempts
        if handler.max_attempts is not None and attempts >= handler.max_attempts:
            description = retry.description or f"The operation did not succeed in {attempts} attempts."
            return self._fail(BrokerError(description))
        outcome = Outcome(description=retry.description) if retry.description else None
        write = partial(self._store.postpone, self._attempt, retry.after, outcome)
        self.conclude(AttemptEnding(write, Progress.IN_PROGRESS, partial(self._publish_retry, retry)))
        return None

    def conclude(self, ending: AttemptEnding) -> bool:
        """Implement :meth:`AttemptProtocol.conclude`. A failure in place of the end is not an error here."""
        try:
            return super().conclude(ending)
        except UnstorableEnd as error:
            self.cause = error.__cause__
            return True

    def released(self, result: StoredResult) -> None:
        """Implement :meth:`AttemptProtocol.released`."""
        self.end = AttemptEnd.CANCELLED
        super().released(result)

    def _write(self, ending: AttemptEnding) -> bool:
        return self._persist(ending)

    def _write_release(self, write: Callable[[], bool]) -> bool:
        return self._persist(AttemptEnding(write, Progress.FAILED))

    def _persist(self, ending: AttemptEnding) -> bool:
        return persist(
            self._store,
            self._attempt,
            ending.write,
            self._worker.stopping,
            leads_to=ending.leads_to,
            outcome=ending.outcome,
            grace=self._worker.grace,
        )

    # Events

    @property
    def _ref(self) -> OperationRef:
        return OperationRef.of(self._operation)

    @property
    def _seconds(self) -> float:
        """The seconds since the request: by the store's clock until this attempt, then by the local clock."""
        before_attempt = self._operation.updated_at - self._operation.created_at
        return max(0.0, before_attempt) + monotonic() - self._started

    def _publish_success(self, result: Any) -> None:
        self.end = AttemptEnd.SUCCEEDED
        _logger.info("%s succeeded", describe(self._operation))
        if getattr(result, "exists", False):  # `exists` has no meaning for background operations
            result = replace(result, exists=False)
        self._worker.publisher.succeeded(self._ref, self._request, result, self._seconds)

    def _publish_acceptance(self, result: Accepted) -> None:
        self.end = AttemptEnd.ACCEPTED  # `operation_started` was sent with the 202

    def _publish_failure(self, outcome: Outcome) -> None:
        self.end = AttemptEnd.FAILED
        self._worker.publisher.failed(self._ref, self._request, outcome, self._seconds)

    def _publish_retry(self, retry: Retry) -> None:
        cause = retry.__cause__  # the cause explains repeated retries in the log
        _logger.log(
            logging.WARNING if cause else logging.INFO,
            "%s will be retried in %g seconds",
            describe(self._operation),
            retry.after,
            exc_info=cause,
        )
        self.end = AttemptEnd.RETRIED
        self._publish_progress(retry.description)
        self._submit(self._operation.id, retry.after)

    def _publish_progress(self, description: str | None) -> None:
        result = LastOperation.in_progress(description)
        self._worker.publisher.progressed(self._ref, self._request, result, self._seconds)


def describe(operation: OperationRecord) -> str:
    """Describe an operation by its id, kind and instance, for log records."""
    return f"Operation {operation.id} ({operation.kind} of {quote_id(operation.instance_key)})"


def _log_failure(operation: OperationRecord, handler: Handler, error: BaseException) -> Outcome:
    outcome = failure_outcome(error)
    if isinstance(error, HandlerMistake):
        _logger.error("%s [%s]", error, describe(operation))
    elif outcome is UNKNOWN_FAILURE:
        _logger.error("%s failed in %s", describe(operation), handler, exc_info=error)
    else:  # raised deliberately by the handler
        _logger.warning("%s failed: %r", describe(operation), outcome.description)
    return outcome
