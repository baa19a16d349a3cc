"""A project with a broker and tests of its own, which the tests of the plugin run."""

from __future__ import annotations

import sys

import pytest

from brokerkit.checker import runner as check
from brokerkit.client.client import BrokerClient
from brokerkit.testing import fixtures, serve
from brokerkit.testing import subtests as checking

from ..support.broker import Recorder, make_app, make_broker

BROKER = """
import time
from flask import Flask
import pytest
import brokerkit as osb

plan = osb.ServicePlan(id="plan-id", name="small", description="A small one")
offering = osb.ServiceOffering(
    id="offering-id", name="db", description="Databases", bindable=False, plans=[plan]
)
broker = osb.Broker(
    osb.Catalog([offering]), auth=osb.BasicAuth("platform", "s3cret"), store="sqlite://"
)


@broker.provision(background=True)
def provision(request):
    yield "Making a volume"
    if request.attempt == 1:
        raise osb.Retry(after=30)
    return osb.Provisioned()


@broker.deprovision
def deprovision(request):
    pass


app = Flask("app")
app.register_blueprint(broker.blueprint)
"""

CONFTEST = """
import pytest
from app import app, broker

@pytest.fixture
def broker_app():
    yield app
    broker.close()
"""

# Where one of them is set, pytest shortens nothing; what these tests read must not depend on who runs them.
_MAKES_PYTEST_WORDY = ("CI", "BUILD_NUMBER")

# In the process of these tests brokerkit is loaded before that pytest begins.
_LOADED = "ignore:Module already imported:pytest.PytestAssertRewriteWarning"
# Without what takes a second to load.
STRICT = ("-W", "error", "-W", _LOADED, "-p", "no:cacheprovider", "-p", "no:hypothesispytest")


@pytest.fixture(scope="session")
def _all_is_loaded() -> None:
    """A run inside of this one forgets the modules that it is the first to load, which some do not bear."""
    assert {fixtures.__name__, checking.__name__, check.__name__} <= sys.modules.keys()
    broker = make_broker(Recorder(), store="sqlite://")
    with serve(make_app(broker)) as url:
        BrokerClient(url, username="platform", password="s3cret").provision("i1", "db-id", "small-id")
    broker.close()


@pytest.fixture
def project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, _all_is_loaded: None
) -> pytest.Pytester:
    """Create a project with a broker in `app.py`."""
    for name in _MAKES_PYTEST_WORDY:
        monkeypatch.delenv(name, raising=False)
    pytester.makepyfile(app=BROKER)
    pytester.makeconftest(CONFTEST)
    pytester.syspathinsert()
    return pytester


def run(project: pytest.Pytester, source: str, *options: str) -> pytest.RunResult:
    project.makepyfile(test_broker=source)
    return project.runpytest_inprocess(*STRICT, *options)


def fails_with(result: pytest.RunResult, *lines: str) -> None:
    result.stdout.fnmatch_lines([f"*{line}*" for line in lines])
    for noise in ("During handling", "Traceback", "traceback"):
        result.stdout.no_fnmatch_line(f"*{noise}*")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
