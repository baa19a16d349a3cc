"""Lifecycles of several processes on one PostgreSQL, and the resource that limits them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from sqlalchemy import make_url

from .accounts import Account
from .databases import Database
from .fleet import served_by
from .meters import PostgresMeter
from .side_by_side import Crowd, Site, compare
from .traffic import Exchange
from .verdicts import Verdicts
from .wire import as_bytes, connected

PROCESSES = (1, 2, 4)

THREADS = 4
"""Per process."""

BUDGET = 0.8
"""More processes must not slow each other down, even without further cores."""


def run(kinds: Sequence[Database], verdicts: Verdicts) -> None:
    """Measure, print and compare with the budgets."""
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


async def _get_through(port: int, work: Sequence[Sequence[Exchange]]) -> None:
    """Run each lifecycle on its own connection, so that all processes get some."""
    for exchanges in work:
        async with connected(port) as connection:
            for exchange in exchanges:
                reply = await connection.send(as_bytes(exchange, last=exchange is exchanges[-1]))
                if reply != exchange.expected:
                    raise AssertionError(f"a {exchange.endpoint} got {reply}, not {exchange.expected}")


CROWD = Crowd(clients=8, lifecycles=10, run_lifecycles=_get_through)
