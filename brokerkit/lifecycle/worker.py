"""An attempt of a background operation, from its claim to its end."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Generator
from threading import Event
from typing import Any

import msgspec
from flask import Flask

from .._dispatch import blaming, call
from .._encoding import PLAIN_SUCCESS, HandlerMistake, encode_result
from .._handler_table import HandlerTable
from .._telling import tell
from ..errors import BrokerError, Retry
from ..handlers import Handler
from ..requests import InstanceRequest
from ..results import Accepted, LastOperation
from .changes import Attempt, Change
from .completion import failure, is_gone, outcome_of, planned, remembered, success
from .errors import StoreUnavailable
from .keeper import Keeper
from .persistence import follower_of, persist
from .recall import request_again
from .records import Known, OperationRecord, Outcome, Progress
from .store import Store

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
        sender: The broker, for the signals.
        store: The store.
        keeper: Keeps the attempts alive.
        app: Gives the Flask app whose context handlers run in.
        table: Gives the handlers.
        submit: Has an operation run again later.
        stopping: Is set when the process is about to end.
    """

    def __init__(
        self,
        sender: object,
        store: Store,
        keeper: Keeper,
        *,
        app: Callable[[], Flask],
        table: Callable[[], HandlerTable],
        submit: Callable[[str, float], None],
        stopping: Event,
    ) -> None:
        self._sender = sender
        self._store = store
        self._keeper = keeper
        self._app = app
        self._table = table
        self._submit = submit
        self._stopping = stopping

    def run(self, operation_id: str) -> None:
        """Run the next attempt of an operation, if it is due and nobody else has it. Raises nothing."""
        try:
            operation = self._store.begin(operation_id)
            if operation is None:
                return
            attempt = Attempt.of(operation)
            self._keeper.hold(attempt)
            try:
                with self._app().app_context():
                    self._run(operation, attempt)
            finally:
                self._keeper.drop(attempt)
        except StoreUnavailable:
            pass  # it is in the log, and the operation is taken up when the store is back
        except BaseException:
            _logger.exception("the operation %s is interrupted", operation_id)

    def _run(self, operation: OperationRecord, attempt: Attempt) -> None:
        known = self._store.find_by_key(operation.instance_key, operation.binding_key)
        table = self._table()
        request: Any = request_again(self._store, table.catalog, operation, known.instance, known.binding)
        handlers = table.serving(operation.kind, request.service, request.plan)
        if not handlers:
            error = HandlerMistake(
                f"no @{operation.kind} handler serves the plan {operation.plan_id!r} any more, which the"
                f" operation {operation.id} needs; put the plan or the handler back, and run flask broker"
                f" retry {operation.id}"
            )
            return self._failed(operation, attempt, request, error)
        handler = handlers[0]
        if handler.max_attempts is not None and operation.attempt > handler.max_attempts:
            error = HandlerMistake(f"{handler} was interrupted in each of {handler.max_attempts} attempts")
            return self._failed(operation, attempt, request, error)
        plan = planned(operation.kind, request, known.instance)
        try:
            result = self._ask(handler, attempt, request)
            change = self._judge(handler, operation, request, plan, result, known)
        except _Stopped as stopped:
            if not stopped.goes_on or not self._store.postpone(attempt, 0.0, None):
                self._leave(attempt, None)
        except Retry as retry:
            self._retry(handler, operation, attempt, request, retry)
        except BaseException as error:  # noqa: BLE001 - whatever a handler raises ends its attempt
            if is_gone(operation.kind, error):
                self._succeeded(operation, attempt, request, PLAIN_SUCCESS[operation.kind], plan)
            else:
                self._failed(operation, attempt, request, error)
        else:
            self._succeeded(operation, attempt, request, result, change)
        return None

    def _ask(self, handler: Handler, attempt: Attempt, request: InstanceRequest) -> object:
        _, result = call(handler, request)
        if inspect.isgenerator(result):
            result = self._drive(handler, attempt, request, result)
        return PLAIN_SUCCESS.get(attempt.kind) if result is None else result

    def _drive(
        self,
        handler: Handler,
        attempt: Attempt,
        request: InstanceRequest,
        steps: Generator[object, Any, object],
    ) -> object:
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
            is_current = self._note(attempt, request, said)
            if not is_current or self._stopping.is_set():
                steps.close()  # its finally clauses run
                raise _Stopped(goes_on=is_current)

    def _note(self, attempt: Attempt, request: InstanceRequest, said: str | None) -> bool:
        """Note how far an attempt is. False if its operation was given up or taken over."""
        try:
            if not self._store.tell(attempt, Outcome(description=said or None)):
                return False
        except StoreUnavailable:
            return True  # whether it is still ours, its end will show
        tell(self._sender, attempt.kind, request, LastOperation.in_progress(said))
        return True

    def _judge(
        self,
        handler: Handler,
        operation: OperationRecord,
        request: InstanceRequest,
        plan: Change,
        result: object,
        known: Known,
    ) -> Change:
        with blaming(handler):
            if type(result) is Accepted:
                raise HandlerMistake("returned Accepted from the background; return what it did")
            service = request.service  # type: ignore[attr-defined]
            encode_result(operation.kind, result, service=service, accepts_incomplete=True)
            return success(operation.kind, plan, result, known.instance, known.binding)

    # Ends

    def _succeeded(
        self,
        operation: OperationRecord,
        attempt: Attempt,
        request: InstanceRequest,
        result: object,
        change: Change,
    ) -> None:
        if self._persist(
            attempt,
            lambda: self._store.end(attempt, Progress.SUCCEEDED, Outcome(), change),
            Progress.SUCCEEDED,
        ):
            tell(self._sender, operation.kind, request, _as_made(result))
        else:
            kept = remembered(operation.kind, result, None, None)
            self._leave(attempt, kept)

    def _failed(
        self,
        operation: OperationRecord,
        attempt: Attempt,
        request: InstanceRequest,
        error: BaseException,
    ) -> None:
        outcome = _log(operation, error)
        change = failure(operation.kind)
        if self._persist(
            attempt,
            lambda: self._store.end(attempt, Progress.FAILED, outcome, change),
            Progress.FAILED,
        ):
            tell(self._sender, operation.kind, request, failed(outcome))
        else:
            self._leave(attempt, None)

    def _retry(
        self,
        handler: Handler,
        operation: OperationRecord,
        attempt: Attempt,
        request: InstanceRequest,
        retry: Retry,
    ) -> None:
        if handler.max_attempts is not None and operation.attempt >= handler.max_attempts:
            error = BrokerError(retry.description or f"It was not done after {operation.attempt} attempts.")
            return self._failed(operation, attempt, request, error)
        outcome = Outcome(description=retry.description) if retry.description else None
        if self._persist(
            attempt,
            lambda: self._store.postpone(attempt, retry.after, outcome),
            Progress.IN_PROGRESS,
        ):
            tell(self._sender, operation.kind, request, LastOperation.in_progress(retry.description))
            self._submit(operation.id, retry.after)
        else:
            self._leave(attempt, None)
        return None

    def _leave(self, attempt: Attempt, kept: Any) -> None:
        """The operation was given up, or taken over: let what follows begin, if it waits for us."""
        if not self._persist(attempt, lambda: self._store.leave(attempt, kept), Progress.FAILED):
            _logger.warning(
                "an attempt of the operation %s ended after its lease was lost; it is not remembered",
                attempt.operation_id,
            )
            return
        if follower := follower_of(self._store, attempt):
            self._submit(follower, 0.0)

    def _persist(self, attempt: Attempt, write: Callable[[], bool], leads_to: Progress) -> bool:
        """Write how an attempt ended, however long the store is away."""
        return persist(self._store, attempt, write, self._stopping, leads_to=leads_to)


def failed(outcome: Outcome) -> LastOperation:
    """What the signals are told of an operation that failed."""
    return LastOperation.failed(
        outcome.description,
        instance_usable=outcome.instance_usable,
        update_repeatable=outcome.update_repeatable,
    )


def _as_made(result: object) -> object:
    """Of what was made in the background, that it is there already says nothing."""
    if getattr(result, "exists", False):
        return msgspec.structs.replace(result, exists=False)  # type: ignore[type-var]
    return result


def _log(operation: OperationRecord, error: BaseException) -> Outcome:
    what = f"the operation {operation.id}, {operation.kind} of {operation.instance_key}"
    if isinstance(error, HandlerMistake):
        _logger.error("%s [%s]", error, what)
    elif isinstance(error, BrokerError) and error.status < 500:
        _logger.info("%s failed: %r", what, error.description)
    else:
        _logger.error("%s failed", what, exc_info=error)
    return outcome_of(error)
