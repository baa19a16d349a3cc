"""Actors and the stage on which one of them runs at a time, in virtual time.

Each actor has a thread, but a baton decides which thread runs. An actor passes the baton on when it sleeps,
waits or ends. Virtual time advances only when no actor can run.
"""

from __future__ import annotations

import heapq
import traceback
from collections.abc import Callable
from itertools import count
from math import inf
from threading import Event, Lock, Thread
from typing import Any

from .schedule import At, Request


class Killed(BaseException):
    """The death of an actor's process, or the end of the simulation."""


class _Thread(Thread):
    """A thread that is used again by later actors, because threads are expensive to create."""

    idle: list[_Thread] = []

    def __init__(self) -> None:
        super().__init__(name="simulation-actor", daemon=True)
        self.baton = Lock()
        self.baton.acquire()
        self.job: Callable[[], Callable[[], None]] = lambda: lambda: None
        self.start()

    def run(self) -> None:
        while True:
            self.baton.acquire()
            pass_on = self.job()
            self.idle.append(self)
            pass_on()


class Actor:
    """A sequence of steps that can be interrupted at its points.

    Args:
        name: The name, which is the same in every run of a schedule.
        body: The steps.
        process: The process in which the actor runs. None outside of all processes.
        request: The request that caused the actor. None for heartbeats and schedulers.
        ready_at: The virtual time from which the actor may run.
        order: The position among actors that are ready at the same time.

    Attributes:
        points: The number of points that the actor has reached.
        is_suspect: Whether the process was paused for so long that other processes consider it dead.
        has_raised: Whether a handler of the actor raised an injected error.
    """

    def __init__(
        self,
        name: str,
        body: Callable[[], object],
        process: Any,
        request: Request | None,
        ready_at: float,
        order: int,
    ) -> None:
        self.name = name
        self.body = body
        self.process = process
        self.request = request
        self.ready_at = ready_at
        self.order = order
        self.event: Event | None = None
        self.thread: _Thread | None = None
        self.is_killed = False
        self.is_finished = False
        self.is_suspect = False
        self.has_raised = False
        self.points = 0
        self.ids = 0


class Stage:
    """The actors of one run, the virtual time and the baton.

    Args:
        decide: Returns the deviation at a point of an actor, or None. The kind of the point is "read" or
            "write" before a store call, "committed" after a commit, and "step" and "changed" in a handler,
            before and after its change of the world.
        act: Performs a deviation that is not a delay.
        limit: The virtual time at which the run is aborted.
    """

    def __init__(
        self,
        decide: Callable[[Actor, str], At | None],
        act: Callable[[Actor, str, At], None],
        limit: float,
    ) -> None:
        self.now = 0.0
        self.current: Actor | None = None
        self.live: list[Actor] = []
        self.is_ending = False
        self.trace: list[tuple[float, str, str]] = []
        self.overrun: Callable[[], None] = lambda: None
        self.crashed: Callable[[Actor, str], None] = lambda _actor, _text: None
        self.switches = 0
        self._decide = decide
        self._act = act
        self._limit = limit
        self._order = count()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._names: dict[str, int] = {}
        self._done = Lock()
        self._done.acquire()

    def log(self, text: str) -> None:
        """Add an event to the trace, until the run ends."""
        if self.is_ending:
            return
        self.trace.append((self.now, self.current.name if self.current else "-", text))

    def spawn(
        self,
        name: str,
        body: Callable[[], object],
        *,
        process: Any = None,
        request: Request | None = None,
        at: float | None = None,
    ) -> Actor:
        """Add an actor. A later actor with the same name gets a number."""
        self._names[name] = number = self._names.get(name, 0) + 1
        unique = name if number == 1 else f"{name}.{number}"
        ready_at = self.now if at is None else at
        actor = Actor(unique, body, process, request, ready_at, next(self._order))
        self.live.append(actor)
        return actor

    def call_at(self, time: float, function: Callable[[], None]) -> None:
        """Call a function at a virtual time, outside of all actors. It must not block."""
        heapq.heappush(self._timers, (time, next(self._order), function))

    def run(self) -> None:
        """Run until an actor calls :meth:`end`."""
        first = self._next()
        if first is not None:
            self._resume(first)
            self._done.acquire()

    def end(self) -> None:
        """End the run: every other actor is killed at its next point."""
        self.is_ending = True

    # Called by actors

    def point(self, kind: str) -> At | None:
        """Mark a point at which the current actor can be interrupted, or a fault can happen.

        Returns:
            A fault that the caller must perform, or None.
        """
        actor = self.me
        self._check(actor)
        actor.points += 1
        deviation = self._decide(actor, kind)
        if deviation is None:
            return None
        if deviation.action == "delay":
            self.log(f"delayed for {deviation.seconds:g} s at point {actor.points} ({kind})")
            self.sleep(deviation.seconds)
            return None
        self._act(actor, kind, deviation)
        self._check(actor)
        return deviation

    def sleep(self, seconds: float) -> None:
        """Let the current actor sleep. With 0 seconds, all others that are ready run first."""
        self.wait(None, seconds)

    def wait(self, event: Event | None, seconds: float) -> bool:
        """Let the current actor wait for an event."""
        actor = self.me
        self._check(actor)
        if event is not None and event.is_set():
            return True
        actor.ready_at, actor.order, actor.event = self.now + seconds, next(self._order), event
        following = self._next()
        if following is not actor:
            assert following is not None, "the current actor can always run later"
            assert actor.thread is not None, "a running actor has a thread"
            self._resume(following)
            actor.thread.baton.acquire()
        actor.event = None
        self._check(actor)
        return event is not None and event.is_set()

    @property
    def me(self) -> Actor:
        """The current actor."""
        assert self.current is not None, "called by an actor"
        return self.current

    def _check(self, actor: Actor) -> None:
        if actor.is_killed or self.is_ending:
            raise Killed

    # The baton

    def _next(self) -> Actor | None:
        """Choose the actor that runs next, and advance the time if necessary."""
        while True:
            best: Actor | None = None
            key = (inf, 0)
            upcoming = inf
            for actor in self.live:
                if actor.is_killed or self.is_ending:
                    at = -1.0
                elif actor.process is not None and actor.process.is_paused:
                    continue
                elif actor.event is not None and actor.event.is_set():
                    at = min(actor.ready_at, self.now)
                else:
                    at = actor.ready_at
                if at > self.now:
                    upcoming = min(upcoming, at)
                elif (at, actor.order) < key:
                    best, key = actor, (at, actor.order)
            if best is not None:
                self.current = best
                return best
            if self._timers:
                upcoming = min(upcoming, self._timers[0][0])
            if upcoming == inf:
                return None
            if upcoming > self._limit:
                self.overrun()
                self.is_ending = True
                continue
            self.now = max(self.now, upcoming)
            self.current = None
            while self._timers and self._timers[0][0] <= self.now:
                heapq.heappop(self._timers)[2]()

    def _resume(self, actor: Actor) -> None:
        self.switches += 1
        if actor.thread is None:
            actor.thread = _Thread.idle.pop() if _Thread.idle else _Thread()
            actor.thread.job = lambda: self._perform(actor)
        actor.thread.baton.release()

    def _perform(self, actor: Actor) -> Callable[[], None]:
        """Run the body of an actor, and return a function that passes the baton on."""
        try:
            self._check(actor)
            actor.body()
        except Killed:
            pass
        except BaseException:  # noqa: BLE001 - reported as a failure of the run
            self.crashed(actor, traceback.format_exc())
        actor.is_finished = True
        self.live.remove(actor)
        following = self._next()
        return self._done.release if following is None else lambda: self._resume(following)
