"""How a process is, asked in a thread of its own, so that nobody waits long for an answer.

There is one such thread at a time, however many ask and however long it hangs.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from threading import Event, Lock, Thread
from time import monotonic

from ..health import Health, Word

_logger = logging.getLogger("brokerkit")

_PATIENCE = 0.75
"""For how many seconds an answer is waited for: platforms give up after one."""

_FRESH = 1.0
"""For how many seconds an answer is given again, so that who asks often costs the database nothing."""

_NO_ANSWER = Health.of(store=Word.FAILED, schema=Word.UNKNOWN, executor=Word.UNKNOWN)


class Checkup:
    """Looks how a process is.

    Args:
        look: Looks; it may hang.
    """

    def __init__(self, look: Callable[[], Health]) -> None:
        self._look = look
        self._lock = Lock()
        self._last: _Look | None = None

    def facts(self) -> Health:
        """What a look found that has just been made, or that begins now and does not take long."""
        with self._lock:
            if self._last is None or self._last.is_past:
                self._last = _Look(self._look)
            look = self._last
        return look.facts()


class _Look:
    """One look."""

    def __init__(self, look: Callable[[], Health]) -> None:
        self._found = _NO_ANSWER
        self._is_through = Event()
        self._pid = os.getpid()
        self._begun = monotonic()
        Thread(target=self._do, args=(look,), name="brokerkit-checkup", daemon=True).start()

    @property
    def is_past(self) -> bool:
        """Is it to be made anew? What hangs is waited for; of a fork's parent, it is no longer heard of."""
        is_stale = monotonic() >= self._begun + _FRESH
        return self._pid != os.getpid() or (is_stale and self._is_through.is_set())

    def facts(self) -> Health:
        self._is_through.wait(max(0.0, self._begun + _PATIENCE - monotonic()))
        return self._found

    def _do(self, look: Callable[[], Health]) -> None:
        try:
            self._found = look()
        except BaseException:
            _logger.exception("how this process is could not be found out")
        finally:
            self._is_through.set()
