"""A broker whose background work is done by Celery's workers, and whose spans a worker writes to a file.

With the environment variables below it is what a worker is started with.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from celery import Celery
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from brokerkit import Broker, ProvisionRequest
from brokerkit.celery import CeleryExecutor
from brokerkit.observe.opentelemetry import trace_lifecycle

from ..support import broker as support
from ..support.broker import Recorder, make_app

STORE, REDIS, SPANS = "BROKERKIT_TRACED_STORE", "BROKERKIT_TRACED_REDIS", "BROKERKIT_TRACED_SPANS"


def make_broker(url: str, redis: str, provider: TracerProvider) -> tuple[Broker, Celery]:
    """A broker, and the Celery app that works for it; its first attempt at a `large` kills its process."""
    celery_app: Celery = Celery("traced", broker=redis, set_as_current=False)
    broker = support.make_broker(Recorder(), store=url, executor=CeleryExecutor(celery_app))

    @broker.provision(plan="large", background=True)
    def provision(request: ProvisionRequest) -> None:
        with provider.get_tracer("tests").start_as_current_span("inside"):
            pass
        if request.attempt == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    trace_lifecycle(broker, tracer_provider=provider)
    return broker, celery_app


if SPANS in os.environ:
    writing = TracerProvider(shutdown_on_exit=False)
    writing.add_span_processor(
        SimpleSpanProcessor(
            ConsoleSpanExporter(
                out=Path(os.environ[SPANS]).open("a", encoding="utf-8"),  # noqa: SIM115 - until its process ends
                formatter=lambda span: f"{span.to_json(indent=None)}\n",
            )
        )
    )
    broker, celery_app = make_broker(os.environ[STORE], os.environ[REDIS], writing)
    app = make_app(broker)
