"""The blueprint of a broker's health, for load balancers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from flask import Response

from ..health import Health, HealthStatus
from .base_blueprint import BaseBlueprint, json_response

_logger = logging.getLogger("brokerkit")

_PATH = "/health"


class HealthBlueprint(BaseBlueprint):
    """The blueprint of a broker's health; `app.register_blueprint` takes it, under any prefix.

    Args:
        ready: Tells whether this process may be sent requests.
        alive: Tells whether it can go on, or must be restarted.
    """

    def __init__(self, ready: Callable[[], Health], alive: Callable[[], Health]) -> None:
        super().__init__("brokerkit-health", __name__)
        for path, ask in ((_PATH, ready), (f"{_PATH}/live", alive)):
            self.add_read_only_rule(path, ask.__name__, partial(_tell, ask))


def _tell(ask: Callable[[], Health]) -> Response:
    try:
        health = ask()
    except Exception:  # who asks is not to be told what went wrong
        _logger.exception("how the broker is could not be found out")
        health = Health(status=HealthStatus.FAILED)
    return json_response(200 if health.status is HealthStatus.OK else 503, health)
