"""For tests of service brokers: those written with brokerkit, and any other.

Pytest finds these fixtures by itself wherever brokerkit is installed:

- `broker_app`: the app under test; override it, in ``conftest.py``.
- `broker_client`: a :class:`~brokerkit.client.client.BrokerClient` on it, over a real port.
- `broker_work`: a :class:`StepByStep`, which does the broker's background work when it is told to.
- `check_broker`: a :class:`CheckBroker`, which checks a broker against the API, each rule as a subtest.
- `broker_url`, `broker_login`, `broker_platform`: where and as whom; override what is not so.

:func:`serve` and :func:`step_by_step` are the same without pytest.
"""

from __future__ import annotations

from .._internal.public import set_home
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
