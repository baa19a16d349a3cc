"""Servers on a store, each started as the README says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from ..support.servers import Kind, Process
from .broker_app import VARIABLE, Setting
from .events import Events
from .processes import ROOT, Server

NEVER = 600.0
"""A lease that no test waits for."""

MODULE = "from tests.resilience.broker_app import make_app\n\napp = make_app()\n"


class Site:
    """A store, and the servers on it; in a folder as the README has it.

    Args:
        kind: Which server.
        url: The store's.
        folder: The folder.
    """

    def __init__(self, kind: Kind, url: str, folder: Path) -> None:
        self.kind, self.url, self.folder = kind, url, folder
        self.events = Events(folder / "events")
        self._processes: list[Process] = []
        (folder / "broker.py").write_text(MODULE)

    def serve(self, *arguments: str, workers: int = 1, lease: float = NEVER, **settings: Any) -> Process:
        """One more server, with so many processes."""
        setting = Setting(url=self.url, folder=str(self.folder), lease=lease, **settings)
        process = Process(
            self.kind,
            self.folder,
            *arguments,
            workers=workers,
            log=self.folder / f"log-{len(self._processes)}",
            **{VARIABLE: msgspec.json.encode(setting).decode(), "PYTHONPATH": str(ROOT)},
        )
        self._processes.append(process)
        return process

    def open_gate(self, name: str) -> None:
        (self.folder / name).touch()

    def close(self) -> None:
        for process in self._processes:
            process.close()


def server_of(process: Process) -> Server:
    return Server(process.port, process.pid)
