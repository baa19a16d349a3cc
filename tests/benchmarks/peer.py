"""The same broker's frame for openbrokerapi: the benchmarks' catalog, authentication, and silence."""

from __future__ import annotations

import logging
from typing import Any

import openbrokerapi  # type: ignore  # it has no types, and is not there when only the linters run
from flask import Flask

from .catalog import CATALOG
from .traffic import PASSWORD, USERNAME


def services() -> list[Any]:
    """The catalog, as openbrokerapi takes it."""
    return [
        openbrokerapi.Service(
            **{**service, "plans": [openbrokerapi.ServicePlan(**plan) for plan in service["plans"]]}
        )
        for service in CATALOG["services"]
    ]


def make_app(broker: object) -> Flask:
    """Serve an object with openbrokerapi's methods."""
    # It logs every header at the level DEBUG. Nothing is to be slow for the sake of a log.
    silent = logging.getLogger("openbrokerapi")
    silent.setLevel(logging.CRITICAL)
    silent.addHandler(logging.NullHandler())
    silent.propagate = False
    app = Flask("openbrokerapi")
    credentials = openbrokerapi.api.BrokerCredentials(USERNAME, PASSWORD)
    app.register_blueprint(openbrokerapi.api.get_blueprint(broker, credentials, silent))
    return app
