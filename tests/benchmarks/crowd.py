"""Concurrent polls of a thousand clients, each of its own operation, of brokers behind gunicorn.

The baseline is a Flask view that reads the same row with the driver alone: without authentication, checks and
decryption.
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
from .traffic import PROGRESS, Exchange, Reply, poll_of, provisions
from .verdicts import Verdicts
from .wire import as_bytes, connected

CLIENTS = 1000

BUDGETS = {"SQLite": 1.75, "PostgreSQL": 1.75}
"""The maximal time of a poll of the broker, in polls of the bare view."""

PROCESSES, THREADS = 2, 8

POLLS = 1
"""The number of polls per client and turn, each on a new connection, as in Cloud Foundry."""

ROUNDS, WARM_UP = 12, 2

OURS, BARE = "brokerkit", "bare"
_APPS = {OURS: f"{fleet.__name__}:make_app()", BARE: f"{fleet.__name__}:make_bare_app()"}


@dataclass
class Crowd:
    """Clients that poll concurrently, and the times of their polls.

    Args:
        polls: The poll of each client, and the expected response.
    """

    polls: Sequence[Exchange]
    seconds: list[float] = field(default_factory=list)

    def turn(self, port: int) -> float:
        """Return the mean seconds per poll while all clients poll."""
        started = perf_counter()
        asyncio.run(self._poll(port))
        return (perf_counter() - started) / (len(self.polls) * POLLS)

    async def _poll(self, port: int) -> None:
        await asyncio.gather(*(self._poll_often(port, poll) for poll in self.polls))

    async def _poll_often(self, port: int, poll: Exchange) -> None:
        request = as_bytes(poll, last=True)
        for _ in range(POLLS):
            started = perf_counter()
            async with connected(port) as connection:
                reply = await connection.send(request)
            self.seconds.append(perf_counter() - started)
            if reply != poll.expected:
                raise AssertionError(f"a poll got {reply}, not {poll.expected}")


def run(kinds: Sequence[Database], verdicts: Verdicts) -> None:
    """Measure, print and compare with the budgets. A poll with a wrong or no response is an error."""
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
            cells = (
                f"{1 / times.seconds(name):.0f}",
                f"{centiles[49] * 1e3:.0f}",
                f"{centiles[98] * 1e3:.0f}",
            )
            table.write(f"{kind.name}, {name}", *cells, *verdict)


def _operations(url: str) -> list[Exchange]:
    """Return one poll per client, each of its own operation, which is in progress for an hour."""
    requests = provisions(CLIENTS)
    with working(url, _retry, signals.operation_progressed) as background:
        ids = background.submit(requests)
        background.wait_for(CLIENTS)
    expected = Reply(200, {"state": "in progress", "description": PROGRESS})
    return [
        poll_of(provision, operation, expected) for provision, operation in zip(requests, ids, strict=True)
    ]


def _retry(request: ProvisionRequest) -> NoReturn:
    raise Retry(after=3600, description=PROGRESS)


def _allow_files(count: int) -> None:
    """Raise the limit of open files: every connection needs one, here and in the servers."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY:
        count = min(count, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, most))
