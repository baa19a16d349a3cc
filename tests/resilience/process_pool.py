"""A program that forks server processes: tests kill hundreds in the time that imports need for a few.

It reads a `StartRequest` per line and writes a `StartedProcess` per line. At the end of its input it kills
the remaining processes and ends.
"""

from __future__ import annotations

import atexit
import faulthandler
import os
import signal
import socket
import sys
import traceback
from contextlib import suppress
from types import FrameType
from typing import NoReturn

import alembic.command
import msgspec
import psycopg  # noqa: F401 - loaded once, so that no forked process has to
from waitress import serve  # type: ignore[import-untyped]

from .broker_app import Settings, make_app, make_celery

assert alembic.command

_CHILD_SIGNALS = {signal.SIGCHLD}


class StartRequest(msgspec.Struct, frozen=True):
    """A process to start.

    Args:
        settings: The broker's settings.
        threads: The number of threads that serve requests.
        log: The path of the log.
        worker: The arguments of a Celery worker, which leads a process group. None for a web process.
    """

    settings: Settings
    threads: int
    log: str
    worker: list[str] | None = None


class StartedProcess(msgspec.Struct, frozen=True):
    """A started process and the port that it listens on."""

    pid: int
    port: int


def main() -> None:
    """Start processes until the input ends."""
    children: set[int] = set()
    signal.signal(signal.SIGCHLD, lambda *_: _reap(children))
    for line in sys.stdin.buffer:
        request = msgspec.json.decode(line, type=StartRequest)
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        port = listener.getsockname()[1]
        signal.pthread_sigmask(signal.SIG_BLOCK, _CHILD_SIGNALS)
        pid = os.fork()
        if pid == 0:
            _run_child(request, listener)
        children.add(pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _CHILD_SIGNALS)
        listener.close()
        sys.stdout.buffer.write(msgspec.json.encode(StartedProcess(pid, port)) + b"\n")
        sys.stdout.buffer.flush()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # from here on, zombies keep their process ids
    for pid in children:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _reap(children: set[int]) -> None:
    """Remove dead children: the system may give their ids to processes that must not be killed."""
    with suppress(ChildProcessError):
        while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
            children.discard(pid)


def _run_child(request: StartRequest, listener: socket.socket) -> NoReturn:
    """Serve until a signal ends the process, like a process that was started on its own."""
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _CHILD_SIGNALS)
        signal.signal(signal.SIGTERM, _exit)
        log = os.open(request.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for old, new in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(old, new)
        faulthandler.enable()
        if request.worker is None:
            serve(make_app(request.settings), sockets=[listener], threads=request.threads, _quiet=True)
        else:
            _run_worker(request.settings, request.worker)
        status = 0
    except SystemExit:
        status = 0
    except BaseException:  # noqa: BLE001 - the child must never return to the loop of its parent
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stderr.flush()
        os._exit(status)


def _run_worker(settings: Settings, arguments: list[str]) -> None:
    os.setsid()
    assert settings.redis is not None, "a Celery worker needs Redis"
    make_app(settings)
    make_celery(settings.redis).worker_main(["worker", "--loglevel=INFO", *arguments])


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


if __name__ == "__main__":
    main()
