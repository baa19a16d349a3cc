"""Times of polls of `last_operation` that the store responds to, against those of a handler."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from threading import Event
from typing import Any
from wsgiref.types import WSGIApplication

from brokerkit import Provisioned, ProvisionRequest, signals

from .apps import brokerkit_app
from .background import begun
from .databases import Database, reading
from .measure import measure
from .stored import served, stored_broker
from .table import Table
from .traffic import PROGRESS, Exchange, Reply, poll_of, provisions, send
from .verdicts import Verdicts

STORED, DIRECT, READING = "stored", "no store", "one read"
"""The last one has no store either. Its handler reads one row with the driver alone."""

BUDGET = 2.5

_TIMEOUT = 30.0
_IN_PROGRESS = {"state": "in progress", "description": PROGRESS}


def run(kinds: Sequence[Database], verdicts: Verdicts) -> None:
    """Measure, print and compare with the budgets."""
    table = Table(label=24, cells=(10, 10, 10, 12, 7, 6, 12))
    table.write("µs per poll", STORED, DIRECT, READING, "/ no store", "budget", "", "/ one read")
    for kind in kinds:
        with (
            kind.fresh() as url,
            _polled(url) as (stored, polls),
            kind.fresh() as bare,
            reading(bare) as read,
        ):
            apps = {
                STORED: stored,
                DIRECT: brokerkit_app().wsgi_app,
                READING: brokerkit_app(polled=read).wsgi_app,
            }
            for state, poll in polls.items():
                _check(apps, poll)
                times = measure(poll, apps)
                medians = [f"{times.seconds(name) * 1e6:.1f}" for name in apps]
                verdict = verdicts.at_most(times.ratio(STORED, DIRECT), BUDGET)
                floor = f"{times.ratio(STORED, READING):.3f}"
                table.write(f"{kind.name}, {state}", *medians, *verdict, floor)


@contextmanager
def _polled(url: str) -> Iterator[tuple[WSGIApplication, dict[str, Exchange]]]:
    """Yield a broker, and the polls of an operation in progress and of a completed one."""
    endless, quick = provisions(2)
    progressed, done, released = Event(), Event(), Event()

    def provision(request: ProvisionRequest) -> Any:
        yield PROGRESS
        if request.instance_id in endless.environ["PATH_INFO"]:
            progressed.set()
            released.wait()
        return Provisioned()

    broker = stored_broker(url, provision)
    with ExitStack() as stack:
        app = stack.enter_context(served(broker))
        stack.callback(released.set)  # before the broker closes, because that waits for its handlers
        signals.provisioned.connect(lambda *_, **facts: done.set(), sender=broker, weak=False)
        polls = {
            "in progress": poll_of(endless, begun(app, endless), Reply(200, _IN_PROGRESS)),
            "done": poll_of(quick, begun(app, quick), Reply(200, {"state": "succeeded"})),
        }
        if not (progressed.wait(_TIMEOUT) and done.wait(_TIMEOUT)):
            raise AssertionError("the operations that are to be polled did not get where they must be")
        yield app, polls


def _check(apps: Mapping[str, WSGIApplication], poll: Exchange) -> None:
    for name, app in apps.items():
        expected = poll.expected if name == STORED else Reply(200, _IN_PROGRESS)
        reply = send(app, poll.fresh_environ())
        if reply != expected:
            raise AssertionError(f"a poll of {name!r} got {reply}, not {expected}")
