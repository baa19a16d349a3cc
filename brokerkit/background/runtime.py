"""What a process runs for a store: heart, keeper, executor and worker, from its first request to its end."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from threading import Event, Lock

from flask import Flask

from .._internal.background_call import BackgroundCall
from ..handlers.table import HandlerTable
from ..health import Health, HealthStatus
from ..lifecycle.conversion import load_request
from ..lifecycle.events import EventPublisher, OperationRef
from ..lifecycle.outcomes import failure_change
from ..lifecycle.responses import DEADLINE_EXCEEDED
from ..store.errors import StoreUnavailable
from ..store.models import Attempt, Change, Mode, OperationRecord, Outcome
from ..store.schema import NEWEST
from ..store.store import Store
from .compat import check_threads, register_exit_hook, unregister_exit_hook
from .executors import Executor, is_alive
from .heartbeat import Heartbeat
from .queue_executor import QueueExecutor
from .scheduler import Scheduler
from .worker import Worker

_logger = logging.getLogger("brokerkit")

INTERRUPTED = Outcome(description="The service broker was interrupted.")


class Runtime:
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
        self.publisher = EventPublisher(sender)
        self.store = store
        self.table = table
        self._executor = executor
        self._at_yield: Callable[[], None] = _go_on
        self._app: Flask | None = None
        self._pid = 0
        self._is_over = False
        self._starting = Lock()
        self._health_check = HealthCheck(self._look_at_all)
        if isinstance(executor, QueueExecutor):
            executor.attach(self)

    def attach(self, app: Flask) -> None:
        """Background handlers run in the context of the first app that the broker is attached to."""
        self._app = self._app or app

    @property
    def is_attached(self) -> bool:
        """Is there an app?"""
        return self._app is not None

    @property
    def is_stopping(self) -> bool:
        """Does this process take nothing more?"""
        return self._pid == os.getpid() and self.stopping.is_set()

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
            check_threads()
            self.store.open()  # one of Flask's commands may have loaded the app without it
            self.stopping = Event()
            self._is_over = False
            self.heartbeat = Heartbeat(self.store)
            self.scheduler = Scheduler(self.store, self.heartbeat, self.handle_due)
            worker = Worker(
                self.publisher,
                self.store,
                self.heartbeat,
                app=lambda: self.app,
                table=self.table,
                submit=self.submit,
                stopping=self.stopping,
                at_yield=self._at_yield,
            )
            self._executor.start(worker.run)
            self.heartbeat.start()
            self.scheduler.start()
            register_exit_hook(self.shutdown)
            self._pid = os.getpid()

    def drain(self) -> None:
        """Take nothing more, as the process is about to end; generators stop at their next `yield`."""
        if self._pid == os.getpid():
            self.stopping.set()

    def stop(self) -> None:
        """Stop in order: what runs gets to its end or its next yield, and is kept alive until then."""
        if self._pid != os.getpid():
            return
        self.shutdown()
        self._pid = 0
        unregister_exit_hook(self.shutdown)

    def shutdown(self) -> None:
        """Stop for good: what a server lets in after this is answered, and not begun anew for."""
        if self._pid != os.getpid() or self._is_over:
            return
        self._is_over = True
        _logger.info("the work of the process %d stops", self._pid)
        self.stopping.set()
        self._executor.stop()
        self.scheduler.stop()
        self.heartbeat.stop()

    def replace_executor(
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
    def is_alive(self) -> bool:
        """Are the threads there that this process began?"""
        return self._pid != os.getpid() or (self.heartbeat.is_alive and self.scheduler.is_alive)

    def health(self) -> Health:
        """How this process is, within a second, whatever the database does."""
        if self.is_stopping:
            return Health(status=HealthStatus.STOPPING)
        return self._health_check.result()

    def _look_at_all(self) -> Health:
        try:
            version = self.store.version
        except StoreUnavailable:
            store, schema = HealthStatus.FAILED, HealthStatus.UNKNOWN
        else:
            store, schema = HealthStatus.OK, HealthStatus.of(version == NEWEST)
        executor = HealthStatus.of(self.is_alive and is_alive(self._executor))
        return Health.of(store=store, schema=schema, executor=executor)

    @property
    def executor(self) -> Executor:
        """What runs background operations now."""
        return self._executor

    def submit(self, operation_id: str, delay: float = 0.0) -> None:
        """Have an operation run, in so many seconds; if that goes wrong, it is found when it is due."""
        if self.is_stopping and not isinstance(self._executor, QueueExecutor):
            return  # nor does anybody here take it any more
        try:
            self._executor.submit(operation_id, delay)
        except Exception:
            _logger.exception(
                "the executor did not take the operation %s; it is submitted again", operation_id
            )
        if delay > 0:
            self.scheduler.wake_in(delay)

    def mark_enqueued(self, operation_id: str, delay: float) -> bool:
        """Is the caller to put an operation into a queue, and nobody else?"""
        return self.store.mark_enqueued(operation_id, delay)

    def requeue(self, operation_id: str, after: float) -> None:
        """The queue did not take it; it is due again in so many seconds."""
        self.store.requeue(operation_id, after)

    def handle_due(self, operation: OperationRecord, now: float) -> None:
        """Do what is due for an operation that nobody seems to run."""
        if operation.mode is not Mode.INLINE and operation.deadline <= now:
            # While somebody works on a binding, nothing may begin on its instance: that waits for the end.
            if operation.binding_key is None or not operation.is_running_at(now):
                self.fail_operation(operation, DEADLINE_EXCEEDED, self.store.abandon)
            return
        may_be_run = operation.lease_until is not None or operation.follows is not None
        if may_be_run and self.store.challenge_lease(operation.id):
            return
        if operation.mode is Mode.INLINE:
            self.fail_operation(operation, INTERRUPTED, self.store.expire)
        elif operation.mode is Mode.BACKGROUND:
            self.submit(operation.id)

    def fail_operation(
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
        if not how(Attempt.of(operation), outcome, failure_change(operation.kind)):
            return False
        _logger.warning(
            "the operation %s, %s of %r, failed: %r",
            operation.id,
            operation.kind,
            operation.instance_key,
            outcome.description,
        )
        with self.app.app_context():  # as receivers have it elsewhere
            self._tell_of_failure(operation, outcome)
        return True

    def _tell_of_failure(self, operation: OperationRecord, outcome: Outcome) -> None:
        """Tell the signals of an operation whose request is long gone."""
        known = self.store.find_by_key(operation.instance_key, operation.binding_key)
        catalog = self.table().catalog
        request = load_request(self.store, catalog, operation, known.instance, known.binding)
        self.publisher.failed(
            OperationRef.of(operation), request, outcome, max(0.0, known.now - operation.created_at)
        )


def _go_on() -> None:
    """Nothing is to wait at a `yield`."""


_PATIENCE = 0.75
"""For how many seconds an answer is waited for: platforms give up after one."""

_FRESH = 1.0
"""For how many seconds an answer is given again, so that who asks often costs the database nothing."""

_NO_ANSWER = Health.of(store=HealthStatus.FAILED, schema=HealthStatus.UNKNOWN, executor=HealthStatus.UNKNOWN)


class HealthCheck:
    """Looks how a process is.

    Args:
        look: Looks; it may hang.
    """

    def __init__(self, look: Callable[[], Health]) -> None:
        self._looks = BackgroundCall(look, name="brokerkit-checkup", timeout=_PATIENCE, interval=_FRESH)

    def result(self) -> Health:
        """What a look found that has just been made, or that begins now and does not take long."""
        return self._looks.result() or _NO_ANSWER
