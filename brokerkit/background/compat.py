"""Compatibility with process models: exit hooks for each kind of server process, and a check for gevent."""

from __future__ import annotations

import atexit
import sys
import threading
from collections.abc import Callable
from threading import Lock


def register_exit_hook(hook: Callable[[], None]) -> None:
    """Register a function to be called when this process exits normally.

    Some servers, for example granian, create their processes with `multiprocessing`. If such a process was
    forked, it does not run `atexit` functions when it exits, but it runs the finalizers of `multiprocessing`.

    Args:
        hook: The function. It may be called twice, and also in forked children.
    """
    atexit.register(hook)
    multiprocessing = sys.modules.get("multiprocessing.process")
    if multiprocessing is not None and multiprocessing.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, hook, exitpriority=100)


def unregister_exit_hook(hook: Callable[[], None]) -> None:
    """Remove a function from `atexit`. Finalizers stay registered, because another call is harmless."""
    atexit.unregister(hook)


def check_threads() -> None:
    """Check that Python's threads were not replaced after import, as gevent does.

    A mix of original and replaced threads and locks would deadlock.

    Raises:
        RuntimeError: The threads were replaced.
    """
    if threading.Lock is not Lock:
        raise RuntimeError(
            "gevent patched Python's threads after brokerkit was imported, which is not supported. With"
            " gunicorn's --preload, patch them earlier: start gunicorn.conf.py with"
            " `from gevent import monkey; monkey.patch_all()`. Or omit --preload"
        )
