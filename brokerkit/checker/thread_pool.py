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


def run_in_threads(lanes: Sequence[Sequence[Callable[[], T]]], threads: int) -> list[Future[T]]:
    """Begin to do several things.

    Args:
        lanes: What to do, in order; what is in one lane is done one after the other.
        threads: How many of the lanes at a time.

    Returns:
        A future for each thing; those that have not begun can be cancelled.
    """
    waiting = deque([(Future[T](), job) for job in lane] for lane in lanes)
    futures = [future for lane in waiting for future, _ in lane]

    def work() -> None:
        while waiting:
            try:
                lane = waiting.popleft()
            except IndexError:  # another thread was quicker
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
    except BaseException as error:  # noqa: BLE001 - whoever waits for it is told
        future.set_exception(error)
    else:
        future.set_result(result)
