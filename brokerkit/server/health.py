"""The blueprint that reports the health of a broker to load balancers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from flask import Response

from ..health import Health, HealthStatus
from .base_blueprint import BaseBlueprint, json_response

_logger = logging.getLogger(__name__)

_PATH = "/health"


class HealthBlueprint(BaseBlueprint):
    """The blueprint with the health endpoints, for `app.register_blueprint` with any prefix.

    ``/health`` reports whether this process can serve requests. ``/health/live`` reports whether this process
    must be restarted.

    Args:
        ready: Returns the health for ``/health``.
        alive: Returns the health for ``/health/live``.
    """

    def __init__(self, ready: Callable[[], Health], alive: Callable[[], Health]) -> None:
        super().__init__("brokerkit-health", __name__)
        for path, check in ((_PATH, ready), (f"{_PATH}/live", alive)):
            self.add_read_only_rule(path, check.__name__, partial(_respond, check))


def _respond(check: Callable[[], Health]) -> Response:
    try:
        health = check()
    except Exception:  # the cause is for the log only, because callers are not authenticated
        _logger.exception("Health check failed")
        health = Health(status=HealthStatus.FAILED)
    return json_response(200 if health.status is HealthStatus.OK else 503, health)
