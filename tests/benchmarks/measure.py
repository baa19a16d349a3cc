"""How long a request takes: in turns, so that what disturbs the machine disturbs all alike."""

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

from .traffic import Question

ROUNDS = 300
"""How often each app has its turn; a multiple of all orders that there are of three apps."""

REQUESTS = 20
"""How many requests a turn has: few, so that the turns of one round see the same machine."""

WARM_UP = 20


class Times:
    """The seconds that each app took for one of what is measured, round by round."""

    def __init__(self, rounds: list[dict[str, float]]) -> None:
        self._rounds = rounds

    def seconds(self, app: str) -> float:
        return median(each[app] for each in self._rounds)

    def ratio(self, app: str, other: str) -> float:
        """The median of the rounds' ratios, which moments when the machine is slow do not move."""
        return median(each[app] / each[other] for each in self._rounds)


def measure(question: Question, apps: Mapping[str, WSGIApplication]) -> Times:
    """Ask every app the same."""
    return take_turns(
        {name: partial(_ask_often, app, question) for name, app in apps.items()}, ROUNDS, WARM_UP
    )


def take_turns(turns: Mapping[str, Callable[[], float]], rounds: int, warm_up: int) -> Times:
    """Give each its turn in every round, each round in another order.

    Args:
        turns: What tells how long it took, by name.
        rounds: How many count.
        warm_up: How many go before.
    """
    with _no_collection():
        orders = islice(cycle(permutations(turns)), warm_up + rounds)
        seconds = [{name: turns[name]() for name in order} for order in orders]
    return Times(seconds[warm_up:])


def _ask_often(app: WSGIApplication, question: Question) -> float:
    """A turn of asking the same: the seconds that one request takes."""
    environs = [question.fresh_environ() for _ in range(REQUESTS)]
    gc.collect()  # nobody inherits the garbage of the turn before
    started = perf_counter()
    for environ in environs:
        chunks = app(environ, _start_response)
        for _ in chunks:
            pass
        if hasattr(chunks, "close"):  # as a server asks
            chunks.close()
    return (perf_counter() - started) / REQUESTS


def _start_response(status: str, headers: object, exc_info: object = None) -> Any:
    """A server that does nothing."""


@contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage is collected in the middle of a turn; and little is looked at between turns."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
