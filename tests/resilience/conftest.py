"""What the tests share that shoot at a store: processes to shoot at, and where these note what they do.

`BROKERKIT_ENDURANCE=4` makes them take about four times as long, and try more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ..support.stateful import store_url  # noqa: F401
from .broker_app import LEASE, Setting
from .events import Events
from .processes import CeleryWorker, Nursery, Server

ROUNDS = int(os.environ.get("BROKERKIT_ENDURANCE", "1"))
"""How often things are tried whose outcome depends on chance."""


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    with Nursery() as made:
        yield made


@dataclass
class Range:
    """A store, the processes that serve it, and what their handlers noted.

    Args:
        nursery: Where the processes come from.
        url: The store's.
        folder: Of events, gates and logs.
        redis: That of Celery's workers, if they do the background work.
    """

    nursery: Nursery
    url: str
    folder: Path
    redis: str | None = None
    servers: list[Server] = field(default_factory=list)
    workers: list[CeleryWorker] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.events = Events(self.folder / "events")

    def setting(
        self,
        *,
        lease: float = LEASE,
        kill_at: int | None = None,
        busy_timeout: int | None = None,
        log_level: str = "INFO",
    ) -> Setting:
        return Setting(
            url=self.url,
            folder=str(self.folder),
            lease=lease,
            kill_at=kill_at,
            busy_timeout=busy_timeout,
            log_level=log_level,
            redis=self.redis,
        )

    def serve(self, setting: Setting | None = None, *, threads: int = 8) -> Server:
        """One more process."""
        server = self.nursery.serve(setting or self.setting(), threads=threads)
        self.servers.append(server)
        return server

    def work(self, *arguments: str) -> CeleryWorker:
        """One more worker of Celery's."""
        worker = self.nursery.work(self.setting(), *arguments)
        self.workers.append(worker)
        return worker

    def open_gate(self, name: str) -> None:
        (self.folder / name).touch()

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text("utf-8")

    @property
    def worker_log(self) -> str:
        return (self.folder / "worker-log").read_text("utf-8")

    def close(self) -> None:
        """Kill those that are left."""
        processes: list[Server | CeleryWorker] = [*self.servers, *self.workers]
        for process in processes:
            if process.is_alive:
                process.kill()


@pytest.fixture
def shooting_range(nursery: Nursery, store_url: str, tmp_path: Path) -> Iterator[Range]:  # noqa: F811
    made = Range(nursery, store_url, tmp_path)
    yield made
    made.close()
