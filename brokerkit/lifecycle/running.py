"""What a process runs for a store: heart, keeper, executor and worker, from its first request to its end."""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Callable
from threading import Event, Lock

from flask import Flask

from .._handler_table import HandlerTable
from .._telling import tell
from ..results import LastOperation
from .changes import Attempt, Change
from .completion import failure
from .executors import Executor
from .heart import Heart
from .keeper import Keeper
from .memory import TOO_LONG
from .recall import request_again
from .records import Mode, OperationRecord, Outcome
from .store import Store
from .worker import Worker, failed

_logger = logging.getLogger("brokerkit")

INTERRUPTED = Outcome(description="The service broker was interrupted.")


class Running:
    """The work of this process.

    Args:
        sender: The broker, for the signals.
        store: The store.
        executor: Runs background operations.
        table: Gives the handlers.
    """

    def __init__(
        self, sender: object, store: Store, executor: Executor, table: Callable[[], HandlerTable]
    ) -> None:
        self.sender = sender
        self.store = store
        self.table = table
        self._executor = executor
        self._at_yield: Callable[[], None] = _go_on
        self._app: Flask | None = None
        self._pid = 0
        self._starting = Lock()

    def attach(self, app: Flask) -> None:
        """Background handlers run in the context of the first app that the broker is attached to."""
        self._app = self._app or app

    @property
    def app(self) -> Flask:
        """That app."""
        assert self._app is not None, "the broker is attached to one before anything runs"
        return self._app

    def ensure_started(self) -> None:
        """Start, with the first request of a process; a server may have forked since the app was made."""
        if self._pid == os.getpid():
            return
        with self._starting:
            if self._pid == os.getpid():
                return
            self.store.open()  # one of Flask's commands may have loaded the app without it
            self.stopping = Event()
            self.heart = Heart(self.store)
            self.keeper = Keeper(self.store, self.heart, self.look_at)
            worker = Worker(
                self.sender,
                self.store,
                self.heart,
                app=lambda: self.app,
                table=self.table,
                submit=self.submit,
                stopping=self.stopping,
                at_yield=self._at_yield,
            )
            self._executor.start(worker.run)
            self.heart.start()
            self.keeper.start()
            atexit.register(self.stop)
            self._pid = os.getpid()

    def stop(self) -> None:
        """Stop in order: what runs gets to its end or its next yield, and is kept alive until then."""
        if self._pid != os.getpid():
            return
        self.stopping.set()
        self._executor.stop()
        self.keeper.stop()
        self.heart.stop()
        self._pid = 0
        atexit.unregister(self.stop)

    def use(
        self, executor: Executor, at_yield: Callable[[], None] | None = None
    ) -> tuple[Executor, Callable[[], None]]:
        """Have another executor run what is to come; what runs is stopped first. For tests.

        Args:
            executor: The executor.
            at_yield: Called in the thread of an attempt after each `yield` of its handler.

        Returns:
            What there was before, to be put back.
        """
        self.stop()
        before = self._executor, self._at_yield
        self._executor, self._at_yield = executor, at_yield or _go_on
        return before

    @property
    def executor(self) -> Executor:
        """What runs background operations now."""
        return self._executor

    def submit(self, operation_id: str, delay: float = 0.0) -> None:
        """Have an operation run, in so many seconds; if that goes wrong, it is found when it is due."""
        try:
            self._executor.submit(operation_id, delay)
        except Exception:
            _logger.exception(
                "the executor did not take the operation %s; it is submitted again", operation_id
            )
        if delay > 0:
            self.keeper.look_in(delay)

    def look_at(self, operation: OperationRecord, now: float) -> None:
        """Do what is due for an operation that nobody seems to run."""
        if operation.mode is not Mode.AT_ONCE and operation.deadline <= now:
            # While somebody works on a binding, nothing may begin on its instance: that waits for the end.
            if operation.binding_key is None or not operation.is_running_at(now):
                self.give_up(operation, TOO_LONG, self.store.abandon)
            return
        may_be_run = operation.lease_until is not None or operation.follows is not None
        if may_be_run and self.store.call_out(operation.id):
            return
        if operation.mode is Mode.AT_ONCE:
            self.give_up(operation, INTERRUPTED, self.store.expire)
        elif operation.mode is Mode.BACKGROUND:
            self.submit(operation.id)

    def give_up(
        self,
        operation: OperationRecord,
        outcome: Outcome,
        how: Callable[[Attempt, Outcome, Change], bool],
    ) -> bool:
        """Let an operation fail that its attempt does not end.

        Args:
            operation: Which.
            outcome: What its user is told.
            how: The store's `abandon` or `expire`.

        Returns:
            Whether it was still as it was seen.
        """
        if not how(Attempt.of(operation), outcome, failure(operation.kind)):
            return False
        _logger.warning(
            "the operation %s, %s of %s, failed: %s",
            operation.id,
            operation.kind,
            operation.instance_key,
            outcome.description,
        )
        with self.app.app_context():  # as receivers have it elsewhere
            self.tell(operation, failed(outcome))
        return True

    def tell(self, operation: OperationRecord, result: LastOperation) -> None:
        """Tell the signals of an operation whose request is long gone."""
        known = self.store.find_by_key(operation.instance_key, operation.binding_key)
        catalog = self.table().catalog
        request = request_again(self.store, catalog, operation, known.instance, known.binding)
        tell(self.sender, operation.kind, request, result)


def _go_on() -> None:
    """Nothing is to wait at a `yield`."""
