"""A deployment as in production: a database, a queue, web servers and workers. Each can be killed."""

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
from ..samples.cluster import SAMPLE, TEMPLATE, Cluster, prepared
from ..support import redis
from ..support.celery_worker import CeleryWorker
from ..support.gunicorn import Gunicorn
from ..support.postgres_fixtures import memory_folder
from ..support.wait import wait_until
from .settings import EVENTS, REDIS, RELIABLE

WEB_SERVERS, WEB_WORKERS, THREADS = 2, 2, 8
POOLS = ("prefork", "prefork", "threads")
"""The pool of each Celery worker."""

LEASE = 5.0

_LOW_PRIORITY = ("nice", "-n", "10")
"""Other tests that run at the same time have priority."""


class Deployment:
    """A database server, a queue, two web servers with two workers each, and three Celery workers.

    Args:
        cluster: The database server, which also has the store.
        queue: The Redis server.
        folder: The folder of events and logs.
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
            before=_LOW_PRIORITY,
            **self.environment,
        )

    def _worker(self, number: int, pool: str) -> CeleryWorker:
        return CeleryWorker(
            "tests.chaos.broker_app:celery_app",
            *(f"--pool={pool}", "--concurrency=2", "--loglevel=INFO"),
            log=self.folder / f"worker-{number}.log",
            before=_LOW_PRIORITY,
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
        """The web servers that clients send requests to."""
        return [Server(web.port, web.pid) for web in self.webs]

    def kill(self, server: Gunicorn | CeleryWorker) -> None:
        """Kill all processes of a server together, as when a machine crashes."""
        _kill(server.pid)
        wait_until(
            lambda: not _is_running(server.pid), timeout=60
        )  # from here on, it starts no further processes
        members = {server.pid, *_group(server.pid)}
        for pid in members:
            _kill(pid)
        for pid in members:
            self.record_death(pid)
        server.reap()

    def restart_ended(self) -> int:
        """Start the servers again that have ended, as a supervisor does in production.

        gunicorn ends when a worker cannot connect to the database at its start.

        Returns:
            The number of started servers.
        """
        servers: list[Gunicorn | CeleryWorker] = [*self.webs, *self.workers]
        ended = [server for server in servers if server.has_ended]
        for server in ended:
            self.kill(server)  # its remaining processes
            server.start()
        return len(ended)

    def kill_child(self, server: Gunicorn | CeleryWorker, chance: random.Random) -> None:
        """Kill a child process of a server, preferably one that runs a handler.

        Args:
            server: The server, which then starts another child.
            chance: Chooses the child.
        """
        children = children_of(server.pid)
        running = {run.begin.pid for run in self.events.runs() if not run.completed}
        if children:
            pid = chance.choice([child for child in children if child in running] or children)
            _kill(pid)
            self.record_death(pid)

    def record_death(self, pid: int) -> None:
        """Wait until a process has ended, and record that, which ends the runs of its handlers."""
        wait_until(lambda: not _is_running(pid), timeout=60)
        self.events.record("killed", "by the test", pid=pid)

    def make_reliable(self) -> None:
        """Switch off delays and lost messages."""
        (self.folder / RELIABLE).touch()

    def logs(self) -> Iterator[tuple[str, str]]:
        """Yield the name and the text of each log."""
        for path in sorted(self.folder.glob("*.log")):
            yield path.name, path.read_text("utf-8", errors="replace")


@contextmanager
def running_deployment(folder: Path) -> Iterator[Deployment]:
    """Run a deployment."""
    with (
        prepared(under=memory_folder(), fsync="off", max_connections="300") as cluster,
        redis.Server() as queue,
        Deployment(cluster, queue, folder) as deployment,
    ):
        yield deployment


def children_of(pid: int) -> list[int]:
    """Return the ids of the children of a process."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _group(leader: int) -> Iterator[int]:
    """Yield the ids of all processes of a group."""
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(ProcessLookupError):
            if os.getpgid(int(path.name)) == leader:
                yield int(path.name)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _is_running(pid: int) -> bool:
    """Whether a process runs. A zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(") ")[2][:1] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
