"""The overhead of observability: a broker with logs, metrics, traces and audit trail against one without.

The time of a platform's requests is measured with servers in separate processes, with a new connection per
request, as in Cloud Foundry. The time over WSGI excludes the cost of a server. The time of a poll over WSGI
is so short that it has no budget.
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
from .traffic import Exchange, Reply, lifecycles, poll_of, provisions, send
from .verdicts import Verdicts
from .wire import as_bytes, ask_once

NONE, SEEN = "none", "seen"
ALL = "all four"

BUDGET = 1.35
"""The maximal time of a request with all four kinds, relative to none."""

_PER_LIFECYCLE = 4
"""Requests."""

THREADS = 8

LIFECYCLES, POLLS = 5, 20
"""The number of lifecycles per turn over HTTP."""

ROUNDS, WARM_UP = 50, 5

_APPS = {NONE: f"{fleet.__name__}:make_app()", SEEN: f"{observers.__name__}:make_seen_app()"}

Asks: TypeAlias = Callable[[Exchange], Reply]


def run(kinds: Sequence[Database], verdicts: Verdicts) -> None:
    """Measure, print and compare with the budgets."""
    table = Table(label=42, cells=(10, 10, 9, 7, 6))
    table.write("µs per request, with", NONE, "it", "ratio", "budget", "")
    for kind in kinds:
        with _servers(kind) as ports:
            calls = {name: partial(_ask_server, port) for name, port in ports.items()}
            changes = take_turns(_turns(_change, calls), ROUNDS, WARM_UP)
            _write(table, f"{kind.name}, a change over HTTP, {ALL}", changes, verdicts)
            polls = take_turns(_turns(partial(_poll_often, _poll(calls)), calls), ROUNDS, WARM_UP)
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


# Over WSGI, in this process


@contextmanager
def _apps(kind: Database, chosen: Sequence[Observer]) -> Iterator[dict[str, WSGIApplication]]:
    """Yield a broker without and a broker with observers, each with an empty database."""
    with ExitStack() as stack:

        def observe(broker: Broker, app: Flask) -> None:
            for observer in chosen:
                observer(broker, app, stack)

        unseen, seen = (stored_broker(stack.enter_context(kind.fresh())) for _ in range(2))
        yield {
            NONE: stack.enter_context(served(unseen)),
            SEEN: stack.enter_context(served(seen, observe)),
        }


def _ask_app(app: WSGIApplication, exchange: Exchange) -> Reply:
    return send(app, exchange.fresh_environ())


# Over HTTP, in separate processes


@contextmanager
def _servers(kind: Database) -> Iterator[dict[str, int]]:
    """Yield the ports of gunicorn servers as in the README, each with an empty database."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="metrics-")))
        ports = {}
        for name, app in _APPS.items():
            url = stack.enter_context(kind.fresh())
            server = fleet.served_by(1, url, threads=THREADS, app=app, PROMETHEUS_MULTIPROC_DIR=str(folder))
            ports[name] = stack.enter_context(server).port
        yield ports


def _ask_server(port: int, exchange: Exchange) -> Reply:
    return ask_once(port, as_bytes(exchange, last=True))


def _turns(turn: Callable[[Asks], float], calls: Mapping[str, Asks]) -> dict[str, Callable[[], float]]:
    return {name: partial(turn, call) for name, call in calls.items()}


def _change(calls: Asks) -> float:
    """Return the mean seconds per change."""
    return _seconds(calls, list(chain.from_iterable(islice(_FRESH, LIFECYCLES))))


def _poll_often(poll: Exchange, calls: Asks) -> float:
    """Return the mean seconds per poll."""
    return _seconds(calls, [poll] * POLLS)


def _seconds(calls: Asks, exchanges: Sequence[Exchange]) -> float:
    """Return the mean seconds per exchange. Every response is checked."""
    started = perf_counter()
    replies = [calls(exchange) for exchange in exchanges]
    seconds = perf_counter() - started
    for exchange, reply in zip(exchanges, replies, strict=True):
        _check(exchange, reply)
    return seconds / len(exchanges)


_FRESH = lifecycles()


# The requests


def _poll(calls: Mapping[str, Asks]) -> Exchange:
    """Return a poll of an instance that all brokers have."""
    (provision,) = provisions(1)
    poll = poll_of(provision, "", Reply(200, {"state": "succeeded"}))
    query = poll.environ["QUERY_STRING"].replace("&operation=", "").replace("operation=", "")
    poll = poll._replace(environ={**poll.environ, "QUERY_STRING": query})
    for call in calls.values():
        for exchange in (provision, poll):
            _check(exchange, call(exchange))
    return poll


def _check(exchange: Exchange, reply: Reply) -> None:
    if reply != exchange.expected:
        raise AssertionError(f"a {exchange.endpoint} got {reply}, not {exchange.expected}")
