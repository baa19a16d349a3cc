"""Compatibility with process models: exit hooks for each kind of server process, and a check for gevent."""

from __future__ import annotations

import atexit
import sys
import threading
from collections.abc import Callable
from threading import Lock


def register_exit_hook(hook: Callable[[], None]) -> None:
    """Register a function to be called when this process exits normally.

    A server may create its processes with `multiprocessing`, as granian does. If such a process was forked,
    it exits without `atexit` but runs finalizers.

    Args:
        hook: The function. It may be called twice, and in forked children as well.
    """
    atexit.register(hook)
    multiprocessing = sys.modules.get("multiprocessing.process")
    if multiprocessing is not None and multiprocessing.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, hook, exitpriority=100)


def unregister_exit_hook(hook: Callable[[], None]) -> None:
    """Remove a function from `atexit`. Finalizers remain, as an additional call is harmless."""
    atexit.unregister(hook)


def check_threads() -> None:
    """Check that Python's threads were not replaced after import, as gevent does.

    Objects of both kinds would wait for each other indefinitely.

    Raises:
        RuntimeError: The threads were replaced.
    """
    if threading.Lock is not Lock:
        raise RuntimeError(
            "gevent patched Python's threads after brokerkit was imported, which is not supported. With"
            " gunicorn's --preload, patch them earlier: start gunicorn.conf.py with"
            " `from gevent import monkey; monkey.patch_all()`. Or omit --preload"
        )
