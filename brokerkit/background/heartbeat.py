"""The heartbeat of a process, which renews the leases of running attempts.

It runs in a separate thread, so that no other work delays a renewal.
"""

from __future__ import annotations

import logging
from threading import Event, Lock, Thread

from ..store.errors import StoreUnavailable
from ..store.models import Attempt
from ..store.store import Store

_logger = logging.getLogger(__name__)


class Heartbeat:
    """A thread that renews the leases of attempts.

    Args:
        store: The store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._interval = store.lease / 4
        self._attempts: dict[str, Attempt] = {}
        self._lock = Lock()
        self._stopped = Event()
        self._thread = Thread(target=self._run, name="brokerkit-heartbeat", daemon=True)

    def start(self) -> None:
        """Start the thread, in a process that serves requests."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread is running."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Stop the thread. Leases are no longer renewed."""
        self._stopped.set()
        if self.is_alive:
            self._thread.join(self._interval)

    def add(self, attempt: Attempt) -> None:
        """Renew the lease of an attempt from now on."""
        with self._lock:
            self._attempts[attempt.operation_id] = attempt

    def remove(self, attempt: Attempt) -> None:
        """Stop renewing the lease of an attempt. A later attempt of the same operation is not affected."""
        with self._lock:
            tracked = self._attempts.get(attempt.operation_id)
            if tracked is not None and tracked.number == attempt.number:
                del self._attempts[attempt.operation_id]

    def tracks(self, operation_id: str) -> bool:
        """Whether an attempt of an operation is running in this process."""
        return operation_id in self._attempts

    def beat(self) -> float:
        """Renew the leases of all attempts once.

        Returns:
            The number of seconds until the next renewal.
        """
        with self._lock:
            attempts = list(self._attempts.values())
        try:
            for attempt in self._store.renew(attempts) if attempts else ():
                self.remove(attempt)  # the attempt lost its lease, or has just ended
        except StoreUnavailable:
            return min(1.0, self._interval)
        except BaseException:
            _logger.exception("Heartbeat failed; will retry")
        return self._interval

    def _run(self) -> None:
        pause = self._interval
        while not self._store.clock.wait(self._stopped, pause):
            pause = self.beat()
