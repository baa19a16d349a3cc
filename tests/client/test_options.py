"""Tests of the options of a client and of its optional dependencies."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

from brokerkit.client import transport as transport_module
from brokerkit.client.client import BrokerClient

URLS = [
    "",
    "127.0.0.1:8080",
    "ftp://127.0.0.1",
    "http://",
    "http://h:port",
    "http://h:99999",
    "http://h:0",
    "http://[::1",
    "http://h/?a=1",
    "http://h/#x",
]


@pytest.mark.parametrize("url", URLS)
def test_invalid_url_is_rejected(url: str) -> None:
    with pytest.raises(
        ValueError, match=r"is not the URL of a broker; give one such as http://127\.0\.0\.1:8080"
    ):
        BrokerClient(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://platform:s3cret@h",
        "http://platform@h",
        "ftp://platform:s3cret@h",
        "platform:s3cret@h",
        "http://platform:s3cret@h:port",
        "http://platform:s3/cret@[h",
    ],
)
def test_credentials_in_url_are_rejected_and_hidden(url: str) -> None:
    with pytest.raises(ValueError, match=r"login|not the URL") as caught:
        BrokerClient(url)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"username": "u"}, "give both a username and a password"),
        ({"password": "p"}, "give both a username and a password"),
        ({"username": "u", "password": "p", "token": "t"}, "not both"),
        ({"username": "u:v", "password": "p"}, "the username contains a colon"),
        ({"token": ""}, "the token is empty"),
        ({"token": "a\r\nX-Evil: 1"}, "characters that a header cannot hold"),
        ({"timeout": 0}, "timeout=0 is invalid"),
        ({"timeout": float("nan")}, "is invalid"),
        ({"verify": "/nowhere.pem"}, "the file does not exist"),
    ],
)
def test_invalid_client_options_are_rejected(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BrokerClient("http://127.0.0.1:8080", **options)  # type: ignore[arg-type]


# Optional dependencies


@pytest.mark.integration
def test_missing_requests_names_the_install_command() -> None:
    code = "import sys; sys.modules['requests'] = None; import brokerkit.client.client"
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    message = "the client needs the package requests: pip install 'osb-brokerkit[check]'"
    assert completed.returncode == 1
    assert completed.stderr.splitlines()[-1] == f"ModuleNotFoundError: {message}"


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location(
        "brokerkit.client.transport_copy", transport_module.__file__
    )
    assert spec is not None
    assert spec.loader is not None
    monkeypatch.setitem(sys.modules, "urllib3.connection", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"needs the package urllib3\.connection: pip install 'osb-brokerkit"
    ):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


@pytest.mark.integration
def test_brokerkit_imports_without_requests() -> None:
    code = "import sys, brokerkit; print(sorted({'requests', 'urllib3'} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    completed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert completed.stdout.strip() == "[]"
