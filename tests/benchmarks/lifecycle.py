"""Throughput of lifecycles with a store: provision, bind, unbind, deprovision.

`python -m tests.benchmarks.lifecycle` with the name of an app measures only that app, as for a profile.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain, islice
from time import perf_counter
from wsgiref.types import WSGIApplication

from .databases import Database, commit_seconds, databases
from .measure import Times, take_turns
from .peer_lifecycle import peer_app
from .stored import stored_app
from .table import Table
from .traffic import Exchange, lifecycles, send
from .verdicts import Verdicts, joined

OURS, PEER = "brokerkit", "openbrokerapi"

APPS = {OURS: stored_app, PEER: peer_app}
"""A factory of an app with a store, from the URL of an empty database."""

THREADS = (1, 4)

BUDGETS = {"SQLite": 1.2, "PostgreSQL": 1.0}
"""The minimal number of lifecycles of brokerkit in the time of one lifecycle of the other app."""

ROUNDS = 40
LIFECYCLES = 8
"""The number of lifecycles per thread and turn."""

WARM_UP = 4

_FRESH = lifecycles()


def run(kinds: Sequence[Database], verdicts: Verdicts, names: Sequence[str] = tuple(APPS)) -> None:
    """Measure and print, and compare with the budgets if both apps are measured."""
    table = Table(label=24, cells=(10, 14, 9, 7, 6))
    table.write("lifecycles per second", OURS, PEER, "/ peer", "budget", "")
    for kind in kinds:
        with _stored(kind, names) as apps:
            for threads in THREADS:
                times = measure_lifecycles(apps, threads)
                rates = [f"{1 / times.seconds(name):.0f}" if name in apps else "" for name in (OURS, PEER)]
                ratio = [times.ratio(PEER, OURS)] if len(apps) == 2 else []
                verdict = joined(verdicts.at_least(value, BUDGETS[kind.name]) for value in ratio)
                table.write(f"{kind.name}, {threads} thread{'s' * (threads > 1)}", *rates, *verdict)
    table.write("")
    table.write("µs per durable commit")
    for kind in kinds:
        with kind.fresh() as url:
            table.write(kind.name, f"{commit_seconds(url) * 1e6:.0f}")


@contextmanager
def _stored(kind: Database, names: Sequence[str]) -> Iterator[dict[str, WSGIApplication]]:
    """Yield each app with its own empty database, after a check of its responses."""
    with ExitStack() as stack:
        apps: dict[str, WSGIApplication] = {
            name: stack.enter_context(APPS[name](stack.enter_context(kind.fresh()))) for name in names
        }
        for name, app in apps.items():
            _check(f"{name} on {kind.name}", app)
        yield apps


def measure_lifecycles(apps: Mapping[str, WSGIApplication], threads: int, rounds: int = ROUNDS) -> Times:
    """Return the seconds per lifecycle of each app with concurrent threads. Every response is checked."""
    with ThreadPoolExecutor(threads) as pool:
        turns = {name: partial(_turn, app, pool, threads) for name, app in apps.items()}
        return take_turns(turns, rounds, WARM_UP)


def _turn(app: WSGIApplication, pool: ThreadPoolExecutor, threads: int) -> float:
    work = [list(chain.from_iterable(islice(_FRESH, LIFECYCLES))) for _ in range(threads)]
    gc.collect()
    started = perf_counter()
    for done in [pool.submit(_get_through, app, exchanges) for exchanges in work]:
        done.result()
    return (perf_counter() - started) / (threads * LIFECYCLES)


def _get_through(app: WSGIApplication, exchanges: Sequence[Exchange]) -> None:
    for exchange in exchanges:
        reply = send(app, exchange.fresh_environ())
        if reply != exchange.expected:
            raise AssertionError(f"a {exchange.endpoint} got {reply}, not {exchange.expected}")


def _check(name: str, app: WSGIApplication) -> None:
    """Check the responses to repeated and late requests before measuring."""
    provision, bind, unbind, deprovision = next(_FRESH)
    repeated = [
        ("a first provision", provision, 201),
        ("the same provision", provision, 200),
        ("another provision", _with_other_parameters(provision), 409),
        ("a fetch", _as_fetch(provision), 200),
        ("a first bind", bind, 201),
        ("the same bind", bind, 200),
        ("another bind", _with_other_parameters(bind), 409),
        ("a fetch", _as_fetch(bind), 200),
        ("a first unbind", unbind, 200),
        ("a second unbind", unbind, 410),
        ("a fetch of what is gone", _as_fetch(bind), 404),
        ("a first deprovision", deprovision, 200),
        ("a second deprovision", deprovision, 410),
        ("a fetch of what is gone", _as_fetch(provision), 404),
    ]
    for what, exchange, status in repeated:
        reply = send(app, exchange.fresh_environ())
        document = exchange.expected.document if status < 300 else reply.document
        if reply.status != status or not _matches(reply.document, document):
            sys.exit(f"{name} responds to {what} with {reply}, not {status} and {document}")


def _matches(document: object, facts: object) -> bool:
    return isinstance(document, dict) and isinstance(facts, dict) and document.items() >= facts.items()


def _with_other_parameters(exchange: Exchange) -> Exchange:
    body = json.dumps(json.loads(exchange.body) | {"parameters": {"extensions": ["hstore"]}}).encode()
    return exchange._replace(environ=exchange.environ | {"CONTENT_LENGTH": str(len(body))}, body=body)


def _as_fetch(exchange: Exchange) -> Exchange:
    headers = {
        name: value
        for name, value in exchange.environ.items()
        if name not in ("CONTENT_LENGTH", "CONTENT_TYPE")
    }
    return exchange._replace(environ=headers | {"REQUEST_METHOD": "GET"}, body=b"")


def _main(names: Sequence[str]) -> int:
    verdicts = Verdicts()
    with databases() as kinds:
        run(kinds, verdicts, names or tuple(APPS))
    return 0 if verdicts.all_kept else 1


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
