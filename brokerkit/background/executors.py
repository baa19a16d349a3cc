"""Executors of background operations: the protocol, and threads of the serving process.

An executor receives operation ids and calls the function it was started with. The operation's row in the
store is the source of truth. So a lost id, a duplicate or a delivery to another process is harmless.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from queue import SimpleQueue
from threading import Event, Lock, Thread
from time import monotonic
from typing import Protocol, runtime_checkable

from .._internal.text import plural

_logger = logging.getLogger(__name__)

_DEFAULT_GRACE = 10.0


class Executor(Protocol):
    """An executor of background operations, in this process or in worker processes.

    An executor may also implement `ReportsLiveness`, for the broker's health. It may have an attribute
    `grace`, the seconds that :meth:`stop` waits. If the store is unavailable at that time, the process tries
    to store the last results for as long.
    """

    def start(self, run: Callable[[str], None]) -> None:
        """Start in a process that serves requests.

        Args:
            run: Takes an operation id, and runs an attempt of the operation if it is due. Raises no
                exceptions.
        """
        ...

    def submit(self, operation_id: str, delay: float = 0) -> None:
        """Schedule an attempt of an operation.

        Args:
            operation_id: The id of the operation.
            delay: The minimum delay in seconds. The broker submits the operation again after the delay, so
                an executor may ignore delayed operations. Defaults to 0.
        """
        ...

    def stop(self) -> None:
        """Stop accepting operations, and wait for running attempts for a limited time."""
        ...


@runtime_checkable
class ReportsLiveness(Protocol):
    """An executor that reports whether it works. Other executors are assumed to work."""

    def alive(self) -> bool:
        """Whether the executor can accept operations.

        The call may block, for example on a network request. An exception counts as False.
        """
        ...


def is_alive(executor: Executor) -> bool:
    """Whether an executor works. True for an executor that does not implement `ReportsLiveness`."""
    if not isinstance(executor, ReportsLiveness):
        return True
    try:
        return bool(executor.alive())
    except Exception:
        _logger.exception("Liveness check of the executor failed")
        return False


def grace_of(executor: Executor) -> float:
    """Return the seconds that an executor waits at exit. Defaults to 10 for one without this attribute."""
    return float(getattr(executor, "grace", _DEFAULT_GRACE))


class ThreadExecutor:
    """Runs background operations in threads of this process.

    Args:
        workers: The maximum number of concurrent operations. Defaults to 8.
        grace: The seconds to wait at exit for running operations, and for an unavailable store. Operations
            that have not finished are resumed by another process, or by this one after its restart. Defaults
            to 10.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(self, workers: int = 8, *, grace: float = _DEFAULT_GRACE) -> None:
        if not isinstance(workers, int) or workers < 1:
            raise ValueError(f"ThreadExecutor(workers={workers!r}): give a whole number, at least 1")
        if grace < 0:
            raise ValueError(f"ThreadExecutor(grace={grace!r}): give a number of seconds, 0 or more")
        self._workers = workers
        self.grace = grace
        self._run: Callable[[str], None] | None = None

    def start(self, run: Callable[[str], None]) -> None:
        """Implement :meth:`Executor.start`. Threads are created on demand."""
        self._run = run
        self._lock = Lock()
        self._queue: SimpleQueue[str | None] = SimpleQueue()
        self._waiting: set[str] = set()
        self._threads: list[Thread] = []
        self._idle = 0
        self._stopping = Event()

    def submit(self, operation_id: str, delay: float = 0) -> None:
        """Implement :meth:`Executor.submit`. Delayed operations are ignored: they wait in the store."""
        if delay > 0 or self._run is None:
            return
        with self._lock:
            if self._stopping.is_set() or operation_id in self._waiting:
                return
            self._waiting.add(operation_id)
            self._queue.put(operation_id)
            if self._idle < len(self._waiting) and len(self._threads) < self._workers:
                name = f"brokerkit-worker-{len(self._threads) + 1}"
                thread = Thread(target=self._work, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()

    def stop(self) -> None:
        """Implement :meth:`Executor.stop`."""
        if self._run is None:
            return
        with self._lock:
            self._stopping.set()
            threads = list(self._threads)
        for _ in threads:
            self._queue.put(None)
        deadline = monotonic() + self.grace
        for thread in threads:
            thread.join(max(0.0, deadline - monotonic()))
        running = sum(thread.is_alive() for thread in threads)
        if running:
            _logger.warning(
                "Executor stopped with %s unfinished; another process will resume them",
                plural(running, "background operation"),
            )

    def _work(self) -> None:
        assert self._run is not None, "the executor is started before its threads"
        while True:
            with self._lock:
                self._idle += 1
            operation_id = self._queue.get()
            with self._lock:
                self._idle -= 1
                if operation_id is not None:
                    self._waiting.discard(operation_id)
            if operation_id is None or self._stopping.is_set():
                return
            self._run(operation_id)
