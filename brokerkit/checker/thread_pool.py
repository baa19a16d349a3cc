"""A thread pool of daemon threads.

The interpreter waits at exit for the threads of a `ThreadPoolExecutor`, but a broker may block a request
indefinitely.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def run_in_threads(lanes: Sequence[Sequence[Callable[[], T]]], threads: int) -> list[Future[T]]:
    """Start the jobs in daemon threads.

    Args:
        lanes: The jobs. The jobs of one lane run sequentially.
        threads: The maximum number of lanes that run concurrently.

    Returns:
        A future for each job. Those of jobs that have not started can be cancelled.
    """
    waiting = deque([(Future[T](), job) for job in lane] for lane in lanes)
    futures = [future for lane in waiting for future, _ in lane]

    def work() -> None:
        while waiting:
            try:
                lane = waiting.popleft()
            except IndexError:  # Another thread took the last lane.
                return
            for future, job in lane:
                if future.set_running_or_notify_cancel():
                    _do(job, future)

    for _ in range(min(threads, len(lanes))):
        Thread(target=work, name="brokerkit-check", daemon=True).start()
    return futures


def _do(job: Callable[[], T], future: Future[T]) -> None:
    try:
        result = job()
    except BaseException as error:  # noqa: BLE001 - reported to the caller that waits for the result
        future.set_exception(error)
    else:
        future.set_result(result)
