"""The broker with Celery as gunicorn and the Celery workers load it."""

from __future__ import annotations

import os
from time import sleep

from celery import Celery
from flask import Flask

from brokerkit import Provisioned, ProvisionRequest
from brokerkit.celery import CeleryExecutor

from .fleet import REDIS, URL
from .stored import stored_broker

WAIT = 0.05
"""In seconds."""


def _provision(request: ProvisionRequest) -> Provisioned:
    """Wait, as most handlers do for other systems."""
    sleep(WAIT)
    return Provisioned()


celery_app: Celery = Celery("benchmark", broker=os.environ[REDIS])
celery_app.conf.update(worker_prefetch_multiplier=1)
app = Flask("brokerkit")
app.register_blueprint(stored_broker(os.environ[URL], _provision, CeleryExecutor(celery_app)).blueprint)
