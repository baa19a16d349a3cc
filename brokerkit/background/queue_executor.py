"""Executors whose workers are elsewhere, and take operations from a queue.

A thread of its own puts ids into the queue, so that no request waits for it, however long it is away. An id
is put there once by all processes together: the store says who does it, and when it must be taken for lost.
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

_logger = logging.getLogger("brokerkit")

_PAUSE = 1.0
"""For how many seconds a queue that took nothing is let be."""

_GRACE = 5.0
"""For how many seconds, at exit, it may take what it was told before."""


class WorkerHost(Protocol):
    """What runs in this process for a broker, as its executor sees it."""

    @property
    def is_attached(self) -> bool:
        """Has the broker an app, whose context handlers run in?"""

    @property
    def is_stopping(self) -> bool:
        """Does it take nothing more?"""

    def ensure_started(self) -> None:
        """Start what runs beside the work, and the executor; in each process, after it was forked."""

    def drain(self) -> None:
        """Take nothing more; generators stop at their next `yield`, and go on elsewhere."""

    def stop(self) -> None:
        """Stop all that runs here."""

    def mark_enqueued(self, operation_id: str, delay: float) -> bool:
        """Is the caller to put an operation into the queue, and nobody else?"""

    def requeue(self, operation_id: str, after: float) -> None:
        """The queue did not take it; it is due again in so many seconds."""


class _QueuedOperation(NamedTuple):
    operation_id: str
    delay: float


class QueueExecutor(ABC):
    """Puts ids of operations into a queue; workers in other processes call :meth:`work` with them.

    A subclass says how. Give it to one broker.
    """

    _host: WorkerHost | None = None
    _run: Callable[[str], None] | None = None
    _queue: SimpleQueue[_QueuedOperation | None] | None = None

    @abstractmethod
    def publish(self, operation_id: str, delay: float) -> None:
        """Put an id into the queue; it may take its time.

        Args:
            operation_id: The id.
            delay: In how many seconds a worker is to have it, at most :attr:`longest_delay`.

        Raises:
            Exception: It could not be done. The store has it put there again.
        """

    @property
    def longest_delay(self) -> float:
        """For how many seconds the queue can hold something back; what is due later is left to the store."""
        return 0.0

    def attach(self, host: WorkerHost) -> None:
        """Learn what it works for; once, when its broker is made.

        Raises:
            ValueError: It is another broker's already.
        """
        if self._host is not None:
            raise ValueError(
                f"{type(self).__name__}: this one works for another broker already; make one for each broker"
            )
        self._host = host

    @property
    def host(self) -> WorkerHost:
        """What runs in this process for its broker."""
        assert self._host is not None, "its broker attaches it"
        return self._host

    def work(self, operation_id: str) -> None:
        """Run an attempt of an operation, in a process of workers, if it is due.

        Raises:
            RuntimeError: The broker has no app there.
        """
        if not self.host.is_attached:
            raise RuntimeError(
                f"{type(self).__name__}: the broker is attached to no Flask app in this worker; make the app"
                " where the module that the worker loads is imported"
            )
        self.host.ensure_started()
        assert self._run is not None, "it is started with the rest"
        self._run(operation_id)

    # As an executor

    def start(self, run: Callable[[str], None]) -> None:
        """As `Executor.start`."""
        self._run = run
        self._queue = SimpleQueue()
        self._waiting: set[_QueuedOperation] = set()
        self._takes_none_until = 0.0
        self._thread = Thread(target=self._publish_all, name="brokerkit-publisher", daemon=True)
        self._thread.start()

    def submit(self, operation_id: str, delay: float = 0) -> None:
        """As `Executor.submit`; it waits for nothing."""
        told = _QueuedOperation(operation_id, delay)
        if self._queue is None or delay > self.longest_delay or told in self._waiting:
            return
        if monotonic() < self._takes_none_until:
            return  # the keeper comes again
        self._waiting.add(told)
        self._queue.put(told)

    def stop(self) -> None:
        """As `Executor.stop`."""
        if self._queue is not None:
            self._queue.put(None)
            self._thread.join(_GRACE)
            self._queue = None

    def alive(self) -> bool:
        """As an executor may say it: is the thread there that puts ids into the queue?"""
        return self._queue is None or self._thread.is_alive()

    def _publish_all(self) -> None:
        assert self._queue is not None, "it is started"
        queue = self._queue
        while (told := queue.get()) is not None:
            self._waiting.discard(told)
            try:
                self._hand_on(*told)
            except StoreUnavailable:
                pass  # it is in the log, and the keeper comes again
            except Exception:
                _logger.exception("the operation %s is not handed on; it is later", told.operation_id)

    def _hand_on(self, operation_id: str, delay: float) -> None:
        if monotonic() < self._takes_none_until or not self.host.mark_enqueued(operation_id, delay):
            return
        try:
            self.publish(operation_id, delay)
        except Exception as error:  # noqa: BLE001 - whatever the queue is made of
            if not self._takes_none_until:
                _logger.error(
                    "the queue of background operations takes none (%s); they are handed on when it does",
                    # What cannot be read may be an address with a password, and is said word for word.
                    type(error).__name__ if isinstance(error, ValueError) else repr(error),
                )
            self._takes_none_until = monotonic() + _PAUSE
            self.host.requeue(operation_id, _PAUSE)
        else:
            if self._takes_none_until:
                _logger.info("the queue of background operations takes them again")
            self._takes_none_until = 0.0
