"""Protection against children that are forked inside of a handler."""

from __future__ import annotations

import os
import traceback
from contextlib import suppress
from types import TracebackType


class EndForkedChild:
    """A context manager for code that may fork: a child that leaves the block ends immediately.

    Otherwise the child would continue as a second copy of the server. It runs no exit hooks, because these
    belong to its parent. An exception of the child is printed to stderr.
    """

    __slots__ = ("_pid",)

    def __enter__(self) -> None:
        self._pid = os.getpid()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if os.getpid() == self._pid:
            return
        status = 1
        try:
            status = _exit_status(error)
            if error is not None and not isinstance(error, SystemExit | StopIteration):
                traceback.print_exception(error)
        finally:
            os._exit(status)


def _exit_status(error: BaseException | None) -> int:
    """Return the status with which a program ends after an exception, as the interpreter does."""
    if error is None or isinstance(error, StopIteration):  # a generator returned
        return 0
    code = error.code if isinstance(error, SystemExit) else 1
    if code is None:
        return 0
    with suppress(TypeError, ValueError):
        return int(code) & 0xFF
    return 1
