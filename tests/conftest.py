"""Fixtures and hooks for all tests."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

from brokerkit import Broker

from .support.broker import Platform, Recorder, make_app, make_broker
from .support.postgres_fixtures import postgres, postgres_url  # noqa: F401
from .support.redis_fixtures import redis_server, redis_url  # noqa: F401

pytest_plugins = ["tests.support.rules"]

settings.register_profile("quick", max_examples=20)  # used by `make quick`

FOLDER_MARKERS = {"resilience": "resilience", "chaos": "chaos", "samples": "integration"}
"""The marker of every test in a folder."""

SERVER_FIXTURES = {"postgres", "postgres_url", "redis_server", "redis_url", "cluster"}
"""Fixtures that start a server. Their users are integration tests."""

SERVER_PARAMETERS = {"postgresql"}
"""Values of parameters that make a fixture start a server."""

# Shells and `nohup` let background jobs ignore these signals, and the processes of tests would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


STARTS_PROCESS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn"}
"""Events of Python's audit hooks."""

_unmarked: pytest.Item | None = None
"""The running test, if it has none of the markers that allow other processes."""


def _refuse_processes(event: str, arguments: tuple[object, ...]) -> None:
    """Fail an unmarked test that starts a process: `make quick` must not run it."""
    if _unmarked is not None and event in STARTS_PROCESS:
        pytest.fail(f"{_unmarked.nodeid} starts a process; mark it with pytest.mark.integration")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Install the check in `make quick` only.

    Coverage sets a trace function in each thread. Python 3.11 cannot do that in two threads concurrently
    while an audit hook runs.
    """
    if config.getoption("--hypothesis-profile", default=None) == "quick":
        sys.addaudithook(_refuse_processes)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Set the test that must not start processes."""
    global _unmarked
    allowed = {"integration", "resilience", "chaos"}
    _unmarked = None if allowed & {mark.name for mark in item.iter_markers()} else item
    try:
        return (yield)
    finally:
        _unmarked = None


def pytest_xdist_auto_num_workers() -> int:
    """Return one more than the number of cores: tests mostly wait for servers, workers and databases."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + 1


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Add the markers of each test's folder and fixtures, before ``-m`` deselects tests."""
    tests = Path(__file__).parent
    for item in items:
        for folder in item.path.relative_to(tests).parts[:-1]:
            if folder in FOLDER_MARKERS:
                item.add_marker(FOLDER_MARKERS[folder])
        if _needs_server(item):
            item.add_marker("integration")


def _needs_server(item: pytest.Item) -> bool:
    """Whether a fixture or a parameter of the test starts a server."""
    if SERVER_FIXTURES & set(getattr(item, "fixturenames", ())):
        return True
    callspec = getattr(item, "callspec", None)
    values = callspec.params.values() if callspec is not None else ()
    return any(
        part in SERVER_PARAMETERS
        for value in values
        for part in (value if isinstance(value, tuple) else (value,))
        if isinstance(part, str)
    )


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def broker(recorder: Recorder) -> Broker:
    return make_broker(recorder)


@pytest.fixture
def platform(broker: Broker) -> Platform:
    return Platform(make_app(broker))
