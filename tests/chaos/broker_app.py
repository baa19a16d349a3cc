"""The broker of `samples/postgres` with Celery workers, and with handlers that record events.

The sample's module is imported from its folder, which is on the path. All operations of plan `restored` run
in the background.
"""

from __future__ import annotations

import importlib
import inspect
import os
import random
import time
from collections.abc import Callable, Generator
from functools import wraps
from pathlib import Path
from typing import Any

from celery import Celery
from flask import Flask

import brokerkit as osb
from brokerkit.celery import CeleryExecutor

from ..resilience.events import Events
from .settings import EVENTS, REDIS, RELIABLE

BACKGROUND_PLAN = "restored"

sample: Any = importlib.import_module("broker")
events = Events(Path(os.environ[EVENTS]))

celery_app: Celery = Celery("chaos", broker=os.environ[REDIS])
celery_app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options={"socket_connect_timeout": 2, "socket_timeout": 5},
    worker_prefetch_multiplier=1,
)


def is_reliable() -> bool:
    """Whether the test has switched off delays and lost messages."""
    return Path(os.environ[EVENTS]).with_name(RELIABLE).exists()


class UnreliableExecutor(CeleryExecutor):
    """An executor that loses some messages and sends others twice."""

    def publish(self, operation_id: str, delay: float) -> None:
        """Publish no, one or two messages."""
        for _ in range(1 if is_reliable() else random.choice((0, 1, 1, 1, 1, 1, 1, 2, 2, 2))):
            super().publish(operation_id, delay)


broker = osb.Broker(
    sample.catalog,
    auth=osb.BasicAuth.from_env(),
    store=sample.settings.store,
    encryption_keys=sample.settings.keys,
    executor=UnreliableExecutor(celery_app),
)


def delay_randomly() -> None:
    """Delay some handlers, a few for longer than a lease."""
    if not is_reliable() and random.random() < 0.3:
        time.sleep(random.choice((0.1, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 7.0)))


def recorded(name: str, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Wrap a handler so that it records its begin and its end."""

    @wraps(function)
    def generator(request: Any) -> Generator[str, None, Any]:
        with events.handling(name, request):
            result = yield from function(request)
            delay_randomly()
            return result

    @wraps(function)
    def synchronous(request: Any) -> Any:
        with events.handling(name, request):
            result = function(request)
            delay_randomly()
            return result

    return generator if inspect.isgeneratorfunction(function) else synchronous


def register_handlers() -> None:
    """Register the sample's handlers, and the synchronous ones also for the background."""
    for operation, function, offering, plan, background, max_attempts in sample.broker.handlers:
        register = getattr(broker, operation)
        function = recorded(operation, function)
        options = {"background": True, "max_attempts": max_attempts} if background else {}
        register(service=offering, plan=plan, **options)(function)
        if plan is None and operation != "provision":
            register(plan=BACKGROUND_PLAN, background=True)(function)


register_handlers()
app = Flask(__name__)
app.register_blueprint(broker.blueprint)
