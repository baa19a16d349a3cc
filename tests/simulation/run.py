"""A run of a schedule, from the first request until the platform has deleted everything."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, partial

from brokerkit.store.errors import StoreUnavailable

from . import faults
from .actors import Actor, Stage
from .faults import is_possible
from .invariants import Invariants
from .platform import Platform
from .processes import Fleet, Process
from .schedule import At, Schedule
from .world import Call, World

LIMIT = 6000.0
"""The virtual time after which a run counts as stuck, in seconds."""

_REST_LIMIT = 1500.0
_REST_LIMIT_WITH_BACKLOG = 120.0

Decide = Callable[[Actor, str], At | None]


@dataclass(frozen=True)
class Violation:
    """A violated invariant, and what happened."""

    invariant: str
    description: str


@dataclass
class Result:
    """The result of a run.

    Args:
        schedule: The schedule, with the deviations that happened.
        violation: The first violated invariant, or None.
        trace: The events: their time, actor and text.
        choices: The number of points at which a deviation was possible.
    """

    schedule: Schedule
    violation: Violation | None
    trace: list[tuple[float, str, str]] = field(default_factory=list)
    choices: int = 0

    def __str__(self) -> str:
        lines = [f"{time:9.2f} {actor:18} {text}" for time, actor, text in self.trace]
        return "\n".join([f"{self.violation}", *lines, repr(self.schedule)])


class Simulation:
    """One run.

    Args:
        schedule: The requests and the number of processes.
        decide: Returns the deviation at a point of an actor, or None.
        fleet: The brokers.
        ignored: The invariants that are not checked. Defaults to none.
    """

    def __init__(
        self, schedule: Schedule, decide: Decide, fleet: Fleet, ignored: frozenset[str] = frozenset()
    ) -> None:
        self.requests = {request.name: request for request in schedule.requests}
        self.clock_offset = 0.0
        self.outage_until = 0.0
        self.leases_may_expire = False
        self.outside: dict[str, tuple[str, float]] = {}
        self.retrying: set[str] = set()
        self.shortest_look = 5.0 if schedule.backlog else 0.5
        self.violation: Violation | None = None
        self.happened: list[At] = []
        self.choices = 0
        self._schedule = schedule
        self._decide = decide
        self._ignored = ignored
        self._is_healed = False
        self._fleet = fleet
        self.stage = Stage(self._deviation, lambda actor, _, at: faults.perform(self, actor, at), LIMIT)
        self.stage.overrun = lambda: self.violate("stuck", "the run does not end")
        self.stage.crashed = lambda actor, text: self.violate("crash", f"{actor.name}: {text}")
        self.world = World(self.violate)
        self.invariants = Invariants(fleet.connection, self.violate)
        self.platform = Platform(self)
        self.processes = [Process(f"p{number}", self, fleet) for number in range(schedule.processes)]

    def run(self) -> Result:
        """Run the schedule."""
        clock = self._fleet.clock
        self._fleet.fill(self._schedule.backlog)
        clock.simulation = self
        try:
            for request in self.requests.values():
                body = partial(self.platform.perform, request)
                self.stage.spawn(request.name, body, request=request, at=request.at)
            for process in self.processes:
                process.start()
            self.stage.spawn("platform", self._script)
            self.stage.run()
        finally:
            clock.simulation = None
            self._fleet.clear()
        schedule = replace(self._schedule, deviations=tuple(self.happened))
        return Result(schedule, self.violation, self.stage.trace, self.choices)

    def violate(self, invariant: str, description: str) -> None:
        """Report a violation, which ends the run."""
        if self.violation is None and not self.stage.is_ending and invariant not in self._ignored:
            self.violation = Violation(invariant, description)
            self.stage.log(f"VIOLATION of {invariant!r}: {description}")
            self.stage.end()

    def _script(self) -> None:
        """Wait until nothing moves, compare, delete everything, and compare again."""
        self._wait_for_rest()
        self._is_healed = True
        self.outage_until = 0.0
        self._wait_for_rest()
        self.platform.check_replays()
        bindings = sorted({request.binding for request in self.requests.values() if request.of_binding})
        self.platform.delete_all(bindings)
        self._wait_for_rest()
        for path, operation in self.platform.accepted:
            self.platform.poll_once(path, operation)
        left = [thing.token for thing in self.world.things.values()]
        if left and not self.world.has_strays:
            self.violate("orphan", f"the platform deleted everything, but {', '.join(left)} still exist")
        for operation, runs in self.world.runs.items():
            if runs > 1:
                self.violate("ran twice", f"the synchronous handler of {operation} ran {runs} times")
        self.stage.end()

    def _wait_for_rest(self) -> None:
        requests = self.requests.values()
        begun = max([self.stage.now, *(request.at + request.seconds for request in requests)])
        limit = _REST_LIMIT_WITH_BACKLOG if self._schedule.backlog else _REST_LIMIT
        while True:
            busy = [actor.name for actor in self.stage.live if self._is_busy(actor)]
            unfinished = self.invariants.unfinished(with_polled=self.clock_offset >= 0)
            if not busy and not unfinished and all(process.accepts for process in self.processes):
                return
            faults_end = begun + sum(max(0.0, at.seconds) for at in self.happened)
            if self.stage.now - faults_end > limit:
                self.violate("stuck", f"at rest: {unfinished[:5]} {busy[:5]}")
            self.stage.sleep(5.0)

    @staticmethod
    def _is_busy(actor: Actor) -> bool:
        return actor.name != "platform" and "/" not in actor.name and not actor.name.startswith("backlog")

    # Called at points

    def _deviation(self, actor: Actor, kind: str) -> At | None:
        if self._is_healed:
            return None
        self.choices += 1
        deviation = self._decide(actor, kind)
        if deviation is None or not is_possible(actor, kind, deviation):
            return None
        self.happened.append(deviation)
        return deviation

    def before_store_call(self, kind: str) -> str | None:
        """Pass the point before a store call, and return "lose" if the answer of the commit is lost.

        Raises:
            StoreUnavailable: The database is not available.
        """
        deviation = self.stage.point(kind)
        if self.stage.now < self.outage_until:
            raise StoreUnavailable
        if deviation is not None and deviation.action == "fail":
            raise StoreUnavailable
        return "lose" if deviation is not None and deviation.action == "lose" else None

    def after_commit(self) -> None:
        """Check the invariants after a commit."""
        for operation in self.retrying:
            self.invariants.retried(operation)
        self.invariants.check_commit()

    # Processes

    def process_for(self, number: int) -> Process | None:
        """Return the process with a number, or else another one that accepts requests."""
        count = len(self.processes)
        ordered = [self.processes[(number + offset) % count] for offset in range(count)]
        accepting = [process for process in ordered if process.accepts and not process.is_paused]
        return accepting[0] if accepting else None

    def start_again(self, process: Process, generation: int) -> None:
        """Start a process after its end."""
        if process.generation == generation and not process.is_alive:
            process.start()

    def lose_process(self, process: Process) -> None:
        """Forget what only a process knew, because it dies."""
        self.world.lose_process(process)
        self._undeliver()

    def suspect_paused(self) -> None:
        """Exclude the handlers of a process that is paused for too long from the invariant of overlaps."""
        longest = faults.LONGEST_PAUSE_WITH_CLOCK if self.leases_may_expire else faults.LONGEST_PAUSE
        for process in self.processes:
            if process.is_paused and process.pause > longest:
                for actor in self.stage.live:
                    actor.is_suspect = actor.is_suspect or actor.process is process
                self._undeliver()

    def _undeliver(self) -> None:
        for thing in self.world.things.values():
            if not self.invariants.has_end_stored(thing.operation):
                thing.is_delivered = False

    def delivered(self, call: Call) -> None:
        """Record that a handler returned what it made."""
        thing = self.world.things.get((call.instance, call.binding))
        if thing is not None and thing.operation == call.operation:
            thing.is_delivered = not call.actor.is_suspect

    def failed_operations(self) -> list[str]:
        """Return the ids of the failed operations, for an operator."""
        rows = self._fleet.connection.execute(
            "SELECT id FROM brokerkit_operations WHERE state = 'failed' ORDER BY sequence"
        )
        return [row[0] for row in rows]


@cache
def fleet_for(background: frozenset[str]) -> Fleet:
    """Return the brokers for a set of background operations. They are created once."""
    return Fleet(background)


def silence() -> None:
    """Switch off the log of brokerkit, which would describe each of the many faults."""
    logging.getLogger("brokerkit").setLevel(logging.CRITICAL + 1)


def execute(
    schedule: Schedule,
    decide: Decide,
    fleet: Fleet | None = None,
    ignored: frozenset[str] = frozenset(),
) -> Result:
    """Run a schedule with deviations that a function chooses.

    Args:
        schedule: The schedule. Its deviations have no effect.
        decide: Returns the deviation at a point of an actor, or None.
        fleet: The brokers. Defaults to those of the project.
        ignored: The invariants that are not checked. Defaults to none.
    """
    chosen = fleet or fleet_for(frozenset(schedule.background))
    return Simulation(schedule, decide, chosen, ignored).run()


def replay(schedule: Schedule, fleet: Fleet | None = None, ignored: frozenset[str] = frozenset()) -> Result:
    """Run a schedule with its own deviations. Impossible ones have no effect.

    Args:
        schedule: The schedule.
        fleet: The brokers. Defaults to those of the project.
        ignored: The invariants that are not checked. Defaults to none.
    """
    table = {(at.actor, at.point): at for at in schedule.deviations}
    return execute(schedule, lambda actor, _: table.get((actor.name, actor.points)), fleet, ignored)
