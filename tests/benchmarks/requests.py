"""Times of requests to a broker without a store, against bare Flask and openbrokerapi."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from platform import python_version
from wsgiref.types import WSGIApplication

from .apps import bare_app, brokerkit_app, openbrokerapi_app
from .databases import Database
from .measure import measure
from .table import Table
from .traffic import Exchange, exchanges, send
from .verdicts import Verdicts, joined

OURS, BARE, PEER = "brokerkit", "bare Flask", "openbrokerapi"

BUDGETS: dict[str, dict[str, float]] = {
    "provision": {BARE: 1.0, PEER: 0.5},
    "catalog": {BARE: 0.8, PEER: 0.4},
    "last operation": {BARE: 1.1, PEER: 0.55},
    "bind": {BARE: 1.0, PEER: 0.5},
}
"""The maximal time of brokerkit, relative to the other app."""


def run(kinds: Sequence[Database], verdicts: Verdicts) -> None:
    """Measure, print and compare with the budgets."""
    finished: Counter[object] = Counter()
    apps: dict[str, WSGIApplication] = {
        OURS: brokerkit_app(finished).wsgi_app,
        BARE: bare_app().wsgi_app,
        PEER: openbrokerapi_app().wsgi_app,
    }
    _check(apps, finished)
    table = Table(label=15, cells=(10, 11, 14, 9, 7, 5, 9, 7, 5))
    packages = ", ".join(f"{name} {version(name)}" for name in ("flask", "msgspec", PEER))
    table.write(f"Python {python_version()}, {packages}\n")
    table.write("µs per request", *apps, "/ bare", "budget", "", "/ peer", "budget", "")
    for exchange in exchanges():
        times = measure(exchange, apps)
        medians = [f"{times.seconds(name) * 1e6:.1f}" for name in apps]
        budgets = BUDGETS[exchange.endpoint].items()
        judged = joined(verdicts.at_most(times.ratio(OURS, other), budget) for other, budget in budgets)
        table.write(exchange.endpoint, *medians, *judged)


def _check(apps: Mapping[str, WSGIApplication], finished: Counter[object]) -> None:
    """Check before measuring that responses are correct and no check is disabled."""
    for exchange in exchanges():
        for name, app in apps.items():
            reply = send(app, exchange.fresh_environ())
            if reply != exchange.expected:
                sys.exit(f"{name} responds to {exchange.endpoint} with {reply}, not {exchange.expected}")
    if finished.total() != len(exchanges()):
        sys.exit(f"the subscriber of {OURS} counted {finished.total()} requests")
    for fault, status, spoilt in _spoilt(exchanges()[0]):
        reply = send(apps[OURS], spoilt.fresh_environ())
        if reply.status != status:
            sys.exit(f"{OURS} answers a provision with {fault} with {reply}")


def _spoilt(provision: Exchange) -> list[tuple[str, int, Exchange]]:
    def without(header: str) -> Exchange:
        kept = {name: value for name, value in provision.environ.items() if name != header}
        return provision._replace(environ=kept)

    body = provision.body.replace(b'["pg_trgm"]', b'["DROP-TABLE"]')
    length = {"CONTENT_LENGTH": str(len(body))}
    refused = provision._replace(environ={**provision.environ, **length}, body=body)
    return [
        ("no credentials", 401, without("HTTP_AUTHORIZATION")),
        ("no version", 400, without("HTTP_X_BROKER_API_VERSION")),
        ("parameters that its schema refuses", 400, refused),
    ]
