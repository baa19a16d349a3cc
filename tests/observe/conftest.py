"""Fixtures and helpers for tests of subscribers: a store, and a platform that names its user."""

from __future__ import annotations

import base64
import http.client
import json
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from ..support.broker import basic
from ..support.stateful import serve  # noqa: F401

TRACE_ID = "80f198ee56343ba864fe8b2a57d3eff7"
SECRET_OF_A_USER = "user-s3cret"
_IDENTITY = {"user_id": "683ea748", "extra": {"token": SECRET_OF_A_USER}}
HEADERS = {
    "B3": f"{TRACE_ID}-e457b5a2e4d86bd1-1",
    "X-Broker-API-Originating-Identity": "cloudfoundry "
    + base64.b64encode(json.dumps(_IDENTITY).encode()).decode(),
    "X-Broker-API-Request-Identity": "e26cee84",
    "X-Vcap-Request-Id": "vcap-1",
}
"""The headers that Cloud Foundry sends in addition to the required ones."""

WHO = {
    "username": "platform",
    "platform": "cloudfoundry",
    "platform_user": "683ea748",
    "request_identity": "e26cee84",
    "correlation_id": "vcap-1",
    "trace_id": TRACE_ID,
}
"""The fields of a log record for a request with these headers."""


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    """The URL of an empty database, for `serve`; subscribers do not depend on its kind."""
    return f"sqlite:///{tmp_path / 'broker.db'}"


class Answered(NamedTuple):
    """A response over HTTP."""

    status: int
    body: Any


def ask(url: str, method: str, path: str, body: object = None, **headers: str) -> Answered:
    """Send a request to a served broker, as its platform."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    default_headers = {
        "Authorization": basic("platform", "s3cret"),
        "X-Broker-API-Version": "2.17",
        "Content-Type": "application/json",
    }
    try:
        connection.request(
            method, path, None if body is None else json.dumps(body), headers={**default_headers, **headers}
        )
        response = connection.getresponse()
        return Answered(response.status, json.loads(response.read()))
    finally:
        connection.close()
