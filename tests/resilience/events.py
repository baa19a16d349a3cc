"""Events that handlers record in a file beside the store: many processes append, tests read.

Each line is one write to a file opened for appending, so lines never mix. Times are of a clock that all
processes of a machine share.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import msgspec

from ..support.wait import wait_until

Kind = Literal["begin", "end", "signal", "killed"]


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The begin or end of a handler, a sent signal, or a killed process.

    Args:
        kind: The kind of event.
        name: The handler's operation, the signal's name, or the point where the process was killed.
        pid: The id of the process.
        at: The time of the event.
        instance: The instance's id.
        binding: The binding's id.
        identity: The request's identity, which is different for every request of a platform.
        attempt: The attempt of a background handler.
        run: The id that the begin and the end of a handler share.
        succeeded: For an end, whether the handler raised no exception.
    """

    kind: Kind
    name: str
    pid: int
    at: float
    instance: str | None = None
    binding: str | None = None
    identity: str | None = None
    attempt: int = 1
    run: str = ""
    succeeded: bool = True


# msgspec inspects a struct on first use, which is not thread-safe: do it at import time.
_PREPARED = msgspec.json.Decoder(Event)


class Run(msgspec.Struct, frozen=True):
    """A call of a handler.

    Args:
        begin: The event of its begin.
        ended_at: When the handler or its process ended. Infinite while it runs.
        completed: Whether the handler ended by itself.
        succeeded: Whether the handler returned a result.
    """

    begin: Event
    ended_at: float
    completed: bool
    succeeded: bool

    def overlaps(self, other: Run) -> bool:
        return self.begin.at < other.ended_at and other.begin.at < self.ended_at


class Events:
    """The file of events.

    Args:
        path: The path of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.touch()

    def record(self, kind: Kind, name: str, **fields: str | int | bool | None) -> None:
        """Append an event."""
        event = msgspec.convert(
            {"kind": kind, "name": name, "pid": os.getpid(), "at": time.monotonic(), **fields}, Event
        )
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(file, msgspec.json.encode(event) + b"\n")
        finally:
            os.close(file)

    @contextmanager
    def handling(self, name: str, request: Any) -> Iterator[None]:
        """Record the begin and the end of a handler."""
        fields = {
            "instance": request.instance_id,
            "binding": getattr(request, "binding_id", None),
            "identity": request.headers.request_identity,
            "attempt": request.attempt,
            "run": uuid4().hex,
        }
        succeeded = False
        self.record("begin", name, **fields)
        try:
            yield
            succeeded = True
        finally:
            self.record("end", name, **fields, succeeded=succeeded)

    def read(self) -> list[Event]:
        """Return all events."""
        return [msgspec.json.decode(line, type=Event) for line in self._path.read_bytes().splitlines()]

    def of(self, kind: Kind, name: str | None = None, **fields: object) -> list[Event]:
        """Return the events of a kind with the given name and fields."""
        return [
            event
            for event in self.read()
            if event.kind == kind
            and (name is None or event.name == name)
            and all(getattr(event, key) == value for key, value in fields.items())
        ]

    def wait_for_runs(self, instance: str, number: int) -> list[Run]:
        """Wait until so many handlers of an instance have begun, and return their runs."""
        runs: list[Run] = wait_until(lambda: len(runs := self.runs(instance)) >= number and runs)
        return runs

    def runs(self, instance: str | None = None) -> list[Run]:
        """Return the runs of one instance, or of all, in the order of their begin."""
        events = self.read()
        deaths = {event.pid: event.at for event in events if event.kind == "killed"}
        selected = [event for event in events if instance is None or event.instance == instance]
        ends = {event.run: event for event in selected if event.kind == "end"}
        return sorted(_runs(selected, ends, deaths), key=lambda run: run.begin.at)


def _runs(events: list[Event], ends: dict[str, Event], deaths: dict[int, float]) -> Iterator[Run]:
    for event in events:
        if event.kind == "begin":
            end = ends.get(event.run)
            ended_at = end.at if end else deaths.get(event.pid, float("inf"))
            yield Run(event, ended_at, end is not None, end is not None and end.succeeded)


def overlapping_runs(runs: list[Run]) -> list[tuple[Run, Run]]:
    """Return the pairs of runs of one instance that overlap in time, except those of different bindings."""
    by_instance: dict[str | None, list[Run]] = defaultdict(list)
    for run in runs:
        by_instance[run.begin.instance].append(run)
    return [
        (one, other)
        for runs_of_instance in by_instance.values()
        for one, other in combinations(runs_of_instance, 2)
        if not (one.begin.binding and other.begin.binding and one.begin.binding != other.begin.binding)
        and one.overlaps(other)
    ]
