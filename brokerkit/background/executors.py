"""Who runs background operations.

An executor is told ids and calls what it was started with; the operation's row in the store is the truth. So
an id may be lost, told twice or told to another process, and nothing comes of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from queue import SimpleQueue
from threading import Event, Lock, Thread
from time import monotonic
from typing import Protocol, runtime_checkable

_logger = logging.getLogger("brokerkit")


class Executor(Protocol):
    """Runs background operations, here or elsewhere.

    It may be `ReportsLiveness` too, for the broker's health.
    """

    def start(self, run: Callable[[str], None]) -> None:
        """Get ready, in a process that serves.

        Args:
            run: Runs an attempt of the operation with an id, if it is due. It raises nothing.
        """
        ...

    def submit(self, operation_id: str, delay: float = 0) -> None:
        """Have an operation run.

        Args:
            operation_id: Which.
            delay: In how many seconds, at the earliest. The broker submits it again when that time has
                come, so an executor may leave it at that.
        """
        ...

    def stop(self) -> None:
        """Take nothing more, and wait a while for what runs."""
        ...


@runtime_checkable
class ReportsLiveness(Protocol):
    """An executor that tells whether it is in order; others are taken to be."""

    def alive(self) -> bool:
        """Can it take operations? It may ask others, and take its time. What it raises is a no."""
        ...


def is_alive(executor: Executor) -> bool:
    """What an executor says of itself; one that says nothing is in order."""
    if not isinstance(executor, ReportsLiveness):
        return True
    try:
        return bool(executor.alive())
    except Exception:
        _logger.exception("the executor could not tell whether it is in order")
        return False


class ThreadExecutor:
    """Runs background operations in threads of this process.

    Args:
        workers: How many at a time.
        grace: For how many seconds it waits at exit for those that run. What is not through by then is
            taken up by another process, or by the next one.

    Raises:
        ValueError: A number makes no sense.
    """

    def __init__(self, workers: int = 8, *, grace: float = 10.0) -> None:
        if not isinstance(workers, int) or workers < 1:
            raise ValueError(f"ThreadExecutor(workers={workers!r}): give a whole number, at least 1")
        if grace < 0:
            raise ValueError(f"ThreadExecutor(grace={grace!r}): give a number of seconds, 0 or more")
        self._workers = workers
        self._grace = grace
        self._run: Callable[[str], None] | None = None

    def start(self, run: Callable[[str], None]) -> None:
        """As :meth:`Executor.start`. Threads are made as they are needed."""
        self._run = run
        self._lock = Lock()
        self._queue: SimpleQueue[str | None] = SimpleQueue()
        self._waiting: set[str] = set()
        self._threads: list[Thread] = []
        self._idle = 0
        self._stopping = Event()

    def submit(self, operation_id: str, delay: float = 0) -> None:
        """As :meth:`Executor.submit`. What is delayed waits in the store, not here."""
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
        """As :meth:`Executor.stop`."""
        if self._run is None:
            return
        with self._lock:
            self._stopping.set()
            threads = list(self._threads)
        for _ in threads:
            self._queue.put(None)
        until = monotonic() + self._grace
        for thread in threads:
            thread.join(max(0.0, until - monotonic()))
        running = sum(thread.is_alive() for thread in threads)
        if running:
            _logger.warning("%d background operations are left to other processes", running)

    def _work(self) -> None:
        assert self._run is not None, "it is started"
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
