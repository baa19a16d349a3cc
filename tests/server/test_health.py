"""The health endpoints of a broker without a store, and of any broker under any prefix."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from brokerkit import Broker

from ..support.broker import Recorder, make_app, make_broker

OK = {"status": "ok"}


def client_of(broker: Broker, prefix: str | None = None) -> FlaskClient:
    app = make_app(broker, url_prefix=prefix)
    app.register_blueprint(broker.health, url_prefix=prefix)
    return app.test_client()


@pytest.mark.parametrize("path", ["/health", "/health/live"])
@pytest.mark.parametrize("prefix", [None, "/databases", "/v2", "/<region>"])
def test_health_needs_no_authentication(broker: Broker, prefix: str | None, path: str) -> None:
    """Both health endpoints return 200 without credentials under any prefix and are not cacheable."""
    answer = client_of(broker, prefix).get(f"{prefix or ''}{path}")
    assert (answer.status_code, answer.json) == (200, OK)
    assert answer.content_type == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"


def test_health_head_has_no_body(broker: Broker) -> None:
    answer = client_of(broker).head("/health")
    assert (answer.status_code, answer.data) == (200, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("prefix", [None, "/databases"])
def test_health_unsupported_method_is_json_405(broker: Broker, prefix: str | None, method: str) -> None:
    answer = client_of(broker, prefix).open(f"{prefix or ''}/health", method=method)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, HEAD"
    assert answer.json is not None
    assert answer.json["error"] == "MethodNotAllowed"


@pytest.mark.parametrize("path", ["/", "/health/", "/health/x", "/healthy"])
def test_health_only_app_returns_json_404(broker: Broker, path: str) -> None:
    answer = client_of(broker).get(path)
    assert (answer.status_code, answer.content_type) == (404, "application/json")


def test_health_leaves_app_pages_unchanged(broker: Broker) -> None:
    app = make_app(broker)
    app.register_blueprint(broker.health)
    app.add_url_rule("/", view_func=lambda: "hello")
    client = app.test_client()
    assert client.get("/").text == "hello"
    assert client.get("/elsewhere").mimetype == "text/html"


def test_health_is_absent_unless_registered(broker: Broker) -> None:
    """Without the health blueprint, /health is 404."""
    assert make_app(broker).test_client().get("/health").status_code == 404


def test_two_brokers_have_separate_health_endpoints() -> None:
    """The health blueprints can be registered in any order."""
    brokers = [make_broker(Recorder()) for _ in range(2)]
    app = Flask("tests")
    for number, broker in enumerate(brokers):
        for blueprint in (broker.health, broker.blueprint):  # in any order
            app.register_blueprint(blueprint, url_prefix=f"/{number}")
    statuses: list[Any] = [app.test_client().get(f"/{number}/health").json for number in range(2)]
    assert statuses == [OK, OK]
