"""Fixtures for the tests that kill processes: a store, processes that serve it, and their events.

`BROKERKIT_ENDURANCE=4` makes these tests take about four times as long and try more cases.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ..support.stateful import store_url  # noqa: F401
from .broker_app import LEASE, Settings
from .events import Events
from .processes import CeleryWorker, ProcessPool, Server

ROUNDS = int(os.environ.get("BROKERKIT_ENDURANCE", "1"))
"""How often tests repeat cases whose outcome depends on chance."""


@pytest.fixture(scope="session")
def process_pool() -> Iterator[ProcessPool]:
    with ProcessPool() as pool:
        yield pool


@dataclass
class BrokerProcesses:
    """A store, the processes that serve it, and the events that their handlers recorded.

    Args:
        process_pool: Starts the processes.
        url: The URL of the store.
        folder: The folder of events, gates and logs.
        redis: The URL of the Redis of Celery workers. Defaults to background work in threads.
    """

    process_pool: ProcessPool
    url: str
    folder: Path
    redis: str | None = None
    servers: list[Server] = field(default_factory=list)
    workers: list[CeleryWorker] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.events = Events(self.folder / "events")

    def settings(
        self,
        *,
        lease: float = LEASE,
        kill_at: int | None = None,
        busy_timeout: int | None = None,
        log_level: str = "INFO",
    ) -> Settings:
        return Settings(
            url=self.url,
            folder=str(self.folder),
            lease=lease,
            kill_at=kill_at,
            busy_timeout=busy_timeout,
            log_level=log_level,
            redis=self.redis,
        )

    def serve(self, settings: Settings | None = None, *, threads: int = 8) -> Server:
        """Start another web process."""
        server = self.process_pool.serve(settings or self.settings(), threads=threads)
        self.servers.append(server)
        return server

    def start_worker(self, *arguments: str) -> CeleryWorker:
        """Start another Celery worker."""
        worker = self.process_pool.start_worker(self.settings(), *arguments)
        self.workers.append(worker)
        return worker

    def open_gate(self, name: str) -> None:
        """Let handlers continue that wait for this gate."""
        (self.folder / name).touch()

    @property
    def log(self) -> str:
        """The log of the web processes."""
        return (self.folder / "log").read_text("utf-8")

    @property
    def worker_log(self) -> str:
        """The log of the Celery workers."""
        return (self.folder / "worker-log").read_text("utf-8")

    def close(self) -> None:
        """Kill the remaining processes."""
        running: list[Server | CeleryWorker] = [*self.servers, *self.workers]
        for process in running:
            if process.is_alive:
                process.kill()


@pytest.fixture
def processes(process_pool: ProcessPool, store_url: str, tmp_path: Path) -> Iterator[BrokerProcesses]:  # noqa: F811
    created = BrokerProcesses(process_pool, store_url, tmp_path)
    yield created
    created.close()
