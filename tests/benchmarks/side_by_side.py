"""How many lifecycles a crowd of clients gets through with the same broker on more or fewer processes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from time import perf_counter
from typing import NamedTuple

from .accounts import Account, tell
from .measure import take_turns
from .table import Table
from .traffic import Question, lifecycles
from .verdicts import Verdicts

_FRESH = lifecycles()


class Crowd(NamedTuple):
    """Who asks.

    Args:
        clients: How many at a time.
        lifecycles: How many each has to get through in a turn.
        get_through: What a client does with its lifecycles, at a broker on this port.
    """

    clients: int
    lifecycles: int
    get_through: Callable[[int, Sequence[Sequence[Question]]], Awaitable[None]]

    async def come(self, port: int, work: Sequence[Sequence[Sequence[Question]]]) -> None:
        """All of them at once."""
        await asyncio.gather(*(self.get_through(port, each) for each in work))


class Site(NamedTuple):
    """A broker that is served on a port, and who keeps account of what it uses."""

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
    """Measure, print and judge each by the first.

    Args:
        label: What is counted, each second.
        sites: The brokers, the one with the fewest processes first.
        crowd: Who asks.
        verdicts: Judges.
        budget: How many lifecycles each other gets through, at least, while the first gets through one.
        rounds: How often each has its turn.
        warm_up: How often before that.
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
    tell(accounts, (rounds + warm_up) * crowd.clients * crowd.lifecycles)


def _turn(site: Site, crowd: Crowd) -> float:
    """The seconds that a lifecycle takes."""
    work = [list(islice(_FRESH, crowd.lifecycles)) for _ in range(crowd.clients)]
    with site.account.open():
        started = perf_counter()
        asyncio.run(crowd.come(site.port, work))
        return (perf_counter() - started) / (crowd.clients * crowd.lifecycles)
