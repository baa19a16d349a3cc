"""The broker of `samples/postgres` with Celery's workers, and handlers that note what they do.

The sample's module is read from its own folder, which is on the path. Of the plan `restored`, everything is
done in the background.
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
from .settings import CALM, EVENTS, REDIS

LATER = "restored"

sample: Any = importlib.import_module("broker")
events = Events(Path(os.environ[EVENTS]))

celery_app: Celery = Celery("production", broker=os.environ[REDIS])
celery_app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options={"socket_connect_timeout": 2, "socket_timeout": 5},
    worker_prefetch_multiplier=1,
)


def is_calm() -> bool:
    """Is all over?"""
    return Path(os.environ[EVENTS]).with_name(CALM).exists()


class UnreliableExecutor(CeleryExecutor):
    """Some messages come twice, and some never."""

    def publish(self, operation_id: str, delay: float) -> None:
        """As `CeleryExecutor.publish`, more or less."""
        for _ in range(1 if is_calm() else random.choice((0, 1, 1, 1, 1, 1, 1, 2, 2, 2))):
            super().publish(operation_id, delay)


broker = osb.Broker(
    sample.catalog,
    auth=osb.BasicAuth.from_env(),
    store=sample.settings.store,
    encryption_keys=sample.settings.keys,
    executor=UnreliableExecutor(celery_app),
)


def dawdle() -> None:
    """Some handlers take longer than others, and a few longer than a lease."""
    if not is_calm() and random.random() < 0.3:
        time.sleep(random.choice((0.1, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 7.0)))


def noted(name: str, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The handler, with its begin and its end in the file of events."""

    @wraps(function)
    def steps(request: Any) -> Generator[str, None, Any]:
        with events.handling(name, request):
            result = yield from function(request)
            dawdle()
            return result

    @wraps(function)
    def at_once(request: Any) -> Any:
        with events.handling(name, request):
            result = function(request)
            dawdle()
            return result

    return steps if inspect.isgeneratorfunction(function) else at_once


def watch() -> None:
    """Register the sample's handlers, and those that work at once also for the background."""
    for operation, function, service, plan, background, max_attempts in sample.broker.handlers:
        register = getattr(broker, operation)
        function = noted(operation, function)
        more = {"background": True, "max_attempts": max_attempts} if background else {}
        register(service=service, plan=plan, **more)(function)
        if plan is None and operation != "provision":
            register(plan=LATER, background=True)(function)


watch()
app = Flask(__name__)
app.register_blueprint(broker.blueprint)
