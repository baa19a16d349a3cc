"""How a process is, asked in a thread of its own, so that nobody waits long for an answer."""

from __future__ import annotations

from collections.abc import Callable

from .._looking import Looks
from ..health import Health, Word

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
        self._looks = Looks(look, name="brokerkit-checkup", patience=_PATIENCE, every=_FRESH)

    def facts(self) -> Health:
        """What a look found that has just been made, or that begins now and does not take long."""
        return self._looks.found() or _NO_ANSWER
