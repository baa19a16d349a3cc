"""Tests of the options for the connection, the login and the parameters."""

from __future__ import annotations

import base64
import datetime
import ssl
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ..support.fake_broker import FakeBroker, close_connection, respond, serve_fake
from .conftest import CommandRunner, catalog_response

pytestmark = pytest.mark.integration

BASIC = "Basic " + base64.b64encode(b"platform:s3cret").decode()


@pytest.mark.parametrize(
    ("environ", "typed", "sent"),
    [
        ({}, [], BASIC),
        ({"BROKER_USERNAME": None, "BROKER_PASSWORD": None}, [], None),
        ({"BROKER_USERNAME": None, "BROKER_PASSWORD": None, "BROKER_TOKEN": "t"}, [], "Bearer t"),
        ({}, ["--token", "t"], "Bearer t"),
        ({"BROKER_TOKEN": "t"}, ["--username", "platform"], BASIC),
        ({"BROKER_TOKEN": "t"}, ["--username", "platform", "--password", "s3cret"], BASIC),
    ],
)
def test_typed_credentials_override_environment(
    fake: FakeBroker,
    runner: CommandRunner,
    environ: dict[str, str | None],
    typed: list[str],
    sent: str | None,
) -> None:
    fake.script(catalog_response())
    runner.env |= environ
    runner.run("catalog", *typed)
    assert fake.requests[0].headers.get("Authorization") == sent


def test_missing_password_is_prompted_for(
    fake: FakeBroker, runner: CommandRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a terminal, a missing password is a usage error."""
    fake.script(catalog_response())
    runner.env["BROKER_PASSWORD"] = None
    assert "the username needs a password" in runner.run("catalog", code=2).stderr
    monkeypatch.setattr("brokerkit.cli.login.can_prompt", lambda: True)
    result = runner.run("catalog", typing="s3cret\n")
    assert "Password of platform" in result.stderr
    assert fake.requests[0].headers["Authorization"] == BASIC


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["--token", "t", "--username", "u"], "not both"),
        (["--url", "127.0.0.1"], "is not the URL of a broker"),
        (["--timeout", "0"], "--timeout"),
        (["--platform", "nix"], "--platform"),
        (["--ca-file", __file__, "--insecure"], "give --insecure or --ca-file, not both"),
        (["--ca-file", "nowhere.pem"], "--ca-file"),
    ],
)
def test_conflicting_options_are_usage_errors(
    runner: CommandRunner, command: list[str], message: str
) -> None:
    assert message in runner.error("catalog", *command, code=2)


def test_broker_url_is_required(runner: CommandRunner) -> None:
    runner.env["BROKER_URL"] = None
    assert "BROKER_URL" in runner.error("catalog", code=2)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A file with a key and a self-signed certificate for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    file = tmp_path / "broker.pem"
    file.write_bytes(key.private_bytes(pem, *plain) + certificate.public_bytes(pem))
    return file


def test_certificates_are_verified_unless_disabled(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serve_fake(context) as fake:
        runner = CommandRunner(fake.url)
        fake.script(catalog_response())
        assert "TLS failed" in runner.error("catalog")
        assert "By post" in runner.output("catalog", "--insecure")
        assert "By post" in runner.output("catalog", "--ca-file", str(certificate))


def test_timeout_option_limits_the_request(fake: FakeBroker, runner: CommandRunner) -> None:
    fake.script(close_connection)
    assert "no response" in runner.error("catalog", "--timeout", "0.2")


# Parameters


def sent(fake: FakeBroker, runner: CommandRunner, *typed: str, typing: str | None = None) -> Any:
    fake.script(catalog_response(), respond(201))
    runner.run("provision", "mail", "post", *typed, typing=typing)
    return fake.requests[-1].json.get("parameters")


@pytest.mark.parametrize(
    ("typed", "parameters"),
    [
        ([], None),
        (["-c", "{}"], {}),
        (["-p", "size=3", "-p", "name=x", "-p", "on=true"], {"size": 3, "name": "x", "on": True}),
        (["-p", "a=", "-p", "b=x=y", "-p", "c=[1"], {"a": "", "b": "x=y", "c": "[1"}),
        (["-p", 'a="3"', "-p", "b=null"], {"a": "3", "b": None}),
        (["-p", "disk.size=3", "-p", "disk.kind=ssd"], {"disk": {"size": 3, "kind": "ssd"}}),
        (["-c", '{"a": 1, "disk": {"size": 1}}', "-p", "disk.size=3"], {"a": 1, "disk": {"size": 3}}),
    ],
)
def test_parameter_options_parse_json_or_text(
    fake: FakeBroker, runner: CommandRunner, typed: list[str], parameters: Any
) -> None:
    """A `-p` value is parsed as JSON and is text otherwise. Dotted names make nested objects."""
    assert sent(fake, runner, *typed) == parameters


def test_parameters_can_come_from_file_or_stdin(
    fake: FakeBroker, runner: CommandRunner, tmp_path: Path
) -> None:
    (tmp_path / "parameters.json").write_text('{"size": 3}')
    assert sent(fake, runner, "-c", f"@{tmp_path / 'parameters.json'}", "-p", "b=1") == {"size": 3, "b": 1}
    assert sent(fake, runner, "-c", "@-", typing='{"size": 4}') == {"size": 4}


@pytest.mark.parametrize(
    "typed",
    [
        ["-p", "hush"],
        ["-p", "=hush"],
        ["-p", "a..b=hush"],
        ["-p", "a=1", "-p", "a.b=hush"],
        ["-c", "hush"],
        ["-c", '["hush"]'],
        ["-c", '{"a": hush}'],
        ["-c", "@/nowhere/at/all"],
        ["-c", "@/"],
    ],
)
def test_invalid_parameters_error_hides_values(
    fake: FakeBroker, runner: CommandRunner, typed: list[str]
) -> None:
    message = runner.error("provision", "mail", "post", *typed, code=2)
    assert "Invalid value for -" in message
    assert "hush" not in message
    assert fake.requests == []


@pytest.mark.parametrize(
    "command",
    [
        ("update", "orders"),
        ("provision", "mail", "post", ".."),
        ("provision", "mail", "post", "--id", ""),
        ("bind", "orders", "--id", "."),
        ("unbind", "orders", "."),
    ],
)
def test_unsendable_command_is_a_usage_error(
    fake: FakeBroker, orders: CommandRunner, command: tuple[str, ...]
) -> None:
    """A command with an invalid id or without a change sends nothing and leaves the state file unchanged."""
    fake.script(catalog_response())
    before = orders.instances
    orders.error(*command, code=2)
    assert {request.method for request in fake.requests} <= {"GET"}
    assert orders.instances == before
