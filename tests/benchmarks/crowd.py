"""A thousand clients that poll at once, each its own operation, of brokers behind gunicorn.

Against a bare Flask view that reads the same row with the driver alone: no authentication, no checks, nothing
opened that is sealed.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from statistics import quantiles
from time import perf_counter
from typing import NoReturn

from brokerkit import ProvisionRequest, Retry, signals

from . import fleet
from .background import working
from .databases import Database
from .measure import take_turns
from .table import Table
from .traffic import PROGRESS, Question, Reply, poll_of, provisions
from .verdicts import Verdicts
from .wire import as_bytes, connected

CLIENTS = 1000

BUDGETS = {"SQLite": 1.75, "PostgreSQL": 1.75}
"""What a poll of the broker may take, at most, in polls of the bare view."""

PROCESSES, THREADS = 2, 8

POLLS = 1
"""How often each client polls in a turn; each time on a new connection, as Cloud Foundry does."""

ROUNDS, WARM_UP = 12, 2

OURS, BARE = "brokerkit", "bare"
_APPS = {OURS: f"{fleet.__name__}:make_app()", BARE: f"{fleet.__name__}:make_bare_app()"}


@dataclass
class Crowd:
    """Clients, and how long each of their polls took.

    Args:
        polls: What each of them asks, and the right answer.
    """

    polls: Sequence[Question]
    seconds: list[float] = field(default_factory=list)

    def turn(self, port: int) -> float:
        """The seconds that a poll takes, of all that go on at the same time."""
        started = perf_counter()
        asyncio.run(self._poll(port))
        return (perf_counter() - started) / (len(self.polls) * POLLS)

    async def _poll(self, port: int) -> None:
        await asyncio.gather(*(self._poll_often(port, poll) for poll in self.polls))

    async def _poll_often(self, port: int, poll: Question) -> None:
        request = as_bytes(poll, last=True)
        for _ in range(POLLS):
            started = perf_counter()
            async with connected(port) as connection:
                reply = await connection.ask(request)
            self.seconds.append(perf_counter() - started)
            if reply != poll.right:
                raise AssertionError(f"a poll got {reply}, not {poll.right}")


def run(kinds: Sequence[Database], verdicts: Verdicts) -> None:
    """Measure, print and judge. A poll without an answer, or with a wrong one, ends it."""
    _allow_files(4 * CLIENTS)
    table = Table(label=24, cells=(11, 10, 10, 10, 10, 8, 6))
    table.write(
        f"{CLIENTS:,} clients that poll", "per second", "median ms", "99 % ms", "/ bare", "budget", ""
    )
    for kind in kinds:
        with ExitStack() as stack:
            url = stack.enter_context(kind.fresh())
            polls = _operations(url)
            crowds = {name: Crowd(polls) for name in _APPS}
            turns = {}
            for name, app in _APPS.items():
                server = stack.enter_context(fleet.served_by(PROCESSES, url, threads=THREADS, app=app))
                turns[name] = partial(crowds[name].turn, server.port)
            times = take_turns(turns, ROUNDS, WARM_UP)
        for name, crowd in crowds.items():
            verdict = verdicts.at_most(times.ratio(OURS, BARE), BUDGETS[kind.name]) if name == OURS else ()
            centiles = quantiles(crowd.seconds[WARM_UP * CLIENTS * POLLS :], n=100)
            told = (
                f"{1 / times.seconds(name):.0f}",
                f"{centiles[49] * 1e3:.0f}",
                f"{centiles[98] * 1e3:.0f}",
            )
            table.write(f"{kind.name}, {name}", *told, *verdict)


def _operations(url: str) -> list[Question]:
    """A poll for each of as many operations, which are in progress for an hour."""
    asked = provisions(CLIENTS)
    with working(url, _retry, signals.operation_progressed) as background:
        ids = background.submit(asked)
        background.wait_for(CLIENTS)
    right = Reply(200, {"state": "in progress", "description": PROGRESS})
    return [poll_of(provision, operation, right) for provision, operation in zip(asked, ids, strict=True)]


def _retry(request: ProvisionRequest) -> NoReturn:
    raise Retry(after=3600, description=PROGRESS)


def _allow_files(count: int) -> None:
    """Each connection is one, here and in the servers."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY:
        count = min(count, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, most))
