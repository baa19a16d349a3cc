"""The base class of executors whose workers run in other processes and receive operations from a task queue.

A publisher thread enqueues the ids, so that no request waits for an unavailable queue. The store ensures that
only one process enqueues an operation, and decides when a message counts as lost and is enqueued again.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from time import monotonic
from typing import NamedTuple, Protocol

from ..store.errors import StoreUnavailable

_logger = logging.getLogger(__name__)

_RETRY_AFTER = 1.0
"""The seconds to wait after the queue failed, before the next operation is published."""

_GRACE = 5.0
"""The maximum seconds at exit to publish the operations that were submitted before."""


class WorkerHost(Protocol):
    """The runtime of a broker in this process, as its executor uses it."""

    @property
    def is_attached(self) -> bool:
        """Whether the broker is attached to an app. Handlers run in the context of that app."""

    @property
    def is_stopping(self) -> bool:
        """Whether this process no longer accepts work."""

    def ensure_started(self) -> None:
        """Start the background threads and the executor of this process, unless they are running."""

    def drain(self) -> None:
        """Stop accepting work. Generators stop at their next `yield`, and another process resumes them."""

    def stop(self) -> None:
        """Stop all background work of this process."""

    def mark_enqueued(self, operation_id: str, delay: float) -> bool:
        """Mark an operation as enqueued, and return whether the caller must enqueue it."""

    def requeue(self, operation_id: str, after: float) -> None:
        """Make an operation due again after a number of seconds, because the queue did not accept it."""


class _QueuedOperation(NamedTuple):
    operation_id: str
    delay: float


class QueueExecutor(ABC):
    """An executor that enqueues operation ids. Workers in other processes pass the ids to :meth:`work`.

    A subclass implements :meth:`publish`. Each broker needs a separate executor.
    """

    _host: WorkerHost | None = None
    _run: Callable[[str], None] | None = None
    _queue: SimpleQueue[_QueuedOperation | None] | None = None

    @abstractmethod
    def publish(self, operation_id: str, delay: float) -> None:
        """Put an operation id into the task queue. The call may block.

        Args:
            operation_id: The id of the operation.
            delay: The seconds until a worker should receive the id, at most :attr:`longest_delay`.

        Raises:
            Exception: The id was not enqueued. The broker will retry.
        """

    @property
    def longest_delay(self) -> float:
        """The maximum delay of a message, in seconds. Operations that are due later wait in the store."""
        return 0.0

    def attach(self, host: WorkerHost) -> None:
        """Attach the executor to the runtime of a broker. The broker calls this once, when it is created.

        Raises:
            ValueError: The executor belongs to another broker.
        """
        if self._host is not None:
            raise ValueError(
                f"{type(self).__name__}: this executor belongs to another broker already; create one for each"
                " broker"
            )
        self._host = host

    @property
    def host(self) -> WorkerHost:
        """The runtime of the broker in this process."""
        assert self._host is not None, "the broker attaches its executor when it is created"
        return self._host

    def work(self, operation_id: str) -> None:
        """Run an attempt of an operation in a worker process if the operation is due.

        Args:
            operation_id: The id of the operation.

        Raises:
            RuntimeError: The broker is not attached to a Flask app in this process.
        """
        if not self.host.is_attached:
            raise RuntimeError(
                f"{type(self).__name__}: the broker is not attached to a Flask app in this worker; create the"
                " app in the module that the worker imports"
            )
        self.host.ensure_started()
        assert self._run is not None, "ensure_started() starts the executor"
        self._run(operation_id)

    # The executor protocol

    def start(self, run: Callable[[str], None]) -> None:
        """Implement `Executor.start`."""
        self._run = run
        self._queue = SimpleQueue()
        self._waiting: set[_QueuedOperation] = set()
        self._paused_until = 0.0
        self._thread = Thread(target=self._publish_all, name="brokerkit-publisher", daemon=True)
        self._thread.start()

    def submit(self, operation_id: str, delay: float = 0) -> None:
        """Implement `Executor.submit`. The call does not block."""
        item = _QueuedOperation(operation_id, delay)
        if self._queue is None or delay > self.longest_delay or item in self._waiting:
            return
        if monotonic() < self._paused_until:
            return  # the scheduler submits it again
        self._waiting.add(item)
        self._queue.put(item)

    def stop(self) -> None:
        """Implement `Executor.stop`."""
        if self._queue is not None:
            self._queue.put(None)
            self._thread.join(_GRACE)
            self._queue = None

    def alive(self) -> bool:
        """Implement `ReportsLiveness.alive`. An executor that has not started counts as alive."""
        return self._queue is None or self._thread.is_alive()

    def _publish_all(self) -> None:
        assert self._queue is not None, "the queue is created before its thread"
        queue = self._queue
        while (item := queue.get()) is not None:
            self._waiting.discard(item)
            try:
                self._enqueue(*item)
            except StoreUnavailable:
                pass  # the store has logged it, and the scheduler submits the operation again
            except Exception:
                _logger.exception("Cannot enqueue the operation %s; will retry", item.operation_id)

    def _enqueue(self, operation_id: str, delay: float) -> None:
        if monotonic() < self._paused_until or not self.host.mark_enqueued(operation_id, delay):
            return
        try:
            self.publish(operation_id, delay)
        except Exception as error:  # noqa: BLE001 - the exceptions depend on the queue
            if not self._paused_until:
                _logger.error(
                    "Cannot publish to the task queue (%s); will retry",
                    # The text of a ValueError may quote an address with a password.
                    type(error).__name__ if isinstance(error, ValueError) else repr(error),
                )
            self._paused_until = monotonic() + _RETRY_AFTER
            self.host.requeue(operation_id, _RETRY_AFTER)
        else:
            if self._paused_until:
                _logger.info("Task queue is available again")
            self._paused_until = 0.0
