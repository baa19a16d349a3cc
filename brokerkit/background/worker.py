"""An attempt of a background operation, from its claim to its end."""

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
from ..errors import BrokerError, HandlerMistake, Retry
from ..handlers.group import Handler
from ..handlers.invocation import call_handler, check_pollable, naming_handler
from ..handlers.table import HandlerTable
from ..lifecycle.conversion import dump_request, load_request, resolve_plan
from ..lifecycle.events import EventPublisher, OperationRef
from ..lifecycle.outcomes import (
    accepted_outcome,
    failure_change,
    failure_outcome,
    is_gone,
    planned_change,
    success_change,
)
from ..protocol.encoding import EMPTY_RESULTS, encode_result
from ..requests import InstanceRequest, Operation
from ..results import Accepted, LastOperation
from ..signals import AttemptEnd
from ..store.errors import StoreUnavailable
from ..store.models import (
    Attempt,
    BindingResult,
    Change,
    InstanceResult,
    OperationRecord,
    Outcome,
    Progress,
    Snapshot,
)
from ..store.retry import follower_of, persist
from ..store.store import Store
from .heartbeat import Heartbeat

_logger = logging.getLogger("brokerkit")


class _Stopped(Exception):
    """An attempt ended at a yield; its generator was closed.

    Args:
        goes_on: Is the operation to go on in another process, or was it given up?
    """

    def __init__(self, *, goes_on: bool) -> None:
        super().__init__()
        self.goes_on = goes_on


class Worker:
    """Runs attempts of background operations.

    Args:
        publisher: Tells the signals.
        store: The store.
        heartbeat: Keeps the attempts alive.
        app: Gives the Flask app whose context handlers run in.
        table: Gives the handlers.
        submit: Has an operation run again later.
        stopping: Is set when the process is about to end.
        at_yield: Called in the thread of an attempt after each `yield` of its handler, when that is
            told, and the attempt goes on.
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
    ) -> None:
        self.publisher = publisher
        self.store = store
        self._heartbeat = heartbeat
        self._app = app
        self._table = table
        self.submit = submit
        self.stopping = stopping
        self.at_yield = at_yield
        self._left: set[str] = set()

    def run(self, operation_id: str) -> None:
        """Run the next attempt of an operation, if it is due and nobody else has it. Raises nothing."""
        try:
            operation = self.store.begin(operation_id, self._is_served)
            if operation is None:
                return
            attempt = Attempt.of(operation)
            self._heartbeat.add(attempt)
            try:
                with self._app().app_context(), attempt_context(operation.kind, operation.id) as current:
                    self._attempt(operation, attempt, current)
            finally:
                self._heartbeat.remove(attempt)
        except StoreUnavailable:
            pass  # it is in the log, and the operation is taken up when the store is back
        except BaseException:
            _logger.exception("the operation %s is interrupted", operation_id)

    def _is_served(self, operation: OperationRecord) -> bool:
        """Is there a handler for it here? While a new version is rolled out, other processes may have one."""
        table = self._table()
        service, plan = resolve_plan(table.catalog, operation.service_id, operation.plan_id)
        if table.handlers_for(operation.kind, service, plan):
            return True
        if operation.id not in self._left:
            self._left.add(operation.id)
            _logger.warning(
                "%s is left to other processes: no @%s handler serves the plan %r here",
                _named(operation),
                operation.kind,
                operation.plan_id,
            )
        return False

    def _attempt(self, operation: OperationRecord, attempt: Attempt, current: CallContext) -> None:
        began = monotonic()
        known = self.store.find_by_key(operation.instance_key, operation.binding_key)
        table = self._table()
        request: Any = load_request(self.store, table.catalog, operation, known.instance, known.binding)
        current.request, current.headers = request, request.headers
        current.instance_id, current.binding_id = request.instance_id, getattr(request, "binding_id", None)
        _logger.info("%s: attempt %d begins", _named(operation), operation.tries)
        facts = {"request": request, "operation": operation.kind, "operation_id": operation.id}
        signals.send(signals.attempt_started, self.publisher.sender, **facts)
        work = _BackgroundAttempt(self, operation, attempt, request, known, began)
        try:
            work.run(table)
        except BaseException as error:
            work.cause = error
            raise
        finally:
            signals.send(
                signals.attempt_finished,
                self.publisher.sender,
                **facts,
                end=work.ended,
                seconds=monotonic() - began,
                error=work.cause,
            )


class _BackgroundAttempt:
    """What one attempt does.

    Attributes:
        ended: How it ended.
        cause: What ended it, if it did not go well.
    """

    def __init__(
        self,
        worker: Worker,
        operation: OperationRecord,
        attempt: Attempt,
        request: InstanceRequest,
        known: Snapshot,
        began: float,
    ) -> None:
        self.ended = AttemptEnd.INTERRUPTED
        self.cause: BaseException | None = None
        self._worker = worker
        self._store = worker.store
        self._operation = operation
        self._attempt = attempt
        self._request: Any = request
        self._known = known
        self._kind = operation.kind
        self._began = began

    def run(self, table: HandlerTable) -> None:
        """Ask the handler, and end as it says."""
        handler = table.handlers_for(self._kind, self._request.offering, self._request.plan)[0]
        if handler.max_attempts is not None and self._operation.tries > handler.max_attempts:
            mistake = HandlerMistake(f"{handler} was interrupted in each of {handler.max_attempts} attempts")
            return self.failed(mistake)
        return self._run(table, handler)

    def _run(self, table: HandlerTable, handler: Handler) -> None:
        instance, binding = self._known.instance, self._known.binding
        plan = planned_change(self._kind, self._request, instance)
        try:
            result = self._ask(handler)
            if type(result) is Accepted:
                check_pollable(table, self._kind, handler, self._request.offering, self._request.plan)
            with naming_handler(handler):
                self._check(result)
                change = success_change(self._kind, plan, result, instance, binding)
        except _Stopped as stopped:
            if stopped.goes_on and self._store.postpone(self._attempt, 0.0, None):
                self.ended = AttemptEnd.HANDED_OVER
                self._worker.submit(self._operation.id, 0.0)
            else:
                self._leave(None)
        except Retry as retry:
            self.cause = retry
            self._retry(handler, retry)
        except BaseException as error:  # noqa: BLE001 - whatever a handler raises ends its attempt
            if is_gone(self._kind, error):
                self._succeeded(EMPTY_RESULTS[self._kind], plan)
            else:
                self.failed(error)
        else:
            try:
                if isinstance(result, Accepted):
                    self._accepted(result)
                else:
                    self._succeeded(result, change)
            except StoreUnavailable:
                raise
            except Exception as error:  # noqa: BLE001 - it is through, and must not run again
                self.failed(error)

    def _ask(self, handler: Handler) -> object:
        _, result = call_handler(handler, self._request)
        if inspect.isgenerator(result):
            result = self._drive(handler, result)
        return EMPTY_RESULTS.get(self._kind) if result is None else result

    def _drive(self, handler: Handler, steps: Generator[object, Any, object]) -> object:
        """Run a generator step by step, and tell what it says of itself."""
        while True:
            try:
                said = next(steps)
            except StopIteration as end:
                return end.value
            if said is not None and not isinstance(said, str):
                steps.close()
                raise HandlerMistake(
                    f"{handler} yielded a {type(said).__name__}; yield a text for the user, and return the"
                    " result"
                )
            is_current = self._note(said)
            if is_current:
                self._worker.at_yield()
            if not is_current or self._worker.stopping.is_set():
                self._close(handler, steps)
                raise _Stopped(goes_on=is_current)

    def _close(self, handler: Handler, steps: Generator[object, Any, object]) -> None:
        """Let its `finally` clauses run. What they raise is no answer of the handler's."""
        try:
            steps.close()
        except Exception:
            _logger.exception("%s failed while it was closed", handler)

    def _note(self, said: str | None) -> bool:
        """Note how far it is. False if the operation was given up or taken over."""
        try:
            if not self._store.record_progress(self._attempt, Outcome(description=said or None)):
                return False
        except StoreUnavailable:
            return True  # whether it is still ours, its end will show
        self._tell_progress(said)
        return True

    def _check(self, result: Any) -> None:
        shown = replace(result, operation=self._operation.id) if type(result) is Accepted else result
        encode_result(self._kind, shown, offering=self._request.offering, accepts_incomplete=True)

    # Ends

    def _succeeded(self, result: Any, change: Change) -> None:
        end = partial(self._store.end, self._attempt, Progress.SUCCEEDED, Outcome(), change)
        if not self._persist(end, Progress.SUCCEEDED):
            self._leave(change.result)
            return
        self.ended = AttemptEnd.SUCCEEDED
        _logger.info("%s succeeded", _named(self._operation))
        if getattr(result, "exists", False):  # which says nothing of what was made in the background
            result = replace(result, exists=False)
        self._worker.publisher.succeeded(self._asked, self._request, result, self._seconds)

    def _accepted(self, result: Accepted) -> None:
        """The work goes on elsewhere after all, and is polled from now on."""
        outcome, kept_result = accepted_outcome(self._kind, result, self._known.instance, self._known.binding)
        accept = partial(self._store.accept, self._attempt, outcome, dump_request(self._request), kept_result)
        if self._persist(accept, Progress.IN_PROGRESS):
            self.ended = AttemptEnd.ACCEPTED
        else:
            self._leave(kept_result)

    def failed(self, error: BaseException) -> None:
        """The handler refused or failed, or there is none."""
        self.cause = error
        outcome = _log(self._operation, error)
        change = failure_change(self._kind)
        end = partial(self._store.end, self._attempt, Progress.FAILED, outcome, change)
        if self._persist(end, Progress.FAILED, outcome):
            self.ended = AttemptEnd.FAILED
            self._worker.publisher.failed(self._asked, self._request, outcome, self._seconds)
        else:
            self._leave(None)

    def _retry(self, handler: Handler, retry: Retry) -> None:
        attempts = self._operation.tries
        if handler.max_attempts is not None and attempts >= handler.max_attempts:
            return self.failed(
                BrokerError(retry.description or f"It was not done after {attempts} attempts.")
            )
        outcome = Outcome(description=retry.description) if retry.description else None
        postpone = partial(self._store.postpone, self._attempt, retry.after, outcome)
        if self._persist(postpone, Progress.IN_PROGRESS):
            cause = retry.__cause__  # without it nobody would learn what it fails on, again and again
            _logger.log(
                logging.WARNING if cause else logging.INFO,
                "%s: tried again in %g seconds",
                _named(self._operation),
                retry.after,
                exc_info=cause,
            )
            self.ended = AttemptEnd.RETRIED
            self._tell_progress(retry.description)
            self._worker.submit(self._operation.id, retry.after)
        else:
            self._leave(None)
        return None

    def _leave(self, result: InstanceResult | BindingResult | None) -> None:
        """The operation was given up, or taken over: let what follows begin, if it waits for us.

        Args:
            result: What was made all the same, for who deletes it. An update that failed made nothing.
        """
        self.ended = AttemptEnd.GIVEN_UP
        if self._kind is Operation.UPDATE:
            result = None
        if not self._persist(partial(self._store.release, self._attempt, result), Progress.FAILED):
            _logger.warning(
                "an attempt of the operation %s ended after its lease was lost; it is not remembered",
                self._operation.id,
            )
        elif follower := follower_of(self._store, self._attempt):
            self._worker.submit(follower, 0.0)

    def _persist(self, write: Callable[[], bool], leads_to: Progress, outcome: Outcome | None = None) -> bool:
        """Write how it ended, however long the store is away."""
        stopping = self._worker.stopping
        return persist(self._store, self._attempt, write, stopping, leads_to=leads_to, outcome=outcome)

    # Telling

    @property
    def _asked(self) -> OperationRef:
        return OperationRef.of(self._operation)

    @property
    def _seconds(self) -> float:
        """How long ago it was asked for: until this attempt by the store's clock, then by ours."""
        waited = self._operation.updated_at - self._operation.created_at
        return max(0.0, waited) + monotonic() - self._began

    def _tell_progress(self, description: str | None) -> None:
        result = LastOperation.in_progress(description)
        self._worker.publisher.progressed(self._asked, self._request, result, self._seconds)


def _named(operation: OperationRecord) -> str:
    """What a log line is about."""
    return f"the operation {operation.id}, {operation.kind} of {operation.instance_key!r}"


def _log(operation: OperationRecord, error: BaseException) -> Outcome:
    if isinstance(error, HandlerMistake):
        _logger.error("%s [%s]", error, _named(operation))
    elif isinstance(error, BrokerError):  # which its handler meant
        _logger.warning("%s failed: %r", _named(operation), error.description)
    else:
        _logger.error("%s failed", _named(operation), exc_info=error)
    return failure_outcome(error)
