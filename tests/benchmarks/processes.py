"""How many lifecycles several processes get through on one PostgreSQL, and what keeps them from more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from itertools import islice
from time import perf_counter

from sqlalchemy import make_url

from .accounts import Account, tell
from .databases import Database
from .fleet import served_by
from .measure import take_turns
from .meters import PostgresMeter
from .table import Table
from .traffic import Question, lifecycles
from .verdicts import Verdicts
from .wire import as_bytes, connected

PROCESSES = (1, 2, 4)

THREADS = 4
"""Of each process."""

BUDGET = 0.8
"""More processes must not be in each other's way, even where there are no more cores for them."""

CLIENTS = 8
LIFECYCLES = 10
"""How many each client has to get through in a turn."""

ROUNDS, WARM_UP = 12, 2

_FRESH = lifecycles()


def run(kinds: Sequence[Database], verdicts: Verdicts) -> None:
    """Measure, print and judge."""
    (kind,) = (kind for kind in kinds if kind.name == "PostgreSQL")
    with ExitStack() as stack:
        meter = stack.enter_context(PostgresMeter(stack.enter_context(kind.fresh())))
        accounts, turns = {}, {}
        for count in PROCESSES:
            name = f"{count} web process{'es' * (count > 1)}"
            url = stack.enter_context(kind.fresh())
            server = stack.enter_context(served_by(count, url, threads=THREADS))
            accounts[name] = Account(meter, str(make_url(url).database), {"web": server.pid})
            turns[name] = partial(_turn, server.port, accounts[name])
        times = take_turns(turns, ROUNDS, WARM_UP)
    table = Table(label=24, cells=(8, 8, 8, 6))
    table.write("lifecycles per second", "", "/ 1", "budget", "")
    first = next(iter(turns))
    for name in turns:
        verdict = verdicts.at_least(times.ratio(first, name), BUDGET) if name != first else ()
        table.write(name, f"{1 / times.seconds(name):.0f}", *verdict)
    table.write("")
    tell(accounts, (ROUNDS + WARM_UP) * CLIENTS * LIFECYCLES)


def _turn(port: int, account: Account) -> float:
    """The seconds that a lifecycle takes."""
    work = [list(islice(_FRESH, LIFECYCLES)) for _ in range(CLIENTS)]
    with account.open():
        started = perf_counter()
        asyncio.run(_all_at_once(port, work))
        return (perf_counter() - started) / (CLIENTS * LIFECYCLES)


async def _all_at_once(port: int, work: Sequence[Sequence[Sequence[Question]]]) -> None:
    await asyncio.gather(*(_get_through(port, each) for each in work))


async def _get_through(port: int, work: Sequence[Sequence[Question]]) -> None:
    """Each lifecycle on a connection of its own, so that all processes get some."""
    for questions in work:
        async with connected(port) as connection:
            for question in questions:
                reply = await connection.ask(as_bytes(question, last=question is questions[-1]))
                if reply != question.right:
                    raise AssertionError(f"a {question.endpoint} got {reply}, not {question.right}")
