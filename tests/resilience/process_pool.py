"""Forks server processes, so that hundreds can be killed in the time that it takes to import a few.

Run as a module, it reads a line for each process that is wanted and answers with a line that says which it is
and where it listens. When its input ends it kills those that are left, and ends.
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
import psycopg  # noqa: F401 - so that no process needs to load it itself
from waitress import serve  # type: ignore[import-untyped]

from .broker_app import Setting, make_app, make_celery

assert alembic.command


_DEATHS = {signal.SIGCHLD}


class Wanted(msgspec.Struct, frozen=True):
    """A process that is wanted.

    Args:
        setting: What it serves, or works for.
        threads: In how many threads it serves.
        log: Where its log goes.
        worker: It is a worker of Celery's, with these arguments, and the first of a group of processes.
    """

    setting: Setting
    threads: int
    log: str
    worker: list[str] | None = None


class Born(msgspec.Struct, frozen=True):
    """A process that is there, and the port it listens on."""

    pid: int
    port: int


def main() -> None:
    children: set[int] = set()
    signal.signal(signal.SIGCHLD, lambda *_: _bury(children))
    for line in sys.stdin.buffer:
        wanted = msgspec.json.decode(line, type=Wanted)
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        port = listener.getsockname()[1]
        signal.pthread_sigmask(signal.SIG_BLOCK, _DEATHS)
        pid = os.fork()
        if pid == 0:
            _live(wanted, listener)
        children.add(pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _DEATHS)
        listener.close()
        sys.stdout.buffer.write(msgspec.json.encode(Born(pid, port)) + b"\n")
        sys.stdout.buffer.flush()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # no id is given to somebody else from here on
    for pid in children:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _bury(children: set[int]) -> None:
    """Forget those that are dead: the system may give their ids to others, who are not to be killed."""
    with suppress(ChildProcessError):
        while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
            children.discard(pid)


def _live(wanted: Wanted, listener: socket.socket) -> NoReturn:
    """Serve until a signal ends it; as if the process had been started for this alone."""
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _DEATHS)
        signal.signal(signal.SIGTERM, _exit)
        log = os.open(wanted.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for old, new in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(old, new)
        faulthandler.enable()
        if wanted.worker is None:
            serve(make_app(wanted.setting), sockets=[listener], threads=wanted.threads, _quiet=True)
        else:
            _work(wanted.setting, wanted.worker)
        status = 0
    except SystemExit:
        status = 0
    except BaseException:  # noqa: BLE001 - nothing may go on from here
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stderr.flush()
        os._exit(status)


def _work(setting: Setting, arguments: list[str]) -> None:
    os.setsid()
    assert setting.redis is not None, "its executor is Celery's"
    make_app(setting)
    make_celery(setting.redis).worker_main(["worker", "--loglevel=INFO", *arguments])


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


if __name__ == "__main__":
    main()
