"""The four kinds of observability, and a broker in a separate process that has all of them.

The log is written as JSON, a processor collects the spans as in production, and the records of the audit
trail are encoded. All of it is discarded where it would leave the process.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

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

from .fleet import URL
from .stored import stored_broker

_LOGGER = logging.getLogger("tests.benchmarks.observing")


class _Nowhere(SpanExporter):
    """An exporter that discards spans."""

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


Observer: TypeAlias = Callable[[Broker, Flask, ExitStack], None]

OBSERVERS: dict[str, Observer] = {
    "logs": _with_logs,
    "metrics": _with_metrics,
    "traces": _with_traces,
    "audit": _with_audit,
}
"""Functions that each enable one kind until the stack is closed."""

_FOR_GOOD = ExitStack()


def make_seen_app() -> Flask:
    """Return the app of `fleet.make_app` with all four kinds."""
    broker, app = stored_broker(os.environ[URL]), Flask("brokerkit")
    app.register_blueprint(broker.blueprint)
    for observe in OBSERVERS.values():
        observe(broker, app, _FOR_GOOD)
    return app
