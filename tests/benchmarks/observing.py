"""What it costs to be seen: a broker with logs, metrics, traces and an audit trail, against one with none.

The log is written as JSON, the spans are handed to a processor as in production, and the records of the audit
trail are encoded; where all of it would leave the process, it is thrown away.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeAlias
from wsgiref.types import WSGIApplication

import msgspec
from flask import Flask
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from prometheus_client import CollectorRegistry

from brokerkit import Broker, NoAuth
from brokerkit.audit import AuditRecord
from brokerkit.observe.logs import json_handler, log_lifecycle
from brokerkit.observe.opentelemetry import trace_lifecycle
from brokerkit.observe.prometheus import metrics_blueprint
from brokerkit.signals import audited

from .databases import Database
from .lifecycle import measure_lifecycles
from .measure import Times, measure
from .stored import served, stored_broker
from .table import Table
from .traffic import Question, Reply, ask, poll_of, provisions
from .verdicts import Verdicts

NONE, SEEN = "none", "seen"
ALL = "all four"

BUDGET = 1.35
"""How many times as long a request may take with all four as with none."""

_LOGGER = logging.getLogger("tests.benchmarks.observing")


class _Nowhere(SpanExporter):
    """Where spans go that nobody collects."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def _with_logs(broker: Broker, app: Flask, stack: ExitStack) -> None:
    nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - it is closed
    handler = json_handler(nowhere)
    _LOGGER.addHandler(handler)
    _LOGGER.propagate = False
    _LOGGER.setLevel(logging.INFO)
    stack.callback(_LOGGER.removeHandler, handler)
    log_lifecycle(broker, _LOGGER)


def _with_metrics(broker: Broker, app: Flask, stack: ExitStack) -> None:
    app.register_blueprint(metrics_blueprint(broker, auth=NoAuth(), registry=CollectorRegistry()))


def _with_traces(broker: Broker, app: Flask, stack: ExitStack) -> None:
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(_Nowhere()))
    stack.callback(provider.shutdown)
    trace_lifecycle(broker, tracer_provider=provider)


def _with_audit(broker: Broker, app: Flask, stack: ExitStack) -> None:
    kept: deque[bytes] = deque(maxlen=1)

    def keep(sender: object, record: AuditRecord, **extra: object) -> None:
        kept.append(msgspec.json.encode(record))

    audited.connect(keep, sender=broker)
    stack.callback(audited.disconnect, keep, broker)


Subscriber: TypeAlias = Callable[[Broker, Flask, ExitStack], None]

SUBSCRIBERS: dict[str, Subscriber] = {
    "logs": _with_logs,
    "metrics": _with_metrics,
    "traces": _with_traces,
    "audit": _with_audit,
}


def run(kinds: Sequence[Database], verdicts: Verdicts) -> None:
    """Measure, print and judge; what each of the four costs by itself is told without a judgement."""
    table = Table(label=34, cells=(10, 10, 9, 7, 6))
    table.write("µs per request, with", NONE, "it", "ratio", "budget", "")
    for kind in kinds:
        for name, subscribers in ({ALL: list(SUBSCRIBERS.values())} | _each_alone()).items():
            with _pair(kind, subscribers) as apps:
                changes = measure_lifecycles(apps, 1)
                _write(table, f"{kind.name}, a change, {name}", changes, verdicts, name, 4)
                if name == ALL:
                    poll = measure(_poll(apps), apps)
                    _write(table, f"{kind.name}, a poll, {name}", poll, verdicts, "", 1)


def _each_alone() -> dict[str, list[Subscriber]]:
    return {name: [subscriber] for name, subscriber in SUBSCRIBERS.items()}


def _write(table: Table, label: str, times: Times, verdicts: Verdicts, name: str, requests: int) -> None:
    medians = [f"{times.seconds(app) / requests * 1e6:.0f}" for app in (NONE, SEEN)]
    ratio = times.ratio(SEEN, NONE)
    judged = verdicts.at_most(ratio, BUDGET) if name == ALL else (f"{ratio:.3f}",)
    table.write(label, *medians, *judged)


@contextmanager
def _pair(kind: Database, subscribers: Sequence[Subscriber]) -> Iterator[dict[str, WSGIApplication]]:
    """A broker that nobody listens to, and one with these subscribers, each with an empty database."""
    with ExitStack() as stack:

        def observe(broker: Broker, app: Flask) -> None:
            for subscriber in subscribers:
                subscriber(broker, app, stack)

        unseen, seen = (stored_broker(stack.enter_context(kind.fresh())) for _ in range(2))
        yield {
            NONE: stack.enter_context(served(unseen)),
            SEEN: stack.enter_context(served(seen, observe)),
        }


def _poll(apps: Mapping[str, WSGIApplication]) -> Question:
    """Asks both for the last operation of an instance that they have."""
    (provision,) = provisions(1)
    for app in apps.values():
        if ask(app, provision.fresh_environ()) != provision.right:
            raise AssertionError("the instance to be polled was not made")
    poll = poll_of(provision, "", Reply(200, {"state": "succeeded"}))
    query = poll.environ["QUERY_STRING"].replace("&operation=", "").replace("operation=", "")
    poll = poll._replace(environ={**poll.environ, "QUERY_STRING": query})
    for name, app in apps.items():
        reply = ask(app, poll.fresh_environ())
        if reply != poll.right:
            raise AssertionError(f"a poll of {name!r} got {reply}, not {poll.right}")
    return poll
