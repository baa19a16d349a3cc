"""What taking up operations takes that another process left, against running them as they are asked for.

Half of them had begun when that process died, and the lease of their attempts is over; half never began.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from time import perf_counter

from sqlalchemy import create_engine, func, select, update

from brokerkit import Provisioned, ProvisionRequest, signals
from brokerkit.store.models import Progress
from brokerkit.store.tables import operations

from .background import Nobody, working
from .databases import Database
from .table import Table
from .traffic import Reply, ask, poll_of, provisions
from .verdicts import Verdicts

OPERATIONS = 2000

BUDGET = 3.0


def run(kinds: Sequence[Database], verdicts: Verdicts) -> None:
    """Measure, print and judge."""
    table = Table(label=24, cells=(11, 10, 9, 7, 6))
    table.write("µs per operation", "recovered", "fresh", "/ fresh", "budget", "")
    for kind in kinds:
        with kind.fresh() as url:
            fresh = _fresh(url)
        with kind.fresh() as url:
            recovered = _recovered(url)
        seconds = [f"{each / OPERATIONS * 1e6:.0f}" for each in (recovered, fresh)]
        table.write(kind.name, *seconds, *verdicts.at_most(recovered / fresh, BUDGET))


def _fresh(url: str) -> float:
    """The seconds from the first request to the end of the last operation, in a process that runs."""
    asked, (first, *rest) = _Asked(), provisions(OPERATIONS + 1)
    with working(url, asked.provision, signals.provisioned) as background:
        background.submit([first])
        background.wait_for(1)
        started = perf_counter()
        background.submit(rest)
        background.wait_for(OPERATIONS + 1)
        seconds = perf_counter() - started
    asked.check(url, OPERATIONS + 1)
    return seconds


def _recovered(url: str) -> float:
    """The seconds from the start of a process to the end of the last operation that another left."""
    asked, (unknown, *left) = _Asked(), provisions(OPERATIONS + 1)
    with working(url, asked.provision, signals.provisioned, Nobody()) as background:
        background.submit(left)
    _let_half_have_begun(url)
    start = poll_of(unknown, "", Reply(404, {"description": "There is no such service instance."}))
    with working(url, asked.provision, signals.provisioned) as background:
        started = perf_counter()
        ask(background.app, start.fresh_environ())
        background.wait_for(OPERATIONS)
        seconds = perf_counter() - started
    asked.check(url, OPERATIONS)
    return seconds


class _Asked:
    """A handler that does nothing, and which instances it was asked for."""

    def __init__(self) -> None:
        self._instances: Counter[str] = Counter()

    def provision(self, request: ProvisionRequest) -> Provisioned:
        self._instances[request.instance_id] += 1
        return Provisioned()

    def check(self, url: str, count: int) -> None:
        """So many operations were run, each once, and succeeded."""
        states = {Progress.SUCCEEDED.value: count}
        told, attempts = _states(url), self._instances.total()
        if told != states or (len(self._instances), attempts) != (count, count):
            raise AssertionError(f"{told} after {attempts} attempts; {count} were to succeed at once")


def _let_half_have_begun(url: str) -> None:
    """As if their process had been killed a while ago: the lease of an attempt is when it is looked at."""
    engine = create_engine(url)
    with engine.begin() as connection:
        ids = connection.scalars(select(operations.c.id).limit(OPERATIONS // 2)).all()
        over = operations.c.created_at - 1
        for each in ids:
            connection.execute(
                update(operations)
                .values(attempt=1, lease_until=over, wake_at=over)
                .where(operations.c.id == each)
            )
    engine.dispose()


def _states(url: str) -> dict[str, int]:
    """How many operations are in which state."""
    engine = create_engine(url)
    with engine.connect() as connection:
        counts = connection.execute(select(operations.c.state, func.count()).group_by(operations.c.state))
        states = {str(state): int(number) for state, number in counts}
    engine.dispose()
    return states
