"""A pytest plugin with fixtures for tests of service brokers; `brokerkit.testing` documents them.

This module is outside of the package `brokerkit`, and imports it only when a fixture is used. The reason: if
brokerkit is installed, pytest loads this module in every run.
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
broker_app: no app to test is configured; return it in your conftest.py:

    @pytest.fixture
    def broker_app():
        return app  # the Flask app with your broker's blueprint

or, for a broker in another process, override broker_url and broker_login."""


@pytest.fixture
def broker_app() -> WSGIApplication:
    """Return the app under test. Override this fixture."""
    pytest.fail(_OVERRIDE_APP, pytrace=False)


@pytest.fixture
def broker_url(broker_app: WSGIApplication) -> Iterator[str]:
    """Serve `broker_app` on a free port during the test and yield its URL."""
    from brokerkit.testing import serve

    with serve(broker_app) as url:
        yield url


@pytest.fixture
def broker_login(broker_app: WSGIApplication) -> Login:
    """Return a login of `broker_app`: a username and password, a bearer token, or None."""
    from brokerkit.testing import fixtures

    return fixtures.login(broker_app)


@pytest.fixture
def broker_platform() -> Platform:
    """Return the platform that sends the requests. Defaults to a `Platform` without headers of its own."""
    from brokerkit.testing import Platform

    return Platform()


@pytest.fixture
def broker_client(broker_url: str, broker_login: Login, broker_platform: Platform) -> BrokerClient:
    """Create a `BrokerClient` for `broker_url`, with `broker_login` and `broker_platform`."""
    from brokerkit.testing import fixtures

    return fixtures.client(broker_url, broker_login, broker_platform)


@pytest.fixture
def broker_work(broker_app: WSGIApplication) -> Iterator[StepByStep]:
    """Yield a `StepByStep`, which runs the background work of the broker in `broker_app` on request."""
    from brokerkit.testing import fixtures

    with fixtures.work(broker_app) as work:
        yield work


@pytest.fixture
def check_broker(request: pytest.FixtureRequest, broker_platform: Platform) -> CheckBroker:
    """Return a function that checks a broker against the API, with a subtest for each rule."""
    from brokerkit.testing import fixtures

    return fixtures.checker(request, broker_platform)
