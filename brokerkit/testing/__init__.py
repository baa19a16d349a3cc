"""Pytest fixtures and helpers for tests of service brokers, whether or not they use brokerkit.

Pytest finds these fixtures by itself if brokerkit is installed:

- `broker_app`: the app under test. Override it in ``conftest.py``.
- `broker_client`: a :class:`~brokerkit.client.client.BrokerClient` for the app, over a real port.
- `broker_work`: a :class:`StepByStep` that runs the broker's background work on request.
- `check_broker`: a :class:`CheckBroker` that checks a broker against the API, with a subtest for each rule.
- `broker_url`, `broker_login`, `broker_platform`: the address, the credentials and the platform. Override
  those whose defaults do not fit.

:func:`serve` and :func:`step_by_step` do the same without pytest.
"""

from __future__ import annotations

from .._internal.facade import set_home
from ..client.platforms import Platform, cloudfoundry, korifi, kubernetes
from .live_server import serve
from .step_executor import NothingDue, Step, StepByStep, StillRunning, step_by_step
from .types import CheckBroker, Login

__all__ = [
    "CheckBroker",
    "Login",
    "NothingDue",
    "Platform",
    "Step",
    "StepByStep",
    "StillRunning",
    "cloudfoundry",
    "korifi",
    "kubernetes",
    "serve",
    "step_by_step",
]

set_home(__name__, NothingDue, StillRunning)
