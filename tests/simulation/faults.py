"""Faults: what a deviation can do at a point of an actor.

========  ===========================================================================================
action    effect
========  ===========================================================================================
delay     The actor sleeps for `seconds`. With 0, all others that are ready run first.
fail      The store call fails, and nothing is written.
lose      The commit succeeds, but its answer is lost.
kill      The process of the actor dies, and starts again after `seconds`.
pause     The process does nothing for `seconds`, as after SIGSTOP.
drain     The process gets SIGTERM. It exits after its grace periods, and starts again after `seconds`.
outage    The database is not available for `seconds`.
clock     The database's clock steps by `seconds`.
error     The handler raises an error.
refuse    The handler refuses the request.
Retry     The background handler asks for another attempt after `seconds`.
========  ===========================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .actors import Actor
from .schedule import At

if TYPE_CHECKING:
    from .run import Simulation

IN_STORE = ("fail", "lose")
IN_HANDLER = ("error", "refuse", "Retry")
OF_PROCESS = ("kill", "pause", "drain")
OF_DATABASE = ("outage", "clock")

PATIENCE = 20.0
"""The time that the requests of a process have after SIGTERM, in seconds."""

LONGEST_EXIT = 45.0
"""The time after SIGTERM until SIGKILL, in seconds."""

LONGEST_COMMITTED = 5.0
"""The longest delay after a commit, in seconds: an attempt that just began has no heartbeat yet."""

LONGEST_PAUSE = 15.0
"""The longest pause of a process after which its handlers still count as its own, in seconds.

After a longer one, another process must assume that the paused one is dead. Then the process is suspect.
"""

LONGEST_PAUSE_WITH_CLOCK = 9.0
"""The same, after an outage or a step of the clock. They may have ended the lease.

Then only the grace period is left.
"""


def is_possible(actor: Actor, kind: str, deviation: At) -> bool:
    """Whether a deviation is possible at a point. Heartbeats are on time unless a fault prevents it."""
    action = deviation.action
    if action == "delay":
        if "/heartbeat" in actor.name:
            return deviation.seconds == 0
        return kind != "committed" or deviation.seconds <= LONGEST_COMMITTED
    if action == "fail":
        return kind in ("read", "write")
    if action == "lose":
        return kind == "write"
    if action == "refuse":  # a refusal means that nothing was changed
        return kind == "step"
    if action in IN_HANDLER:
        return kind in ("step", "changed")
    if action in OF_PROCESS:
        return actor.process is not None and actor.process.accepts
    return True


def perform(run: Simulation, actor: Actor, deviation: At) -> None:
    """Perform a fault that affects more than the actor itself."""
    stage, action, seconds = run.stage, deviation.action, deviation.seconds
    stage.log(f"{action} {seconds:g} at point {actor.points}")
    if action in OF_DATABASE:
        if action == "clock":
            run.clock_offset += seconds
        else:
            run.outage_until = max(run.outage_until, stage.now + seconds)
        run.leases_may_expire = True
        run.suspect_paused()
    elif action in OF_PROCESS:
        process = actor.process
        generation = process.generation

        def unless_restarted(function: object) -> None:
            if process.generation == generation and process.is_alive:
                function()  # type: ignore[operator]

        if action == "kill":
            process.kill()
            stage.call_at(stage.now + max(seconds, 1.0), lambda: run.start_again(process, generation))
        elif action == "drain":
            process.terminate(PATIENCE)
            stage.call_at(stage.now + LONGEST_EXIT, lambda: unless_restarted(process.kill))
            again = stage.now + LONGEST_EXIT + max(seconds, 1.0)
            stage.call_at(again, lambda: run.start_again(process, generation))
        else:
            process.is_paused, process.pause = True, seconds
            run.suspect_paused()

            def resume() -> None:
                if process.generation == generation:
                    process.is_paused = False

            stage.call_at(stage.now + seconds, resume)
            if actor.process is process:
                stage.sleep(0)
