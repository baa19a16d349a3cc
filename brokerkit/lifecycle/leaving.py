"""What is to be done when a process ends, however it was made."""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable


def at_end(end: Callable[[], None]) -> None:
    """Have a function called when this process ends in order.

    A server may have made it with `multiprocessing`, as granian does. Where such a process was forked, it
    ends without `atexit`, but has finalizers.

    Args:
        end: The function. It may be called twice, and in children of a fork too.
    """
    atexit.register(end)
    made_by = sys.modules.get("multiprocessing.process")
    if made_by is not None and made_by.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, end, exitpriority=100)


def never_mind(end: Callable[[], None]) -> None:
    """It need not be called any more by `atexit`; of a finalizer, a call more does no harm."""
    atexit.unregister(end)
