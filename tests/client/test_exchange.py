"""What an exchange shows: all of a request and its answer but the secrets, and how to repeat it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

import msgspec
import pytest

from brokerkit.client import endpoints as asking
from brokerkit.client.client import BrokerClient, ClientError
from brokerkit.client.endpoints import APIRequest
from brokerkit.client.exchange import Exchange, login_secrets, mask_json
from brokerkit.client.platforms import Platform, cloudfoundry
from brokerkit.client.transport import Login, Transport
from brokerkit.requests import Operation

from ..support.fake_broker import FakeBroker, answer
from .conftest import client_of

PASSWORD = 'pa"ss/wörd &s3cret'
LOGIN = b64encode(f"platform:{PASSWORD}".encode()).decode()
SECRETS = [PASSWORD, LOGIN, quote(PASSWORD, safe=""), quote_plus(PASSWORD), "hunter2", "s3cret", "w\\u00f6rd"]


def exchange(**fields: Any) -> Exchange:
    usual = {"method": "GET", "url": "http://h/v2/catalog", "headers": {}}
    return Exchange(**{**usual, **fields})


def shown(each: Exchange) -> str:
    """All that an exchange shows."""
    rich = " ".join(f"{name}={value}" for name, value in each.__rich_repr__())
    return "\n".join(
        [
            str(each),
            repr(each),
            each.request_line,
            each.body_text,
            each.response_line,
            each.curl,
            *each.response_header_lines,
            rich,
        ]
    )


# Secrets

BINDINGS: dict[str, Any] = {
    "credentials": {"credentials": {"uri": "db://u:hunter2@h", "a": ["hunter2", {"b": "hunter2"}], "n": 1}},
    "a drain": {"syslog_drain_url": "https://hunter2.example.org"},
    "a route service": {"route_service_url": "https://hunter2.example.org"},
    "a mount": {"volume_mounts": [{"device": {"mount_config": {"key": "hunter2"}}}]},
    "parameters": {"parameters": {"admin_password": "hunter2", "apiKey": "hunter2", "pwd": "hunter2"}},
    "a URL": {"dashboard_url": "https://user:hunter2@dash.example.org/x"},
    "a URL with a slash in its password": {"description": "db://user:hun/hunter2@db.example.org/x"},
    "a URL with an at in its password": {"description": "db://user:a@hunter2@db.example.org/x"},
    "the password itself": {"description": f"wrong: {PASSWORD}"},
    "the password in a URL": {"description": f"https://h/?p={quote(PASSWORD, safe='')}"},
    "the password in a query": {"description": f"https://h/?p={quote_plus(PASSWORD)}"},
    "the login": {"description": f"Authorization: Basic {LOGIN}"},
}
BODIES: dict[str, bytes] = {
    **{name: msgspec.json.encode(body) for name, body in BINDINGS.items()},
    "half of a JSON object": b'{"credentials": {"uri": "hunter2", "x": {"y": "hunter2"',
    "Python": b"{'credentials': {'password': 'hunter2'}}",
    "HTML": b"<p>password: hunter2</p><p><token>hunter2</token></p>",
    "a form": b"user=u&password=hunter2&secret_key='hunter2'",
    "too deep": b'{"password": "hunter2", "a": ' + b"[" * 5000,
    "in ASCII": b'{"description": "' + PASSWORD.replace('"', '\\"').replace("ö", "\\u00f6").encode() + b'"}',
    "not UTF-8": b'\xff"password"="hunter2"',
}


@pytest.mark.parametrize("what", BODIES)
@pytest.mark.parametrize("status", [200, 201, 422, 500])
def test_response_secrets_are_masked_everywhere(what: str, status: int, fake: FakeBroker) -> None:
    """No exception, observed exchange or curl command shows a secret from a response, for any body and
    status.
    """
    seen: list[Exchange] = []
    fake.will(answer(status, BODIES[what], X_Auth_Token="hunter2", Set_Cookie="s=hunter2"))
    client = client_of(fake.url, password=PASSWORD, observe=seen.append, mitigate_for=1)
    calls: list[Callable[[], object]] = [
        client.catalog,
        lambda: client.bind("i1", "b1", "s", "p"),
        lambda: client.update("i1", "s"),
        lambda: client.wait("i1", patience=0),
    ]
    told = []
    for call in calls:
        try:
            call()
        except ClientError as error:
            told += [str(error), repr(error), repr(error.args), repr(getattr(error, "faults", ""))]
            told += [repr(getattr(error, "description", "")), repr(error.mitigation)]
    told += [shown(each) for each in seen]
    assert len(seen) >= len(calls)
    for secret in SECRETS:
        assert not any(secret in each for each in told), secret


def test_failed_operation_description_masks_secrets(fake: FakeBroker) -> None:
    fake.will(answer(200, {"state": "failed", "description": f"db://u:hunter2@h does not know {PASSWORD}"}))
    with pytest.raises(ClientError) as caught:
        client_of(fake.url, password=PASSWORD).wait("i1")
    assert "the operation failed: db://***@h does not know ***" in str(caught.value)


def test_request_secrets_are_masked(fake: FakeBroker) -> None:
    seen: list[Exchange] = []
    platform = Platform(
        headers={"X-Api-Key": "hunter2", "Cookie": "hunter2", "Proxy-Authorization": "hunter2"}
    )
    client = BrokerClient(fake.url, token="t0ken-hunter2", platform=platform, observe=seen.append)
    client.provision("t0ken-hunter2", "s", "p", parameters={"token": "hunter2", "keep": "this"})
    (each,) = seen
    assert "hunter2" not in shown(each)
    assert each.request_line.endswith("/v2/service_instances/***?accepts_incomplete=true")
    assert '"parameters":{"token":"***","keep":"this"}' in each.body_text


TEXTS_WITH_A_SECRET = {
    "a connection string": "Server=h;Password=hunter2;Database=d",
    "a query": "jdbc:postgresql://h/db?user=a&password=hunter2",
    "a token in a query": "https://h.example.org/x?sv=1&sig=hunter2&se=2",
    "a variable": "PGPASSWORD=hunter2 psql failed",
    "a variable of MySQL": "MYSQL_PWD=hunter2",
    "an option": "mysql --password=hunter2 -h db",
    "an option with a space": "mysql --password hunter2 -h db",
    "a colon": "Password: hunter2",
    "a quoted one": "no such password: 'hunter2 hunter2'",
    "a name in two words": "Access Key: hunter2",
    "a name in camel case": "adminPw=hunter2 apiKey=hunter2 sasUrl=hunter2",
    "an arrow": "'password' => 'hunter2'",
    "SQL": "ALTER ROLE r PASSWORD 'hunter2' failed",
    "SQL of MySQL": "CREATE USER u IDENTIFIED BY 'hunter2'",
    "a header": "Authorization: Bearer hunter2",
    "a bearer token": "sent Bearer hunter2hunter2",
    "a JSON Web Token": "got eyJhdunter2.eyJhunter2x.hunter2 of nobody",
    "JSON": '{"password": "hunter2", "n": 1}',
    "a list": '[{"credentials": {"a": "hunter2"}}]',
    "JSON after words": 'sent {"token": "hunter2 hunter2"}',
    "JSON, escaped": 'sent {\\"token\\": \\"hunter2 hunter2\\"}',
    "JSON in HTML": "sent {&quot;token&quot;: &quot;hunter2 hunter2&quot;}",
    "XML": "<config><db.password>hunter2 hunter2</db.password></config>",
    "XML in HTML": "&lt;password&gt;hunter2 hunter2&lt;/password&gt;",
    "an attribute": "<add key='db_password' value='hunter2'/>",
    "a name and its value": 'sent {"name": "password", "value": "hunter2"}',
    "a private key": "-----BEGIN RSA PRIVATE KEY----- hunter2 hunter2 -----END RSA PRIVATE KEY-----",
    "half of a private key": "-----BEGIN PRIVATE KEY----- hunter2 hunter2",
}


@pytest.mark.parametrize("what", TEXTS_WITH_A_SECRET)
def test_secrets_inside_text_are_masked(what: str) -> None:
    text = TEXTS_WITH_A_SECRET[what]
    plain, in_json = text.encode(), msgspec.json.encode({"description": text})
    for each in (
        exchange(status=400, response_body=plain, body=plain),
        exchange(status=400, response_body=in_json, body=in_json),
        exchange(
            status=400, response_body=msgspec.json.encode({"a": [msgspec.json.encode([text]).decode()]})
        ),
        exchange(failure=text, response_headers={"location": text, "x-y": text}),
    ):
        told = f"{shown(each)} {each.clean(text)}"
        assert "unter2" not in told
        assert "***" in told


@pytest.mark.parametrize(
    "query", ["password=hunter2", "a=1&api_key=hunter2&b=2", "x=Server%3Dh;token=hunter2", "sig=hunter2"]
)
def test_query_secrets_are_masked(query: str) -> None:
    told = shown(exchange(url=f"http://h/v2/x?{query}"))
    assert "hunter2" not in told
    assert "/v2/x?" in told


SENTENCES = [
    "the password is wrong",
    "Wrong password: it must have 8 characters, one of them a digit",
    "invalid token: expired",
    "Invalid credentials: user platform is unknown.",
    "The secret 'db' does not exist",
    "x509: certificate: signed by unknown authority",
    "certificate verify failed: Hostname mismatch, certificate is not valid for 'broker'",
    "credentials: expected `object`, got `str`",
    "services[0].dashboard_client.secret: is required",
    "use --token or --password to log in",
    "a password > 8 characters",
    "no plan token-service/small: it is gone",
    "operation rotate-password of i1 failed: no room",
    "The health check passed: all 3 nodes are up; compass: north, bypass: off",
    'Basic realm="Service Broker", charset="UTF-8"',
    "basic authentication is required",
    "primary_key: id, partition_key=day, key: k1, public_key=abc",
    "at 12:30, see https://dash.example.org:8443/bob@example.org?plan=small#top",
    "[small] is full: 3 of 3",
    "{not JSON}: x",
]


@pytest.mark.parametrize("text", SENTENCES)
def test_masking_keeps_ordinary_sentences(text: str) -> None:
    assert exchange().clean(text) == text
    document = msgspec.json.encode({"error": "InvalidToken", "description": text})
    each = exchange(
        status=400, response_body=document, response_headers={"www-authenticate": text}, body=document
    )
    assert each.response_line == f"400 {document.decode()}"
    assert each.response_header_lines == (f"www-authenticate: {text}",)
    assert shlex.split(each.curl)[-2] == document.decode()
    assert exchange(status=400, response_body=text.encode()).response_line == f"400 {text}"


@pytest.mark.parametrize(
    "names",
    [
        "password adminPassword db_password passwd passphrase pass PGPASSWORD pwd userpwd pw adminPw DB_PW",
        "secret clientSecret token accessToken token_url jwt bearer sas sasUrl sig signature cookie",
        "authorization credentials privateKey private-key",
        "apiKey api_key API-KEY access_key secretAccessKey SharedAccessKey accountKey ssh_key encryption_key",
        "encryptionKey signing_key client_key license_key masterKey",
        "connectionString connection_string conn_str dsn dbDsn cert tls_cert clientcert clientCert pem",
    ],
    ids=lambda names: names.partition(" ")[0],
)
def test_masking_covers_secret_field_names(names: str) -> None:
    for name in names.split():
        assert mask_json({name: "hunter2", "a": [{name: ["hunter2", 1]}]}) == {
            name: "***",
            "a": [{name: ["***", "***"]}],
        }
        listed: dict[str, object] = {"name": name, "value": "hunter2"}
        assert mask_json([listed]) == [{"name": name, "value": "***"}]
        assert "hunter2" not in shown(exchange(response_headers={f"x-{name}": "hunter2"}))


@pytest.mark.parametrize(
    "names",
    [
        "id service_id plan_id instance_id binding_id app_guid organization_guid predecessor_binding_id",
        "name description state operation error status instance_usable dashboard_url uri hostname port",
        "key primary_key partition_key sort_key public_key ssh_public_key monkey keyspace keys",
        "author authorized design signal disaster_recovery compass bypass_cache passed pages concert",
    ],
    ids=lambda names: names.partition(" ")[0],
)
def test_masking_ignores_other_field_names(names: str) -> None:
    for name in names.split():
        value = {name: "shown", "name": name, "value": "shown"}
        assert mask_json(value) == value
        assert exchange(response_headers={name: "shown"}).response_header_lines == (f"{name}: shown",)


def test_masking_keeps_catalog_names_about_secrets() -> None:
    """Catalog texts that mention passwords or tokens are not masked."""
    offering = {
        "id": "secrets-id",
        "name": "password-manager",
        "tags": ["secret", "token"],
        "description": "Keeps passwords, tokens and secrets",
        "plans": [{"id": "token-small", "name": "private", "metadata": {"bullets": ["Password rotation"]}}],
    }
    assert mask_json(offering) == offering


WRONG_LOGINS = {
    "one of its own": ("Basic " + b64encode(b"other:password").decode(), True),
    "ours with more": ("Basic " + b64encode(f"platform:{PASSWORD}x".encode()).decode(), False),
    "ours with less in front": ("Basic " + b64encode(f"x:{PASSWORD}".encode()).decode(), False),
    "no Base64 at all": ("Basic ???", True),
    "no UTF-8": ("Basic " + b64encode(b"other:\xff").decode(), True),
    "ours with what is no UTF-8": (
        "Basic " + b64encode(f"platform:{PASSWORD}".encode() + b"\xff").decode(),
        False,
    ),
    "another token": ("Bearer abc", True),
    "no scheme": ("abc", True),
    "empty": ("", True),
}


@pytest.mark.parametrize("what", WRONG_LOGINS)
def test_foreign_credentials_shown_unless_matching_ours(what: str) -> None:
    """A wrong Authorization header stays visible in the curl command unless it contains the client's own
    secret.
    """
    value, is_shown = WRONG_LOGINS[what]
    secrets = login_secrets("platform", PASSWORD, None)
    curl = exchange(headers={"Authorization": value}, secrets=secrets).curl
    assert "BROKER_PASSWORD" not in curl
    assert (value.split()[-1] in curl if value else "'Authorization;'" in curl) is is_shown
    assert is_shown or "***" in curl


def test_exchange_shows_non_secret_values() -> None:
    each = exchange(
        method="PUT",
        url="https://h:8443/v2/x?accepts_incomplete=true",
        body=b'{"parameters": {"size": 3}}',
        status=201,
        response_body=b'{"dashboard_url": "https://dash.example.org:8443/bob@example.org", "a": [null, 1.5]}',
        response_headers={"content-type": "application/json", "set-cookie": "a=b"},
    )
    assert each.request_line == "PUT /v2/x?accepts_incomplete=true"
    assert each.body_text == '{"parameters":{"size":3}}'
    assert each.response_line == (
        '201 {"dashboard_url":"https://dash.example.org:8443/bob@example.org","a":[null,1.5]}'
    )
    assert each.response_header_lines == ("content-type: application/json", "set-cookie: ***")
    assert str(each) == f"{each.request_line} {each.body_text}\n→ {each.response_line}"


def test_login_without_password_has_no_secrets() -> None:
    assert login_secrets("platform", "", None) == ()
    assert login_secrets(None, None, None) == ()
    assert login_secrets(None, None, "t") == ("t",)


def test_masking_keeps_null_and_boolean_values() -> None:
    assert mask_json({"password": None, "tokens": [True, 1, "x"], "free": False}) == {
        "password": None,
        "tokens": [True, "***", "***"],
        "free": False,
    }


# What is shown of what is long, odd or nothing


def test_long_response_is_truncated() -> None:
    each = exchange(status=200, response_body=b'"' + b"x" * 100_000 + b'"')
    assert len(each.response_line) < 2100
    assert each.response_line.endswith("… (100,002 bytes)")


def test_response_control_characters_are_escaped() -> None:
    each = exchange(status=200, response_body=b"\x1b[2J\x07 a\r\nb \xff \xe2\x80\xae", method="GET")
    assert each.response_line == "200 \\x1b[2J\\x07 a b \\xff \\u202e"
    assert each.response_line.isprintable()


def test_empty_exchange_is_rendered_compactly() -> None:
    """An exchange without a body or a response renders as the status code or "no answer"."""
    each = exchange(status=200)
    assert (each.response_line, each.body_text, each.document, each.error_code) == ("200", "", None, None)
    assert exchange().response_line == "no response: unknown cause"
    assert exchange(url="HTTPS://h").request_line == "GET /"


def test_unusable_response_shows_the_reason() -> None:
    each = exchange(status=200, failure="the body is too long", response_body=b"abc")
    assert each.response_line == "200 (the body is too long) abc"


def test_exchange_exposes_response_fields() -> None:
    """The properties return strings, and None for absent or mistyped fields."""
    body = {"error": "E", "description": "D", "operation": "O", "state": "S"}
    each = exchange(status=200, response_body=msgspec.json.encode(body))
    assert (each.error_code, each.description, each.operation, each.state) == ("E", "D", "O", "S")
    other = exchange(
        status=200, response_body=msgspec.json.encode({"error": 1, "description": "", "state": None})
    )
    assert (other.error_code, other.description, other.operation, other.state) == (None, None, None, None)


# curl

ASKS: dict[str, tuple[APIRequest, dict[str, str | None]]] = {
    "a catalog": (asking.catalog(), {}),
    "a provision": (
        asking.provision(
            "a/b c", can_poll=True, service_id="s", plan_id="p", parameters={"a": "it's \\ $HOME `x` é"}
        ),
        {},
    ),
    "an update": (asking.update("i1", can_poll=False, service_id="s"), {}),
    "a delete": (asking.delete("i1", "b1", service_id="s&x", plan_id="p", can_poll=True), {}),
    "a body with spaces": (APIRequest(Operation.UPDATE, "PATCH", "/v2/x", body=b'{ "a" :\n\t1 }'), {}),
    "a body that is no JSON": (
        APIRequest(Operation.UPDATE, "PATCH", "/v2/x", body=b"@{'\\a\x1b[2J\n\xff\xc3\xa9"),
        {},
    ),
    "an empty body": (APIRequest(Operation.UPDATE, "PATCH", "/v2/x", body=b""), {}),
    "a body without a type": (
        APIRequest(Operation.UPDATE, "PATCH", "/v2/x", body=b"{}"),
        {"Content-Type": None},
    ),
    "an empty header": (asking.catalog(), {"X-Broker-API-Request-Identity": "", "X-Odd": "a'b\"c"}),
    "no login": (asking.catalog(), {"Authorization": None}),
    "another login": (asking.catalog(), {"Authorization": "Basic " + b64encode(b"u:v").decode()}),
    "sentences": (
        asking.update(
            "i1",
            can_poll=True,
            service_id="password-manager",
            parameters={"told": SENTENCES, "key": 1, "inner": '{ "a" : [1.0, "é"] }'},
        ),
        {"X-Told": "Wrong password: it must have 8 characters"},
    ),
    "a form": (APIRequest(Operation.UPDATE, "PATCH", "/v2/x", body=b"key=1&user=a%3Db&primary_key=2"), {}),
    "a poll": (
        asking.poll("i1", None, operation="rotate-token/1?a=b&c", service_id="token-db", plan_id="secret"),
        {},
    ),
}


def compared(fake: FakeBroker) -> list[tuple[Any, ...]]:
    ours = {"user-agent", "accept", "accept-encoding", "connection", "content-length"}
    return [
        (
            asked.method,
            asked.target,
            asked.body,
            {name.lower(): value for name, value in asked.headers.items() if name.lower() not in ours},
        )
        for asked in fake.asked
    ]


@pytest.mark.integration
@pytest.mark.skipif(not shutil.which("curl") or not shutil.which("bash"), reason="needs curl and bash")
@pytest.mark.parametrize("what", ASKS)
@pytest.mark.parametrize(
    "login", [Login("platform", PASSWORD), Login(token="t0ken"), Login()], ids=["basic", "token", "none"]
)
def test_curl_command_repeats_the_request(what: str, login: Login, fake: FakeBroker) -> None:
    """Running the curl command sends the same request, for each login and operation."""
    ask, headers = ASKS[what]
    usual = {
        "X-Broker-API-Version": "2.17",
        "X-Broker-API-Originating-Identity": cloudfoundry().originating_identity,
    }
    sent = Transport(fake.url, login).send(ask, {**usual, **headers})
    environment = {
        "PATH": os.environ["PATH"],
        "BROKER_USERNAME": "platform",
        "BROKER_PASSWORD": PASSWORD,
        "BROKER_TOKEN": "t0ken",
        "NO_PROXY": "*",
    }
    assert sent.curl.isprintable()
    done = subprocess.run(["bash", "-c", sent.curl], capture_output=True, env=environment, check=True)
    assert done.stdout.startswith(b"HTTP/1.1 200")
    first, second = compared(fake)
    assert second == first


@pytest.mark.parametrize(
    ("verify", "option"), [(True, []), (False, ["-k"]), ("/etc/a b.pem", ["--cacert", "/etc/a b.pem"])]
)
def test_curl_command_uses_same_certificate_verification(verify: bool | str, option: list[str]) -> None:
    words = shlex.split(exchange(verify=verify).curl)
    assert words == ["curl", "-i", "-X", "GET", *option, "http://h/v2/catalog"]


def test_curl_command_replaces_secrets_by_variables() -> None:
    """The curl command reads the login from environment variables and masks secret parameters."""
    secrets = login_secrets("platform", PASSWORD, None)
    each = exchange(
        method="PUT",
        headers={"Authorization": f"Basic {LOGIN}", "Content-Type": "application/json"},
        body=b'{"parameters": {"password": "hunter2", "size": 3}}',
        secrets=secrets,
    )
    words = shlex.split(each.curl)
    assert words[words.index("-u") + 1] == "$BROKER_USERNAME:$BROKER_PASSWORD"
    assert words[words.index("--data-raw") + 1] == '{"parameters":{"password":"***","size":3}}'
