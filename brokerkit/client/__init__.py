"""A client for service brokers: the platform's side of the API.

::

    from brokerkit.client import BrokerClient, cloudfoundry

    client = BrokerClient("https://broker.example.com", username="platform", password="...",
                          platform=cloudfoundry())
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._internal.facade import lazy, set_home
from .._internal.redaction import mask_json
from .errors import (
    WORDS_OF_422,
    BrokerMistake,
    BrokerRefused,
    BrokerUnreachable,
    ClientError,
    Mitigation,
    OperationFailed,
    PollingTimeout,
)
from .exchange import Exchange, login_secrets
from .orphan_mitigation import leaves_an_orphan
from .platforms import PLATFORMS, Platform, cloudfoundry, korifi, kubernetes
from .session import PATIENCE, POLL_EVERY

if TYPE_CHECKING:
    from .client import MOST_POLLING, BrokerClient

__all__ = [
    "MOST_POLLING",
    "PATIENCE",
    "PLATFORMS",
    "POLL_EVERY",
    "WORDS_OF_422",
    "BrokerClient",
    "BrokerMistake",
    "BrokerRefused",
    "BrokerUnreachable",
    "ClientError",
    "Exchange",
    "Mitigation",
    "OperationFailed",
    "Platform",
    "PollingTimeout",
    "cloudfoundry",
    "korifi",
    "kubernetes",
    "leaves_an_orphan",
    "login_secrets",
    "mask_json",
]

__getattr__ = lazy(__name__, {"BrokerClient": ".client", "MOST_POLLING": ".client"})

set_home(
    __name__,
    ClientError,
    BrokerUnreachable,
    BrokerRefused,
    BrokerMistake,
    OperationFailed,
    PollingTimeout,
)
