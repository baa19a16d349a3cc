"""All that there is in production: a database, a queue, servers and workers; each can be killed."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self

from cryptography.fernet import Fernet

from ..resilience.events import Events
from ..resilience.processes import Server
from ..resilience.wait import until
from ..samples.cluster import SAMPLE, TEMPLATE, Cluster, prepared
from ..support import redis
from ..support.celery_worker import CeleryWorker
from ..support.gunicorn import Gunicorn
from ..support.postgres_fixtures import _memory
from .settings import CALM, EVENTS, REDIS

WEB_SERVERS, WEB_WORKERS, THREADS = 2, 2, 8
POOLS = ("prefork", "prefork", "threads")
"""Of the workers of Celery's, one each."""

LEASE = 5.0

_GENTLE = ("nice", "-n", "10")
"""Who tests something else at the same time goes first."""


class Site:
    """A database server, a queue, two web servers with two workers each, and three workers of Celery's.

    Args:
        cluster: The database server, with the store.
        queue: Redis.
        folder: Of events and logs.
    """

    def __init__(self, cluster: Cluster, queue: redis.Server, folder: Path) -> None:
        self.cluster, self.queue, self.folder = cluster, queue, folder
        self.events = Events(folder / "events")
        self.environment = {
            "BROKER_USERNAME": "platform",
            "BROKER_PASSWORD": "s3cret",
            "BROKER_STORE": f"{cluster.store}?lease={LEASE}",
            "BROKER_KEYS": Fernet.generate_key().decode(),
            "POSTGRES_URL": cluster.url,
            "POSTGRES_TEMPLATE": TEMPLATE,
            "PYTHONPATH": str(SAMPLE),
            EVENTS: str(folder / "events"),
            REDIS: queue.url,
        }
        self.webs = [self._web(number) for number in range(WEB_SERVERS)]
        self.workers = [self._worker(number, pool) for number, pool in enumerate(POOLS)]

    def _web(self, number: int) -> Gunicorn:
        return Gunicorn(
            "tests.chaos.broker_app:app",
            "--log-level=warning",
            workers=WEB_WORKERS,
            threads=THREADS,
            log=self.folder / f"web-{number}.log",
            before=_GENTLE,
            **self.environment,
        )

    def _worker(self, number: int, pool: str) -> CeleryWorker:
        return CeleryWorker(
            "tests.chaos.broker_app:celery_app",
            *(f"--pool={pool}", "--concurrency=2", "--loglevel=INFO"),
            log=self.folder / f"worker-{number}.log",
            before=_GENTLE,
            **self.environment,
        )

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for web in self.webs:
                stack.enter_context(web)
            for worker in self.workers:
                stack.enter_context(worker)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    @property
    def servers(self) -> list[Server]:
        """Where requests go."""
        return [Server(web.port, web.pid) for web in self.webs]

    def kill(self, server: Gunicorn | CeleryWorker) -> None:
        """Kill all of its processes, as when a machine dies."""
        _kill(server.pid)
        until(lambda: not _lives(server.pid), timeout=60)  # now it makes no more of them
        members = {server.pid, *_group(server.pid)}
        for pid in members:
            _kill(pid)
        for pid in members:
            self.note_death(pid)
        server.bury()

    def tend(self) -> int:
        """Start again what ended by itself, as whatever supervises them in production does.

        gunicorn ends when a worker finds no database at its start.

        Returns:
            How many there were.
        """
        servers: list[Gunicorn | CeleryWorker] = [*self.webs, *self.workers]
        ended = [server for server in servers if server.has_ended]
        for server in ended:
            self.kill(server)  # what it may have left
            server.start()
        return len(ended)

    def kill_one(self, server: Gunicorn | CeleryWorker, chance: random.Random) -> None:
        """Kill one of its processes, which it then makes anew; rather one that runs a handler.

        Args:
            server: Whose.
            chance: Decides which.
        """
        children = children_of(server.pid)
        running = {run.begun.pid for run in self.events.runs() if not run.through}
        if children:
            pid = chance.choice([child for child in children if child in running] or children)
            _kill(pid)
            self.note_death(pid)

    def note_death(self, pid: int) -> None:
        """When a process is gone, the handlers that it ran are over."""
        until(lambda: not _lives(pid), timeout=60)
        self.events.note("killed", "by the test", pid=pid)

    def calm_down(self) -> None:
        """Handlers do not dawdle any more, and messages get through."""
        (self.folder / CALM).touch()

    def logs(self) -> Iterator[tuple[str, str]]:
        """What all processes say, by the names of the files."""
        for path in sorted(self.folder.glob("*.log")):
            yield path.name, path.read_text("utf-8", errors="replace")


@contextmanager
def production(folder: Path) -> Iterator[Site]:
    """All of it, running."""
    with (
        prepared(under=_memory(), fsync="off", max_connections="300") as cluster,
        redis.Server() as queue,
        Site(cluster, queue, folder) as site,
    ):
        yield site


def children_of(pid: int) -> list[int]:
    """The processes that a process has made."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _group(leader: int) -> Iterator[int]:
    """All processes of a group."""
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(ProcessLookupError):
            if os.getpgid(int(path.name)) == leader:
                yield int(path.name)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _lives(pid: int) -> bool:
    """A zombie does not: it is only not buried yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(") ")[2][:1] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
