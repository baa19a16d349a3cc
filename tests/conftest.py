"""Fixtures and hooks for all tests."""

from __future__ import annotations

import os
import signal

import pytest

from brokerkit import Broker

from .support.broker import Platform, Recorder, make_app, make_broker
from .support.postgres_fixtures import postgres, postgres_url  # noqa: F401
from .support.redis_fixtures import redis_server, redis_url  # noqa: F401

pytest_plugins = ["tests.support.rules"]

# So shells and `nohup` begin what runs in the background; what tests interrupt would ignore it too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: half of what tests do is to wait for servers, workers and databases."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + 1


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def broker(recorder: Recorder) -> Broker:
    return make_broker(recorder)


@pytest.fixture
def platform(broker: Broker) -> Platform:
    return Platform(make_app(broker))
