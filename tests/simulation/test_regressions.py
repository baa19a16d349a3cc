"""Shrunk schedules that once violated an invariant."""

from __future__ import annotations

import pytest

from .run import replay
from .schedule import CHANGES, At, Request, Schedule

CANCELLED_BIND = Schedule(
    requests=(
        Request("r1", "provision"),
        Request("r2", "bind", 2.0, seconds=35.0),
        Request("r3", "unbind", 6.0, polls=False),
        Request("r4", "update", 9.0, size=2),
    ),
)
"""An unbind cancels a bind, and an update begins while the bind's handler runs."""

CANCELLED_BACKGROUND_BIND = Schedule(
    requests=(
        Request("r1", "provision"),
        Request("r2", "bind", 3.0, seconds=35.0),
        Request("r3", "unbind", 6.0, polls=False),
        Request("r4", "deprovision", 9.0),
    ),
    background=("provision", "bind"),
)
"""The same with a background handler and a deprovision."""

FORGOTTEN_PROVISION = Schedule(
    requests=(
        Request("r1", "provision", seconds=150.0),
        Request("r2", "deprovision", 8.0),
        Request("r3", "deprovision", 75.0),
    ),
    background=CHANGES,
)
"""A deletion waits for a provision until its own deadline. The next one runs beside the provision."""

FORGOTTEN_BIND = Schedule(
    requests=(
        Request("r1", "provision"),
        Request("r2", "bind", 2.0, seconds=150.0),
        Request("r3", "unbind", 8.0),
        Request("r4", "unbind", 80.0),
    ),
    background=("provision", "bind"),
)
"""The same for a bind."""

ABANDONED_DURING_OUTAGE = Schedule(
    requests=(
        Request("r1", "provision"),
        Request("r4", "deprovision", 2.0),
        Request("r5", "provision", 10.0),
    ),
    deviations=(
        At("r1@p0", 5, "delay", seconds=61.0),
        At("r5", 2, "outage", seconds=20.0),
    ),
    background=CHANGES,
)
"""The attempt of a cancelled operation cannot renew its lease during an outage, and its follower begins."""

LATE_BIND = Schedule(
    requests=(
        Request("r1", "provision"),
        Request("r2", "bind", 2.0, seconds=70.0),
    ),
    background=CHANGES,
)
"""A poll reports that a bind failed at its deadline, and a later one that it succeeded."""

REMADE_BINDING = Schedule(
    requests=(
        Request("r1", "provision"),
        Request("r2", "bind", 2.0),
        Request("r3", "unbind", 5.0),
        Request("r4", "unbind", 6.0),
        Request("r5", "bind", 9.0),
    ),
    deviations=(At("r3", 2, "delay", seconds=12.0),),
)
"""An unbind that is delayed before its claim finds a new binding with the same id and revision."""

BLIND_SCHEDULER = Schedule(
    requests=(Request("r1", "provision", seconds=5.0),),
    deviations=(At("r1", 4, "kill", seconds=5.0),),
    backlog=520,
)
"""An interrupted request is behind more due operations than a scheduler reads in one query."""

REPEATED_LEASE = Schedule(
    requests=(Request("r1", "provision", process=1, seconds=90.0),),
    deviations=(At("p1/scheduler", 17, "clock", seconds=-15.0),),
    background=("deprovision", "unbind"),
)
"""After the clock was set back, a renewed lease ends at the same time as the challenged one."""


@pytest.mark.parametrize(
    "schedule",
    [
        CANCELLED_BIND,
        CANCELLED_BACKGROUND_BIND,
        FORGOTTEN_PROVISION,
        FORGOTTEN_BIND,
        ABANDONED_DURING_OUTAGE,
        LATE_BIND,
        REMADE_BINDING,
        BLIND_SCHEDULER,
        REPEATED_LEASE,
    ],
)
def test_fixed_faults_stay_fixed(schedule: Schedule) -> None:
    """Schedules that once violated an invariant no longer do."""
    result = replay(schedule)
    assert result.violation is None, str(result)
    assert result.schedule.deviations == schedule.deviations, "every deviation still happens"
