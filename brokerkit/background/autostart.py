"""The start of background work when a process begins to serve, without waiting for its first request.

Work that a dead process left must continue even if no platform sends a request. A server does not tell an app
that it serves, and may load the app in a parent process that serves nothing. So a thread looks for a known
server's loop in the main thread. Scripts, commands and tests also load the app, and must start nothing.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from threading import Event, Lock, Thread, get_ident, main_thread
from time import monotonic
from types import FrameType
from typing import Protocol
from weakref import WeakSet

_logger = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
"""The seconds between two looks at the main thread. The pause grows from look to look."""

_PATIENCE = 600.0
"""The seconds after which the thread ends if the process does not serve. The first request still starts."""

_LOOPS = (
    ("/gunicorn/workers/", "run"),
    ("/granian/server/", "_spawn_wsgi_worker"),
    ("/waitress/server.py", "run"),
    ("/werkzeug/serving.py", "serve_forever"),
)
"""The functions that serve: a part of the path of their module, and their name."""


class Startable(Protocol):
    """The background work of a broker in this process."""

    @property
    def is_started(self) -> bool:
        """Whether the work was started in this process."""

    def ensure_started(self) -> None:
        """Start the work, unless it was started."""


class _Autostart:
    """The starter of a process. It watches the main thread until the process serves."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: WeakSet[Startable] = WeakSet()
        self._awaits_fork = False
        self._is_registered = False
        self._has_failed = False
        self._watched_by = 0

    def add(self, work: Startable) -> None:
        """Start the work when this process begins to serve, or a child that it forks before that."""
        parts = list(_calls(sys._getframe()))
        if _is_run_by_tool(parts):
            return
        if not self._is_registered and hasattr(os, "register_at_fork"):
            self._is_registered = True
            os.register_at_fork(after_in_child=self._continue_in_child)
        self._waiting.add(work)
        self._awaits_fork = True
        if not _is_parent_of_workers(parts):
            self._watch()

    def _continue_in_child(self) -> None:
        """Watch in a forked child if its parent did not serve yet."""
        self._lock, self._watched_by = Lock(), 0
        if self._awaits_fork and self._waiting:
            self._watch()

    def _watch(self) -> None:
        with self._lock:
            if self._watched_by == os.getpid():
                return
            self._watched_by = os.getpid()
        Thread(target=self._run, args=(main_thread().ident,), name="brokerkit-start", daemon=True).start()

    def _run(self, main_ident: int | None) -> None:
        pid, ends_at, pause, sleep = os.getpid(), monotonic() + _PATIENCE, _FIRST_PAUSE, Event()
        while os.getpid() == pid and monotonic() < ends_at:
            if _serves(main_ident) and self._start_all():
                break
            sleep.wait(pause)
            pause = min(pause * 1.2, _LONGEST_PAUSE)
        if os.getpid() == pid:  # with gevent, a forked child inherits this thread
            self._awaits_fork, self._watched_by = False, 0

    def _start_all(self) -> bool:
        """Start what waits, and return whether all has started."""
        for work in list(self._waiting):
            try:
                if not work.is_started:
                    work.ensure_started()
            except Exception:
                if not self._has_failed:
                    _logger.exception("Cannot start the background work; will retry")
                self._has_failed = True
            else:
                self._waiting.discard(work)
        return not self._waiting


_autostart = _Autostart()


def start_when_serving(work: Startable) -> None:
    """Start the background work of a broker when its process begins to serve requests.

    Call this when the app is loaded.

    Args:
        work: The background work. Only a weak reference is kept.
    """
    _autostart.add(work)


def _calls(frame: FrameType | None) -> Iterator[tuple[str, str]]:
    """Return the paths and names of the functions of a stack, the innermost first."""
    while frame is not None:
        yield frame.f_code.co_filename.replace(os.sep, "/"), frame.f_code.co_name
        frame = frame.f_back


def _is_run_by_tool(calls: list[tuple[str, str]]) -> bool:
    """Whether the app is loaded by a test, by a Celery program or by a Flask command other than `run`."""
    if any("/_pytest/" in path or "/celery/" in path for path, _ in calls):
        return True
    in_flask = [name for path, name in calls if path.endswith("/flask/cli.py")]
    return bool(in_flask) and "run_command" not in in_flask


def _is_parent_of_workers(calls: list[tuple[str, str]]) -> bool:
    """Whether gunicorn loads the app before it forks its workers, which must not happen with a thread."""
    paths = [path for path, _ in calls]
    return any("/gunicorn/arbiter.py" in path for path in paths) and not any(
        "/gunicorn/workers/" in path for path in paths
    )


def _serves(main_ident: int | None) -> bool:
    """Whether the main thread is in the loop of a server."""
    calls = list(_calls(_main_frame(main_ident)))
    if not calls:
        return False
    if any(part in path and name == function for path, name in calls for part, function in _LOOPS):
        return True
    # With its reloader, Flask's server runs in another thread of a second process.
    return os.environ.get("WERKZEUG_RUN_MAIN") == "true" and any(
        path.endswith("/werkzeug/_reloader.py") for path, _ in calls
    )


def _main_frame(main_ident: int | None) -> FrameType | None:
    """Return the innermost frame of the main thread. With gevent, threads are greenlets of one thread."""
    greenlets = sys.modules.get("greenlet")
    if greenlets is not None:
        main = greenlets.getcurrent()
        while main.parent is not None:
            main = main.parent
        if main.gr_frame is not None:
            frame: FrameType = main.gr_frame
            return frame
    if main_ident is None or main_ident == get_ident():
        return None
    return sys._current_frames().get(main_ident)
