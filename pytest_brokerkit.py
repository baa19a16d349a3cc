"""A plugin of pytest's: fixtures for tests of service brokers. What they are is in `brokerkit.testing`.

It stands outside of the package `brokerkit`, and imports nothing of it until a fixture is used: pytest loads
this file in every run wherever brokerkit is installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from brokerkit.client.client import BrokerClient
    from brokerkit.testing import CheckBroker, Login, Platform, StepByStep

_OVERRIDE_APP = """\
broker_app: there is no app to test; return it in your conftest.py:

    @pytest.fixture
    def broker_app():
        return app  # the Flask app that your broker's blueprint is attached to

or, for a broker that runs elsewhere, override broker_url and broker_login."""


@pytest.fixture
def broker_app() -> WSGIApplication:
    """The app under test. Override it."""
    pytest.fail(_OVERRIDE_APP, pytrace=False)


@pytest.fixture
def broker_url(broker_app: WSGIApplication) -> Iterator[str]:
    """Where the broker is: `broker_app`, served on a free port while the test runs."""
    from brokerkit.testing import serve

    with serve(broker_app) as url:
        yield url


@pytest.fixture
def broker_login(broker_app: WSGIApplication) -> Login:
    """How to authenticate: a username and password, a bearer token, or None; that of `broker_app`."""
    from brokerkit.testing import fixtures

    return fixtures.login(broker_app)


@pytest.fixture
def broker_platform() -> Platform:
    """Who asks: a `Platform` that says nothing of itself."""
    from brokerkit.testing import Platform

    return Platform()


@pytest.fixture
def broker_client(broker_url: str, broker_login: Login, broker_platform: Platform) -> BrokerClient:
    """A `BrokerClient` at `broker_url`, with `broker_login`, as `broker_platform`."""
    from brokerkit.testing import fixtures

    return fixtures.client(broker_url, broker_login, broker_platform)


@pytest.fixture
def broker_work(broker_app: WSGIApplication) -> Iterator[StepByStep]:
    """Does the background work of the broker in `broker_app`, step by step; nothing runs by itself."""
    from brokerkit.testing import fixtures

    with fixtures.work(broker_app) as work:
        yield work


@pytest.fixture
def check_broker(request: pytest.FixtureRequest, broker_platform: Platform) -> CheckBroker:
    """Checks a broker against the API as `broker_platform`, each rule as a subtest: `check_broker()`."""
    from brokerkit.testing import fixtures

    return fixtures.checker(request, broker_platform)
