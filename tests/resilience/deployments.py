"""Deployments of a broker with each server of the README."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from ..support.servers import Kind, Process
from .broker_app import SETTINGS_VARIABLE, Settings
from .events import Events
from .processes import ROOT, Server

NEVER = 600.0
"""A lease, in seconds, that does not expire during a test."""

MODULE = "from tests.resilience.broker_app import make_app\n\napp = make_app()\n"


class Deployment:
    """A store and the servers on it, in a folder with the module `broker` of the README.

    Args:
        kind: The kind of server.
        url: The URL of the store.
        folder: The working directory of the servers.
    """

    def __init__(self, kind: Kind, url: str, folder: Path) -> None:
        self.kind, self.url, self.folder = kind, url, folder
        self.events = Events(folder / "events")
        self._processes: list[Process] = []
        (folder / "broker.py").write_text(MODULE)

    def serve(self, *arguments: str, workers: int = 1, lease: float = NEVER, **more: Any) -> Process:
        """Start another server.

        Args:
            arguments: Additional command-line arguments.
            workers: The number of worker processes. Defaults to 1.
            lease: The store's lease in seconds.
            more: Other fields of `Settings`.
        """
        settings = Settings(url=self.url, folder=str(self.folder), lease=lease, **more)
        process = Process(
            self.kind,
            self.folder,
            *arguments,
            workers=workers,
            log=self.folder / f"log-{len(self._processes)}",
            **{SETTINGS_VARIABLE: msgspec.json.encode(settings).decode(), "PYTHONPATH": str(ROOT)},
        )
        self._processes.append(process)
        return process

    def open_gate(self, name: str) -> None:
        """Let handlers continue that wait for this gate."""
        (self.folder / name).touch()

    def close(self) -> None:
        """Kill all servers."""
        for process in self._processes:
            process.close()


def server_of(process: Process) -> Server:
    """Return the client of a server process."""
    return Server(process.port, process.pid)
