"""Lifecycles of many clients with the same broker on different numbers of processes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from time import perf_counter
from typing import NamedTuple

from .accounts import Account, print_accounts
from .measure import take_turns
from .table import Table
from .traffic import Exchange, lifecycles
from .verdicts import Verdicts

_FRESH = lifecycles()


class Crowd(NamedTuple):
    """Clients that run lifecycles concurrently.

    Args:
        clients: The number of clients.
        lifecycles: The number of lifecycles per client and turn.
        run_lifecycles: Runs the lifecycles of a client with the broker on a port.
    """

    clients: int
    lifecycles: int
    run_lifecycles: Callable[[int, Sequence[Sequence[Exchange]]], Awaitable[None]]

    async def come(self, port: int, work: Sequence[Sequence[Sequence[Exchange]]]) -> None:
        """Run all clients concurrently."""
        await asyncio.gather(*(self.run_lifecycles(port, part) for part in work))


class Site(NamedTuple):
    """A served broker with the account of its resource usage."""

    port: int
    account: Account


def compare(
    label: str,
    sites: Mapping[str, Site],
    crowd: Crowd,
    verdicts: Verdicts,
    *,
    budget: float,
    rounds: int,
    warm_up: int,
) -> None:
    """Measure, print and compare each broker with the first.

    Args:
        label: The counted unit.
        sites: The brokers. The first one has the fewest processes.
        crowd: The clients.
        verdicts: Compares with the budget.
        budget: The minimal number of lifecycles of each broker in the time of one lifecycle of the first.
        rounds: The number of measured rounds.
        warm_up: The number of rounds before these.
    """
    turns = {name: partial(_turn, site, crowd) for name, site in sites.items()}
    times = take_turns(turns, rounds, warm_up)
    table = Table(label=24, cells=(8, 8, 8, 6))
    table.write(label, "", "/ 1", "budget", "")
    first = next(iter(sites))
    for name in sites:
        verdict = verdicts.at_least(times.ratio(first, name), budget) if name != first else ()
        table.write(name, f"{1 / times.seconds(name):.0f}", *verdict)
    table.write("")
    accounts = {name: site.account for name, site in sites.items()}
    print_accounts(accounts, (rounds + warm_up) * crowd.clients * crowd.lifecycles)


def _turn(site: Site, crowd: Crowd) -> float:
    """Return the mean seconds per lifecycle."""
    work = [list(islice(_FRESH, crowd.lifecycles)) for _ in range(crowd.clients)]
    with site.account.open():
        started = perf_counter()
        asyncio.run(crowd.come(site.port, work))
        return (perf_counter() - started) / (crowd.clients * crowd.lifecycles)
