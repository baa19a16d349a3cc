"""The background work of a process, from the moment it serves to its exit.

The runtime owns the heartbeat, the scheduler, the executor and the worker.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
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
from ..store.models import Attempt, Change, Mode, OperationRecord, Outcome, Progress
from ..store.retry import follower_of
from ..store.schema import NEWEST
from ..store.store import Store
from .autostart import start_when_serving
from .compat import check_threads, register_exit_hook, unregister_exit_hook
from .executors import Executor, grace_of, is_alive
from .heartbeat import Heartbeat
from .queue_executor import QueueExecutor
from .scheduler import Scheduler
from .worker import Worker, describe

_logger = logging.getLogger(__name__)

INTERRUPTED = Outcome(description="The service broker was interrupted.")


class Runtime:
    """The background work of one broker in this process.

    Args:
        sender: The broker, as the sender of signals.
        store: The store.
        executor: The executor of background operations.
        table: Returns the handler table.
    """

    def __init__(
        self, sender: object, store: Store, executor: Executor, table: Callable[[], HandlerTable]
    ) -> None:
        self.publisher = EventPublisher(sender)
        self.store = store
        self.table = table
        self._executor = executor
        self._at_yield: Callable[[], None] = _continue
        self._app: Flask | None = None
        self._pid = 0
        self._is_shut_down = False
        self._starting = Lock()
        self._health_check = HealthCheck(self._check_health)
        if isinstance(executor, QueueExecutor):
            executor.attach(self)

    def attach(self, app: Flask) -> None:
        """Attach a Flask app. Background handlers run in the context of the first attached app.

        The runtime starts when the process begins to serve, or else with its first request.
        """
        if self._app is None:
            self._app = app
            start_when_serving(self)

    @property
    def is_attached(self) -> bool:
        """Whether an app is attached."""
        return self._app is not None

    @property
    def is_stopping(self) -> bool:
        """Whether this process no longer accepts work."""
        return self._pid == os.getpid() and self.stopping.is_set()

    @property
    def app(self) -> Flask:
        """The first attached app."""
        assert self._app is not None, "the broker is attached to an app before any work starts"
        return self._app

    @property
    def is_started(self) -> bool:
        """Whether the runtime was started in this process."""
        return self._pid == os.getpid()

    def ensure_started(self, *, threads: bool = True) -> None:
        """Start when a process serves, and not before, because a server may fork after the app is created.

        Args:
            threads: Whether to start the threads of the heartbeat and the scheduler. Without threads, the
                caller calls :meth:`Heartbeat.beat` and :meth:`Scheduler.check`. Defaults to True.
        """
        if self._pid == os.getpid():
            return
        with self._starting:
            if self._pid == os.getpid():
                return
            check_threads()
            self.store.open()  # a Flask command may have loaded the app with a closed store
            self.stopping = Event()
            self._is_shut_down = False
            self.heartbeat = Heartbeat(self.store)
            self.scheduler = Scheduler(self.store, self.heartbeat, self)
            worker = Worker(
                self.publisher,
                self.store,
                self.heartbeat,
                app=lambda: self.app,
                table=self.table,
                submit=self.submit,
                stopping=self.stopping,
                at_yield=self._at_yield,
                defer=self.scheduler.defer_write,
                grace=grace_of(self._executor),
            )
            self._executor.start(worker.run)
            if threads:
                self.heartbeat.start()
                self.scheduler.start()
                register_exit_hook(self.shutdown)
            self._pid = os.getpid()

    def drain(self) -> None:
        """Stop accepting work before the process exits. Generators stop at their next `yield`."""
        if self._pid == os.getpid() and not self.stopping.is_set():
            self.stopping.set()
            _logger.info("Draining the background work of the process %d", self._pid)

    def stop(self) -> None:
        """Shut down, and allow a later start in the same process."""
        if self._pid != os.getpid():
            return
        self.shutdown()
        self._pid = 0
        unregister_exit_hook(self.shutdown)

    def shutdown(self) -> None:
        """Stop all work in order. Running attempts keep their heartbeat until they end.

        Requests that arrive later are served, but do not start the runtime again.
        """
        if self._pid != os.getpid() or self._is_shut_down:
            return
        self._is_shut_down = True
        _logger.info("Shutting down the background work of the process %d", self._pid)
        self.stopping.set()
        clock = self.store.clock
        grace_ends_at = clock.monotonic() + grace_of(self._executor)
        self._executor.stop()
        self.scheduler.stop(max(0.0, grace_ends_at - clock.monotonic()))
        self.heartbeat.stop()

    def replace_executor(
        self, executor: Executor, at_yield: Callable[[], None] | None = None
    ) -> tuple[Executor, Callable[[], None]]:
        """Stop the runtime and replace its executor, for tests.

        Args:
            executor: The executor.
            at_yield: Called in the thread of an attempt after each `yield` of its handler. Defaults to a
                function without effect.

        Returns:
            The previous executor and `at_yield`, to restore them with another call.
        """
        self.stop()
        previous = self._executor, self._at_yield
        self._executor, self._at_yield = executor, at_yield or _continue
        return previous

    @property
    def is_alive(self) -> bool:
        """Whether the threads that this process started are running."""
        return self._pid != os.getpid() or (self.heartbeat.is_alive and self.scheduler.is_alive)

    def health(self) -> Health:
        """Return the health of this process within one second, even if the database does not respond."""
        if self.is_stopping:
            return Health(status=HealthStatus.STOPPING)
        return self._health_check.result()

    def _check_health(self) -> Health:
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
        """The current executor of background operations."""
        return self._executor

    def submit(self, operation_id: str, delay: float = 0.0) -> None:
        """Submit an operation to the executor. After a failure the scheduler submits it again.

        Args:
            operation_id: The id of the operation.
            delay: The minimum delay in seconds. Defaults to 0.
        """
        if self.is_stopping and not isinstance(self._executor, QueueExecutor):
            return  # the threads of other executors no longer accept operations
        try:
            self._executor.submit(operation_id, delay)
        except Exception:
            _logger.exception("Cannot submit the operation %s to the executor; will retry", operation_id)
        if delay > 0:
            self.scheduler.wake_in(delay)

    def mark_enqueued(self, operation_id: str, delay: float) -> bool:
        """Mark an operation as enqueued, and return whether the caller must enqueue it."""
        return self.store.mark_enqueued(operation_id, delay)

    def requeue(self, operation_id: str, after: float) -> None:
        """Make an operation due again after a number of seconds, because the queue did not accept it."""
        self.store.requeue(operation_id, after)

    def fail_late(self, operation: OperationRecord) -> None:
        """Implement `DueOperations.fail_late`. A running attempt continues, but its result is too late."""
        self.fail_operation(operation, DEADLINE_EXCEEDED, self.store.abandon)

    def take_over(self, lost: Sequence[OperationRecord]) -> None:
        """Implement `DueOperations.take_over`, by the mode and the state of each operation."""
        in_background = []
        for operation in lost:
            if operation.state is not Progress.IN_PROGRESS:
                if self.store.release_lost(operation):
                    self.submit_follower(operation)
            elif operation.mode is Mode.BACKGROUND:
                in_background.append(operation)
            else:
                self.fail_operation(operation, INTERRUPTED, self.store.expire)
        for operation in self.store.reclaim(in_background):
            self.submit(operation.id)

    def submit_follower(self, operation: OperationRecord) -> None:
        """Submit the operation that waited for the attempt of another one, if there is one."""
        if follower := follower_of(self.store, Attempt.of(operation)):
            self.submit(follower)

    def fail_operation(
        self,
        operation: OperationRecord,
        outcome: Outcome,
        transition: Callable[[OperationRecord, Outcome, Change], bool],
    ) -> bool:
        """Fail an operation without its attempt, for example after its deadline or its deletion.

        Args:
            operation: The operation.
            outcome: The outcome to store and publish.
            transition: The store's `abandon` or `expire`.

        Returns:
            Whether the operation was unchanged and has now failed.
        """
        if not transition(operation, outcome, failure_change(operation.kind)):
            return False
        _logger.warning("%s failed: %r", describe(operation), outcome.description)
        with self.app.app_context():  # receivers of signals may rely on an app context
            self._publish_failure(operation, outcome)
        return True

    def _publish_failure(self, operation: OperationRecord, outcome: Outcome) -> None:
        """Publish the failure of an operation with its stored request."""
        snapshot = self.store.find_by_key(operation.instance_key, operation.binding_key)
        catalog = self.table().catalog
        request = load_request(self.store, catalog, operation, snapshot.instance, snapshot.binding)
        seconds = max(0.0, snapshot.now - operation.created_at)
        self.publisher.failed(OperationRef.of(operation), request, outcome, seconds)


def _continue() -> None:
    """Continue after a `yield`. This is the default of `at_yield`."""


_PATIENCE = 0.75
"""The maximum seconds to wait for a result, because platforms time out after one second."""

_FRESH = 1.0
"""The seconds for which a result is reused, so that frequent requests do not load the database."""

_UNRESPONSIVE = Health.of(
    store=HealthStatus.FAILED, schema=HealthStatus.UNKNOWN, executor=HealthStatus.UNKNOWN
)


class HealthCheck:
    """A health check of a process that responds within a timeout.

    Args:
        check: Returns the health. It may block.
    """

    def __init__(self, check: Callable[[], Health]) -> None:
        self._call = BackgroundCall(check, name="brokerkit-health-check", timeout=_PATIENCE, interval=_FRESH)

    def result(self) -> Health:
        """Return a recent or a new result. If the check times out, the store counts as failed."""
        return self._call.result() or _UNRESPONSIVE
