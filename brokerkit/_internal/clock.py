"""The clock of a process: its time, its waits and the ids that contain a time."""

from __future__ import annotations

import secrets
import time
from threading import Event


class Clock:
    """The time and the waits of a process. A simulation replaces it.

    The store's times are by the database's clock. On SQLite, the database asks :meth:`time`. PostgreSQL has a
    clock of its own.
    """

    def time(self) -> float:
        """Return the time in seconds since 1970."""
        return time.time()

    def monotonic(self) -> float:
        """Return the seconds since an arbitrary moment. Unlike :meth:`time`, they never jump."""
        return time.monotonic()

    def wait(self, event: Event, seconds: float) -> bool:
        """Wait for an event.

        Args:
            event: The event.
            seconds: The maximum time to wait, in seconds.

        Returns:
            Whether the event is set.
        """
        return event.wait(seconds)

    def new_id(self) -> str:
        """Generate an id that sorts by time and cannot be guessed."""
        return f"{int(self.time() * 1000):012x}{secrets.token_hex(10)}"


SYSTEM_CLOCK = Clock()
"""The clock of the operating system."""
