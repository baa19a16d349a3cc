"""The common parts of brokers with openbrokerapi: catalog, authentication, and disabled logs."""

from __future__ import annotations

import logging
from typing import Any

import openbrokerapi  # type: ignore  # has no types, and is not installed for the linters
from flask import Flask

from .catalog import CATALOG
from .traffic import PASSWORD, USERNAME


def services() -> list[Any]:
    """Return the catalog in openbrokerapi's classes."""
    return [
        openbrokerapi.Service(
            **{**service, "plans": [openbrokerapi.ServicePlan(**plan) for plan in service["plans"]]}
        )
        for service in CATALOG["services"]
    ]


def make_app(broker: object) -> Flask:
    """Return an app for an object with openbrokerapi's methods."""
    # It logs every header at level DEBUG, which would distort the comparison.
    silent = logging.getLogger("openbrokerapi")
    silent.setLevel(logging.CRITICAL)
    silent.addHandler(logging.NullHandler())
    silent.propagate = False
    app = Flask("openbrokerapi")
    credentials = openbrokerapi.api.BrokerCredentials(USERNAME, PASSWORD)
    app.register_blueprint(openbrokerapi.api.get_blueprint(broker, credentials, silent))
    return app
