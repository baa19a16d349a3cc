"""What handlers note of themselves, in a file beside the store: many processes append, tests read.

A line is one write to a file opened for appending, so lines never mix. Times are of a clock that all
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

from .wait import until

What = Literal["begin", "end", "signal", "killed"]


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A handler began or ended, a signal was sent, or a process killed itself.

    Args:
        what: Which of these.
        name: Of the handler's operation, of the signal, or of the point where the process died.
        pid: Of the process.
        at: When.
        instance: The instance's id.
        binding: The binding's id.
        identity: That of the request, which is another one each time a platform sends something.
        attempt: Of a background handler.
        run: What the end of a handler has in common with its begin.
        went_well: Of an end.
    """

    what: What
    name: str
    pid: int
    at: float
    instance: str | None = None
    binding: str | None = None
    identity: str | None = None
    attempt: int = 1
    run: str = ""
    went_well: bool = True


# msgspec finds out what a struct is when it first needs it, which no two threads may do at once.
_FOUND_OUT = msgspec.json.Decoder(Event)


class Run(msgspec.Struct, frozen=True):
    """What a handler did, from its begin to its end, or to that of its process."""

    begun: Event
    ended_at: float
    through: bool
    """Did it get to its end?"""

    went_well: bool

    def overlaps(self, other: Run) -> bool:
        return self.begun.at < other.ended_at and other.begun.at < self.ended_at


class Events:
    """The file of events.

    Args:
        path: Where it is.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.touch()

    def note(self, what: What, name: str, **facts: str | int | bool | None) -> None:
        event = msgspec.convert(
            {"what": what, "name": name, "pid": os.getpid(), "at": time.monotonic(), **facts}, Event
        )
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(file, msgspec.json.encode(event) + b"\n")
        finally:
            os.close(file)

    @contextmanager
    def handling(self, name: str, request: Any) -> Iterator[None]:
        """Note begin and end of a handler."""
        facts = {
            "instance": request.instance_id,
            "binding": getattr(request, "binding_id", None),
            "identity": request.headers.request_identity,
            "attempt": request.attempt,
            "run": uuid4().hex,
        }
        went_well = False
        self.note("begin", name, **facts)
        try:
            yield
            went_well = True
        finally:
            self.note("end", name, **facts, went_well=went_well)

    def read(self) -> list[Event]:
        return [msgspec.json.decode(line, type=Event) for line in self._path.read_bytes().splitlines()]

    def of(self, what: What, name: str | None = None, **facts: object) -> list[Event]:
        """Those of a kind, with these facts."""
        return [
            event
            for event in self.read()
            if event.what == what
            and (name is None or event.name == name)
            and all(getattr(event, key) == value for key, value in facts.items())
        ]

    def wait_for_runs(self, instance: str, number: int) -> list[Run]:
        """Of an instance, when so many have begun."""
        found: list[Run] = until(lambda: len(runs := self.runs(instance)) >= number and runs)
        return found

    def runs(self, instance: str | None = None) -> list[Run]:
        """What the handlers did, of all instances or of one, in the order of their begins."""
        events = [event for event in self.read() if instance is None or event.instance == instance]
        deaths = {event.pid: event.at for event in self.read() if event.what == "killed"}
        ends = {event.run: event for event in events if event.what == "end"}
        return sorted(_runs(events, ends, deaths), key=lambda run: run.begun.at)


def _runs(events: list[Event], ends: dict[str, Event], deaths: dict[int, float]) -> Iterator[Run]:
    for event in events:
        if event.what == "begin":
            end = ends.get(event.run)
            ended_at = end.at if end else deaths.get(event.pid, float("inf"))
            yield Run(event, ended_at, end is not None, end is not None and end.went_well)


def at_once(runs: list[Run]) -> list[tuple[Run, Run]]:
    """Pairs that ran at the same time, of one instance, and not of different bindings of it."""
    by_instance: dict[str | None, list[Run]] = defaultdict(list)
    for run in runs:
        by_instance[run.begun.instance].append(run)
    return [
        (one, other)
        for together in by_instance.values()
        for one, other in combinations(together, 2)
        if not (one.begun.binding and other.begun.binding and one.begun.binding != other.begun.binding)
        and one.overlaps(other)
    ]
