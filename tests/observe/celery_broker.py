"""A broker whose background work is done by Celery's workers, which log as JSON what they and it do."""

from __future__ import annotations

import logging
import os

from celery import Celery
from celery.signals import setup_logging
from flask import Flask

from brokerkit import BasicAuth, Broker, Catalog, ProvisionRequest, Retry
from brokerkit.celery import CeleryExecutor
from brokerkit.observe.logs import json_handler, log_lifecycle

from ..support.broker import make_offering
from ..support.stateful import KEY

REDIS, STORE = "TESTS_REDIS", "TESTS_STORE"


def make(redis: str, store: str) -> tuple[Celery, Broker, Flask]:
    """The same in the process that serves and in the workers."""
    celery_app: Celery = Celery("logged", broker=redis, set_as_current=False)
    broker = Broker(
        Catalog([make_offering(bindable=False, instances_retrievable=False, bindings_retrievable=False)]),
        auth=BasicAuth("platform", "s3cret"),
        store=store,
        encryption_keys=[KEY],
        executor=CeleryExecutor(celery_app),
    )

    @broker.provision(background=True)
    def provision(request: ProvisionRequest) -> None:
        logging.getLogger("mine").info("inside")
        if request.attempt == 1:
            raise Retry(after=0.01)

    @broker.update
    def update(request: object) -> None: ...

    @broker.deprovision
    def deprovision(request: object) -> None: ...

    app = Flask("logged")
    app.register_blueprint(broker.blueprint)
    return celery_app, broker, app


if REDIS in os.environ:  # in a worker
    celery_app, broker, app = make(os.environ[REDIS], os.environ[STORE])
    log_lifecycle(broker)

    @setup_logging.connect
    def log_as_json(**options: object) -> None:
        """Instead of what Celery does to the loggers."""
        logging.basicConfig(level="INFO", handlers=[json_handler()])
