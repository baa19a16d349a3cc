"""Several things at a time, in threads that the end of the program need not wait for.

Those of a `ThreadPoolExecutor` it waits for, and a broker may let a request hang for as long as it likes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def in_threads(jobs: Sequence[Callable[[], T]], threads: int) -> list[Future[T]]:
    """Begin to do several things.

    Args:
        jobs: What to do, in order.
        threads: How many of them at a time.

    Returns:
        A future for each; those that have not begun can be cancelled.
    """
    futures: list[Future[T]] = [Future() for _ in jobs]
    waiting = deque(zip(futures, jobs, strict=True))

    def work() -> None:
        while waiting:
            try:
                future, job = waiting.popleft()
            except IndexError:  # another thread was quicker
                return
            if future.set_running_or_notify_cancel():
                _do(job, future)

    for _ in range(min(threads, len(jobs))):
        Thread(target=work, name="brokerkit-check", daemon=True).start()
    return futures


def _do(job: Callable[[], T], future: Future[T]) -> None:
    try:
        result = job()
    except BaseException as error:  # noqa: BLE001 - whoever waits for it is told
        future.set_exception(error)
    else:
        future.set_result(result)
