"""How long a broker without a store takes for a request, against bare Flask and openbrokerapi."""

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
from .traffic import Question, ask, questions
from .verdicts import Verdicts, joined

OURS, BARE, PEER = "brokerkit", "bare Flask", "openbrokerapi"

BUDGETS: dict[str, dict[str, float]] = {
    "provision": {BARE: 1.0, PEER: 0.5},
    "catalog": {BARE: 0.8, PEER: 0.4},
    "last operation": {BARE: 1.1, PEER: 0.55},
    "bind": {BARE: 1.0, PEER: 0.5},
}
"""What brokerkit may take of the time that the other takes."""


def run(kinds: Sequence[Database], verdicts: Verdicts) -> None:
    """Measure, print and judge."""
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
    for question in questions():
        times = measure(question, apps)
        medians = [f"{times.seconds(name) * 1e6:.1f}" for name in apps]
        budgets = BUDGETS[question.endpoint].items()
        judged = joined(verdicts.at_most(times.ratio(OURS, other), budget) for other, budget in budgets)
        table.write(question.endpoint, *medians, *judged)


def _check(apps: Mapping[str, WSGIApplication], finished: Counter[object]) -> None:
    """Nothing is measured that answers wrong, or that is fast because a check is switched off."""
    for question in questions():
        for name, app in apps.items():
            reply = ask(app, question.fresh_environ())
            if reply != question.right:
                sys.exit(f"{name} answers {question.endpoint} with {reply}, not {question.right}")
    if finished.total() != len(questions()):
        sys.exit(f"the subscriber of {OURS} was told of {finished.total()} requests")
    for fault, status, spoilt in _spoilt(questions()[0]):
        reply = ask(apps[OURS], spoilt.fresh_environ())
        if reply.status != status:
            sys.exit(f"{OURS} answers a provision with {fault} with {reply}")


def _spoilt(provision: Question) -> list[tuple[str, int, Question]]:
    def without(header: str) -> Question:
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
