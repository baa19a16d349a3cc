"""How many lifecycles several processes get through on one PostgreSQL, and what keeps them from more."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from sqlalchemy import make_url

from .accounts import Account
from .databases import Database
from .fleet import served_by
from .meters import PostgresMeter
from .side_by_side import Crowd, Site, compare
from .traffic import Question
from .verdicts import Verdicts
from .wire import as_bytes, connected

PROCESSES = (1, 2, 4)

THREADS = 4
"""Of each process."""

BUDGET = 0.8
"""More processes must not be in each other's way, even where there are no more cores for them."""


def run(kinds: Sequence[Database], verdicts: Verdicts) -> None:
    """Measure, print and judge."""
    (kind,) = (kind for kind in kinds if kind.name == "PostgreSQL")
    with ExitStack() as stack:
        meter = stack.enter_context(PostgresMeter(stack.enter_context(kind.fresh())))
        sites: dict[str, Site] = {}
        for count in PROCESSES:
            name = f"{count} web process{'es' * (count > 1)}"
            url = stack.enter_context(kind.fresh())
            server = stack.enter_context(served_by(count, url, threads=THREADS))
            account = Account(meter, str(make_url(url).database), {"web": server.pid})
            sites[name] = Site(server.port, account)
        compare("lifecycles per second", sites, CROWD, verdicts, budget=BUDGET, rounds=12, warm_up=2)


async def _get_through(port: int, work: Sequence[Sequence[Question]]) -> None:
    """Each lifecycle on a connection of its own, so that all processes get some."""
    for questions in work:
        async with connected(port) as connection:
            for question in questions:
                reply = await connection.ask(as_bytes(question, last=question is questions[-1]))
                if reply != question.right:
                    raise AssertionError(f"a {question.endpoint} got {reply}, not {question.right}")


CROWD = Crowd(clients=8, lifecycles=10, get_through=_get_through)
