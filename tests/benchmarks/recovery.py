"""The time of recovering the operations of another process, against running new ones.

Half of them were running when that process died, and their leases have expired. The others had not begun.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from time import perf_counter

from sqlalchemy import create_engine, func, select, update

from brokerkit import Provisioned, ProvisionRequest, signals
from brokerkit.store.models import Progress
from brokerkit.store.tables import operations

from .background import LosingExecutor, working
from .databases import Database
from .table import Table
from .traffic import Reply, poll_of, provisions, send
from .verdicts import Verdicts

OPERATIONS = 2000
MANY = 20_000

BUDGET = 3.0

GROWTH_BUDGET = 1.2
"""The highest ratio of the time per operation of many operations to that of few."""


def run(kinds: Sequence[Database], verdicts: Verdicts) -> None:
    """Measure, print and compare with the budgets."""
    table = Table(label=24, cells=(11, 10, 9, 7, 6))
    table.write("µs per operation", "recovered", "fresh", "/ fresh", "budget", "")
    for kind in kinds:
        with kind.fresh() as url:
            fresh = _fresh(url)
        with kind.fresh() as url:
            recovered = _recovered(url, OPERATIONS)
        with kind.fresh() as url:
            many = _recovered(url, MANY)
        seconds = [f"{total / OPERATIONS * 1e6:.0f}" for total in (recovered, fresh)]
        table.write(kind.name, *seconds, *verdicts.at_most(recovered / fresh, BUDGET))
        growth = many / MANY / (recovered / OPERATIONS)
        label = f"{kind.name}, {MANY:,}"
        table.write(label, f"{many / MANY * 1e6:.0f}", "", *verdicts.at_most(growth, GROWTH_BUDGET))


def _fresh(url: str) -> float:
    """Return the seconds from the first request to the end of the last operation, in a running process."""
    handler, (first, *rest) = _RecordingHandler(), provisions(OPERATIONS + 1)
    with working(url, handler.provision, signals.provisioned) as background:
        background.submit([first])
        background.wait_for(1)
        started = perf_counter()
        background.submit(rest)
        background.wait_for(OPERATIONS + 1)
        seconds = perf_counter() - started
    handler.check(url, OPERATIONS + 1)
    return seconds


def _recovered(url: str, count: int) -> float:
    """Return the seconds from the start of a process to the end of the last recovered operation."""
    handler, (unknown, *left) = _RecordingHandler(), provisions(count + 1)
    with working(url, handler.provision, signals.provisioned, LosingExecutor()) as background:
        background.submit(left)
    _let_half_have_begun(url, count)
    start = poll_of(unknown, "", Reply(404, {"description": "There is no such service instance."}))
    with working(url, handler.provision, signals.provisioned) as background:
        started = perf_counter()
        send(background.app, start.fresh_environ())
        background.wait_for(count)
        seconds = perf_counter() - started
    handler.check(url, count)
    return seconds


class _RecordingHandler:
    """A handler that does nothing but record the instances."""

    def __init__(self) -> None:
        self._instances: Counter[str] = Counter()

    def provision(self, request: ProvisionRequest) -> Provisioned:
        self._instances[request.instance_id] += 1
        return Provisioned()

    def check(self, url: str, count: int) -> None:
        """Check that the handler ran once per operation and all operations succeeded."""
        states = {Progress.SUCCEEDED.value: count}
        stored, attempts = _states(url), self._instances.total()
        if stored != states or (len(self._instances), attempts) != (count, count):
            raise AssertionError(f"{stored} after {attempts} attempts, expected {count} in one attempt")


def _let_half_have_begun(url: str, count: int) -> None:
    """Expire the leases, as if the process had been killed a while ago."""
    engine = create_engine(url)
    with engine.begin() as connection:
        ids = connection.scalars(select(operations.c.id).limit(count // 2)).all()
        over = operations.c.created_at - 1
        for operation_id in ids:
            connection.execute(
                update(operations)
                .values(attempt=1, lease_until=over, wake_at=over)
                .where(operations.c.id == operation_id)
            )
    engine.dispose()


def _states(url: str) -> dict[str, int]:
    """Return the number of operations by state."""
    engine = create_engine(url)
    with engine.connect() as connection:
        counts = connection.execute(select(operations.c.state, func.count()).group_by(operations.c.state))
        states = {str(state): int(number) for state, number in counts}
    engine.dispose()
    return states
