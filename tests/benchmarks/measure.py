"""Times of requests, measured in turns, so that disturbances of the machine affect all apps alike."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import cycle, islice, permutations
from statistics import median
from time import perf_counter
from typing import Any
from wsgiref.types import WSGIApplication

from .traffic import Exchange

ROUNDS = 300
"""The number of turns per app, a multiple of the number of orders of three apps."""

REQUESTS = 20
"""The number of requests per turn. Turns are short, so that those of a round are comparable."""

WARM_UP = 20


class Times:
    """The seconds per call of each app, by round."""

    def __init__(self, rounds: list[dict[str, float]]) -> None:
        self._rounds = rounds

    def seconds(self, app: str) -> float:
        return median(seconds[app] for seconds in self._rounds)

    def ratio(self, app: str, other: str) -> float:
        """Return the median ratio of all rounds, which is robust against slow moments."""
        return median(seconds[app] / seconds[other] for seconds in self._rounds)


def measure(exchange: Exchange, apps: Mapping[str, WSGIApplication]) -> Times:
    """Measure all apps with the same exchange."""
    return take_turns(
        {name: partial(_ask_often, app, exchange) for name, app in apps.items()}, ROUNDS, WARM_UP
    )


def take_turns(turns: Mapping[str, Callable[[], float]], rounds: int, warm_up: int) -> Times:
    """Run all turns in every round, each round in another order.

    Args:
        turns: Functions that run a turn and return its seconds, by name.
        rounds: The number of measured rounds.
        warm_up: The number of rounds before these.
    """
    with _no_collection():
        orders = islice(cycle(permutations(turns)), warm_up + rounds)
        seconds = [{name: turns[name]() for name in order} for order in orders]
    return Times(seconds[warm_up:])


def _ask_often(app: WSGIApplication, exchange: Exchange) -> float:
    """Run a turn and return the mean seconds per request."""
    environs = [exchange.fresh_environ() for _ in range(REQUESTS)]
    gc.collect()  # no turn collects the garbage of the previous one
    started = perf_counter()
    for environ in environs:
        chunks = app(environ, _start_response)
        for _ in chunks:
            pass
        if hasattr(chunks, "close"):  # as a WSGI server must
            chunks.close()
    return (perf_counter() - started) / REQUESTS


def _start_response(status: str, headers: object, exc_info: object = None) -> Any:
    """A `start_response` that does nothing."""


@contextmanager
def _no_collection() -> Iterator[None]:
    """Collect garbage between turns only."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
