"""The clock that the simulation gives to a store: virtual time, virtual waits and readable ids."""

from __future__ import annotations

from threading import Event
from typing import TYPE_CHECKING

from brokerkit._internal.clock import Clock

if TYPE_CHECKING:
    from .run import Simulation

EPOCH = 1_000_000_000.0
"""The time of the database at the virtual time 0."""

SHORTEST_WAIT = 0.4
"""The shortest wait in seconds. A real wait may last longer than requested, and this saves time."""


class VirtualClock(Clock):
    """The clock of all processes. A fault can set the database's time, but never the monotonic time.

    Attributes:
        simulation: The current run. None outside of a run, when the time stands still.
    """

    simulation: Simulation | None = None

    def time(self) -> float:
        run = self.simulation
        return EPOCH if run is None else EPOCH + run.stage.now + run.clock_offset

    def monotonic(self) -> float:
        return 0.0 if self.simulation is None else self.simulation.stage.now

    def wait(self, event: Event, seconds: float) -> bool:
        if self.simulation is None:
            return event.is_set()
        return self.simulation.stage.wait(event, max(seconds, SHORTEST_WAIT))

    def new_id(self) -> str:
        """Return an id that names the request, such as ``000000001388-r1-1``."""
        assert self.simulation is not None, "ids are made by actors"
        actor = self.simulation.stage.me
        actor.ids += 1
        return f"{int(self.time() * 1000):012x}-{actor.name}-{actor.ids}"


def request_name(operation_id: str) -> str:
    """Return the name of the request that made an operation's id."""
    return operation_id.split("-")[1]
