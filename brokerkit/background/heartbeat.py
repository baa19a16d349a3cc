"""The heartbeat of a process: it says of the attempts that run here that they live.

A thread that does nothing else, so that nothing that takes its time keeps it from beating.
"""

from __future__ import annotations

import logging
from threading import Event, Lock, Thread

from ..store.errors import StoreUnavailable
from ..store.models import Attempt
from ..store.store import Store

_logger = logging.getLogger("brokerkit")


class Heartbeat:
    """Keeps the leases of attempts.

    Args:
        store: The store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._every = store.lease / 4
        self._held: dict[str, Attempt] = {}
        self._lock = Lock()
        self._stopped = Event()
        self._thread = Thread(target=self._beat, name="brokerkit-heart", daemon=True)

    def start(self) -> None:
        """Begin, in a process that serves."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Does its thread run?"""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End; what is held is held no longer."""
        self._stopped.set()
        self._thread.join(self._every)

    def add(self, attempt: Attempt) -> None:
        """Say from now on that an attempt lives."""
        with self._lock:
            self._held[attempt.operation_id] = attempt

    def remove(self, attempt: Attempt) -> None:
        """It is through. A later attempt of the same operation is held on."""
        with self._lock:
            held = self._held.get(attempt.operation_id)
            if held is not None and held.number == attempt.number:
                del self._held[attempt.operation_id]

    def tracks(self, operation_id: str) -> bool:
        """Does an attempt of an operation run here?"""
        return operation_id in self._held

    def _beat(self) -> None:
        pause = self._every
        while not self._stopped.wait(pause):
            pause = self._every
            with self._lock:
                held = list(self._held.values())
            try:
                for attempt in self._store.renew(held) if held else ():
                    self.remove(attempt)  # lost, or through just now
            except StoreUnavailable:
                pause = min(1.0, self._every)
            except BaseException:
                _logger.exception("the heartbeat failed; it goes on")
