"""Looks at what may hang: one thread at a time looks, and nobody waits long for what it finds."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from threading import Event, Lock, Thread, current_thread
from time import monotonic
from typing import Generic, TypeVar

_logger = logging.getLogger("brokerkit")

_Found = TypeVar("_Found")


class BackgroundCall(Generic[_Found]):
    """Looks, however many ask and however long a look hangs, one after the other.

    Args:
        look: Looks; it may hang, and what it raises is logged. None is as if it failed.
        name: Of the thread that looks.
        patience: For how many seconds an answer is waited for.
        every: After how many seconds who asks has another look made, and not before.
        times: Nor before so many times as long as the last one took, if it found anything.
    """

    def __init__(
        self,
        look: Callable[[], _Found | None],
        *,
        name: str,
        patience: float,
        every: float,
        times: float = 0.0,
    ) -> None:
        self._look = look
        self._name = name
        self._patience = patience
        self._every = every
        self._times = times
        self._lock = Lock()
        self._last: CallResult[_Found] | None = None
        self._before: CallResult[_Found] | None = None

    def start(self) -> CallResult[_Found]:
        """The look that is good still, or that goes on; else one that begins now."""
        with self._lock:
            last = self._last
            if last is None or not last.is_from_this_process or last.is_expired(self._every, self._times):
                self._before = last if last is not None and last.is_from_this_process else None
                last = self._last = CallResult(self._look, self._name)
            return last

    def result(self) -> _Found | None:
        """What a look found that is good still, or that begins now and does not take long; else None."""
        last = self.start()
        last.wait(self._patience)
        return last.value

    def latest(self) -> CallResult[_Found] | None:
        """That look; while it takes long, the one before. None if there is none, or it failed."""
        last = self.start()
        last.wait(self._patience)
        latest = last if last.is_finished else self._before
        return None if latest is None or latest.value is None else latest


class CallResult(Generic[_Found]):
    """One look.

    Attributes:
        value: What it found; None if it failed, or is not through yet.
    """

    def __init__(self, look: Callable[[], _Found | None], name: str) -> None:
        self.value: _Found | None = None
        self._is_through = Event()
        self._pid = os.getpid()
        self._begun = self._ended = monotonic()
        Thread(target=self._do, args=(look,), name=name, daemon=True).start()

    @property
    def is_from_this_process(self) -> bool:
        """Of a fork's parent, it is no longer heard of."""
        return self._pid == os.getpid()

    @property
    def is_finished(self) -> bool:
        """Has it come to an end, in whatever way?"""
        return self._is_through.is_set()

    @property
    def duration(self) -> float:
        """How many seconds it took."""
        return self._ended - self._begun

    @property
    def age(self) -> float:
        """How many seconds ago it ended."""
        return monotonic() - self._ended

    def is_expired(self, every: float, times: float) -> bool:
        """Is it to be made anew? What hangs is waited for."""
        if not self.is_finished:
            return False
        rest = (
            0.0 if self.value is None else times * self.duration
        )  # what hung in vain says nothing of its cost
        return monotonic() >= max(self._begun + every, self._ended + rest)

    def wait(self, patience: float) -> None:
        """Wait until it is through, or has gone on for so many seconds."""
        self._is_through.wait(max(0.0, self._begun + patience - monotonic()))

    def _do(self, look: Callable[[], _Found | None]) -> None:
        try:
            self.value = look()
        except BaseException:
            _logger.exception("what the thread %s looks at could not be found out", current_thread().name)
        finally:
            self._ended = monotonic()
            self._is_through.set()
