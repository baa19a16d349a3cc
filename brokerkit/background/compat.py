"""What is to be done when a process ends, however it was made."""

from __future__ import annotations

import atexit
import sys
import threading
from collections.abc import Callable
from threading import Lock


def register_exit_hook(end: Callable[[], None]) -> None:
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


def unregister_exit_hook(end: Callable[[], None]) -> None:
    """It need not be called any more by `atexit`; of a finalizer, a call more does no harm."""
    atexit.unregister(end)


def check_threads() -> None:
    """Make sure that nobody replaced them since, as gevent does: half of the package would wait for ever.

    Raises:
        RuntimeError: Somebody did.
    """
    if threading.Lock is not Lock:
        raise RuntimeError(
            "gevent replaced Python's threads after the broker was loaded, which cannot work. With gunicorn's"
            " --preload, let it do so before: begin gunicorn.conf.py with"
            " `from gevent import monkey; monkey.patch_all()`; or leave out --preload"
        )
