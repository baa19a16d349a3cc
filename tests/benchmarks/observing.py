"""What it costs to be seen: a broker with logs, metrics, traces and an audit trail, against one with none.

What a platform waits for is measured at servers in processes of their own, through a new connection for each
request, as Cloud Foundry makes one. Through WSGI alone it shows without what a server costs; a poll does so
little there that it is told without a judgement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TypeAlias
from wsgiref.types import WSGIApplication

from flask import Flask

from brokerkit import Broker

from . import fleet, observers
from .databases import Database
from .lifecycle import measure_lifecycles
from .measure import Times, measure, take_turns
from .observers import OBSERVERS, Observer
from .stored import served, stored_broker
from .table import Table
from .traffic import Question, Reply, ask, lifecycles, poll_of, provisions
from .verdicts import Verdicts
from .wire import as_bytes, ask_once

NONE, SEEN = "none", "seen"
ALL = "all four"

BUDGET = 1.35
"""How many times as long a request may take with all four as with none."""

_PER_LIFECYCLE = 4
"""Requests."""

THREADS = 8

LIFECYCLES, POLLS = 5, 20
"""How many a turn has, through HTTP."""

ROUNDS, WARM_UP = 50, 5

_APPS = {NONE: f"{fleet.__name__}:make_app()", SEEN: f"{observers.__name__}:make_seen_app()"}

Asks: TypeAlias = Callable[[Question], Reply]


def run(kinds: Sequence[Database], verdicts: Verdicts) -> None:
    """Measure, print and judge."""
    table = Table(label=42, cells=(10, 10, 9, 7, 6))
    table.write("µs per request, with", NONE, "it", "ratio", "budget", "")
    for kind in kinds:
        with _servers(kind) as ports:
            asks = {name: partial(_ask_server, port) for name, port in ports.items()}
            changes = take_turns(_turns(_change, asks), ROUNDS, WARM_UP)
            _write(table, f"{kind.name}, a change over HTTP, {ALL}", changes, verdicts)
            polls = take_turns(_turns(partial(_poll_often, _poll(asks)), asks), ROUNDS, WARM_UP)
            _write(table, f"{kind.name}, a poll over HTTP, {ALL}", polls, verdicts)
        for name, chosen in ({ALL: list(OBSERVERS.values())} | _each_alone()).items():
            with _apps(kind, chosen) as apps:
                changes = measure_lifecycles(apps, 1)
                judges = verdicts if name == ALL else None
                _write(table, f"{kind.name}, a change, {name}", changes, judges, _PER_LIFECYCLE)
                if name == ALL:
                    poll = _poll({app: partial(_ask_app, apps[app]) for app in apps})
                    _write(table, f"{kind.name}, a poll, {name}", measure(poll, apps), None)


def _each_alone() -> dict[str, list[Observer]]:
    return {name: [observer] for name, observer in OBSERVERS.items()}


def _write(table: Table, label: str, times: Times, verdicts: Verdicts | None, requests: int = 1) -> None:
    medians = [f"{times.seconds(app) / requests * 1e6:.0f}" for app in (NONE, SEEN)]
    ratio = times.ratio(SEEN, NONE)
    judged = (f"{ratio:.3f}",) if verdicts is None else verdicts.at_most(ratio, BUDGET)
    table.write(label, *medians, *judged)


# Through WSGI, in this process


@contextmanager
def _apps(kind: Database, chosen: Sequence[Observer]) -> Iterator[dict[str, WSGIApplication]]:
    """A broker that nobody sees, and one that these see, each with an empty database."""
    with ExitStack() as stack:

        def observe(broker: Broker, app: Flask) -> None:
            for observer in chosen:
                observer(broker, app, stack)

        unseen, seen = (stored_broker(stack.enter_context(kind.fresh())) for _ in range(2))
        yield {
            NONE: stack.enter_context(served(unseen)),
            SEEN: stack.enter_context(served(seen, observe)),
        }


def _ask_app(app: WSGIApplication, question: Question) -> Reply:
    return ask(app, question.fresh_environ())


# Over HTTP, of processes of their own


@contextmanager
def _servers(kind: Database) -> Iterator[dict[str, int]]:
    """The ports of gunicorns as the README has them, each with an empty database."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="metrics-")))
        ports = {}
        for name, app in _APPS.items():
            url = stack.enter_context(kind.fresh())
            server = fleet.served_by(1, url, threads=THREADS, app=app, PROMETHEUS_MULTIPROC_DIR=str(folder))
            ports[name] = stack.enter_context(server).port
        yield ports


def _ask_server(port: int, question: Question) -> Reply:
    return ask_once(port, as_bytes(question, last=True))


def _turns(turn: Callable[[Asks], float], asks: Mapping[str, Asks]) -> dict[str, Callable[[], float]]:
    return {name: partial(turn, each) for name, each in asks.items()}


def _change(asks: Asks) -> float:
    """The seconds that a change takes, in the mean over lifecycles."""
    return _seconds(asks, list(chain.from_iterable(islice(_FRESH, LIFECYCLES))))


def _poll_often(poll: Question, asks: Asks) -> float:
    """The seconds that a poll takes."""
    return _seconds(asks, [poll] * POLLS)


def _seconds(asks: Asks, questions: Sequence[Question]) -> float:
    """Per question; each answer must be right."""
    started = perf_counter()
    replies = [asks(question) for question in questions]
    seconds = perf_counter() - started
    for question, reply in zip(questions, replies, strict=True):
        _check(question, reply)
    return seconds / len(questions)


_FRESH = lifecycles()


# What is asked


def _poll(asks: Mapping[str, Asks]) -> Question:
    """A poll of the last operation of an instance that all have."""
    (provision,) = provisions(1)
    poll = poll_of(provision, "", Reply(200, {"state": "succeeded"}))
    query = poll.environ["QUERY_STRING"].replace("&operation=", "").replace("operation=", "")
    poll = poll._replace(environ={**poll.environ, "QUERY_STRING": query})
    for each in asks.values():
        for question in (provision, poll):
            _check(question, each(question))
    return poll


def _check(question: Question, reply: Reply) -> None:
    if reply != question.right:
        raise AssertionError(f"a {question.endpoint} got {reply}, not {question.right}")
