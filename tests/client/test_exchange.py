"""Tests of an exchange: it shows a request and its response without secrets, and a curl command."""

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

from brokerkit.client import endpoints
from brokerkit.client.client import ClientError
from brokerkit.client.endpoints import APIRequest
from brokerkit.client.exchange import Exchange, login_secrets, mask_json
from brokerkit.client.platforms import Platform, cloudfoundry
from brokerkit.client.transport import Login, Transport
from brokerkit.requests import Operation

from ..support.fake_broker import FakeBroker, respond
from .conftest import make_client

PASSWORD = 'pa"ss/wörd &s3cret'
LOGIN = b64encode(f"platform:{PASSWORD}".encode()).decode()
SECRETS = [PASSWORD, LOGIN, quote(PASSWORD, safe=""), quote_plus(PASSWORD), "hunter2", "s3cret", "w\\u00f6rd"]


def make_exchange(**fields: Any) -> Exchange:
    """Create an exchange; `fields` override the defaults."""
    defaults = {"method": "GET", "url": "http://h/v2/catalog", "headers": {}}
    return Exchange(**{**defaults, **fields})


def rendered(exchange: Exchange) -> str:
    """Return all texts of an exchange."""
    rich = " ".join(f"{name}={value}" for name, value in exchange.__rich_repr__())
    return "\n".join(
        [
            str(exchange),
            repr(exchange),
            exchange.request_line,
            exchange.body_text,
            exchange.response_line,
            exchange.curl,
            *exchange.response_header_lines,
            rich,
        ]
    )


# Secrets

BINDINGS: dict[str, Any] = {
    "credentials": {"credentials": {"uri": "db://u:hunter2@h", "a": ["hunter2", {"b": "hunter2"}], "n": 1}},
    "drain": {"syslog_drain_url": "https://hunter2.example.org"},
    "route service": {"route_service_url": "https://hunter2.example.org"},
    "mount": {"volume_mounts": [{"device": {"mount_config": {"key": "hunter2"}}}]},
    "parameters": {"parameters": {"admin_password": "hunter2", "apiKey": "hunter2", "pwd": "hunter2"}},
    "URL": {"dashboard_url": "https://user:hunter2@dash.example.org/x"},
    "URL with a slash in its password": {"description": "db://user:hun/hunter2@db.example.org/x"},
    "URL with an at in its password": {"description": "db://user:a@hunter2@db.example.org/x"},
    "password itself": {"description": f"wrong: {PASSWORD}"},
    "password in a URL": {"description": f"https://h/?p={quote(PASSWORD, safe='')}"},
    "password in a query": {"description": f"https://h/?p={quote_plus(PASSWORD)}"},
    "login": {"description": f"Authorization: Basic {LOGIN}"},
}
BODIES: dict[str, bytes] = {
    **{name: msgspec.json.encode(body) for name, body in BINDINGS.items()},
    "truncated JSON object": b'{"credentials": {"uri": "hunter2", "x": {"y": "hunter2"',
    "Python": b"{'credentials': {'password': 'hunter2'}}",
    "HTML": b"<p>password: hunter2</p><p><token>hunter2</token></p>",
    "form": b"user=u&password=hunter2&secret_key='hunter2'",
    "deeply nested JSON": b'{"password": "hunter2", "a": ' + b"[" * 5000,
    "ASCII": b'{"description": "' + PASSWORD.replace('"', '\\"').replace("ö", "\\u00f6").encode() + b'"}',
    "not UTF-8": b'\xff"password"="hunter2"',
}


@pytest.mark.parametrize("case", BODIES)
@pytest.mark.parametrize("status", [200, 201, 422, 500])
def test_response_secrets_are_masked_everywhere(case: str, status: int, fake: FakeBroker) -> None:
    """No exception, observed exchange or curl command shows a secret from a response, for any body and
    status.
    """
    seen: list[Exchange] = []
    fake.script(respond(status, BODIES[case], X_Auth_Token="hunter2", Set_Cookie="s=hunter2"))
    client = make_client(fake, password=PASSWORD, observe=seen.append, mitigate_for=1)
    calls: list[Callable[[], object]] = [
        client.catalog,
        lambda: client.bind("i1", "b1", "s", "p"),
        lambda: client.update("i1", "s"),
        lambda: client.wait("i1", patience=0),
    ]
    texts = []
    for call in calls:
        try:
            call()
        except ClientError as error:
            texts += [str(error), repr(error), repr(error.args), repr(getattr(error, "faults", ""))]
            texts += [repr(getattr(error, "description", "")), repr(error.mitigation)]
    texts += [rendered(exchange) for exchange in seen]
    assert len(seen) >= len(calls)
    for secret in SECRETS:
        assert not any(secret in text for text in texts), secret


def test_failed_operation_description_masks_secrets(fake: FakeBroker) -> None:
    fake.script(
        respond(200, {"state": "failed", "description": f"db://u:hunter2@h does not know {PASSWORD}"})
    )
    with pytest.raises(ClientError) as caught:
        make_client(fake, password=PASSWORD).wait("i1")
    assert "the operation failed: db://***@h does not know ***" in str(caught.value)


def test_request_secrets_are_masked(fake: FakeBroker) -> None:
    seen: list[Exchange] = []
    platform = Platform(
        headers={"X-Api-Key": "hunter2", "Cookie": "hunter2", "Proxy-Authorization": "hunter2"}
    )
    client = make_client(
        fake, username=None, password=None, token="t0ken-hunter2", platform=platform, observe=seen.append
    )
    client.provision("t0ken-hunter2", "s", "p", parameters={"token": "hunter2", "keep": "this"})
    (exchange,) = seen
    assert "hunter2" not in rendered(exchange)
    assert exchange.request_line.endswith("/v2/service_instances/***?accepts_incomplete=true")
    assert '"parameters":{"token":"***","keep":"this"}' in exchange.body_text


TEXTS_WITH_A_SECRET = {
    "connection string": "Server=h;Password=hunter2;Database=d",
    "query": "jdbc:postgresql://h/db?user=a&password=hunter2",
    "token in a query": "https://h.example.org/x?sv=1&sig=hunter2&se=2",
    "variable": "PGPASSWORD=hunter2 psql failed",
    "variable of MySQL": "MYSQL_PWD=hunter2",
    "option": "mysql --password=hunter2 -h db",
    "option with a space": "mysql --password hunter2 -h db",
    "colon": "Password: hunter2",
    "quoted value": "no such password: 'hunter2 hunter2'",
    "name of two words": "Access Key: hunter2",
    "name in camel case": "adminPw=hunter2 apiKey=hunter2 sasUrl=hunter2",
    "arrow": "'password' => 'hunter2'",
    "SQL": "ALTER ROLE r PASSWORD 'hunter2' failed",
    "SQL of MySQL": "CREATE USER u IDENTIFIED BY 'hunter2'",
    "header": "Authorization: Bearer hunter2",
    "bearer token": "sent Bearer hunter2hunter2",
    "JSON Web Token": "got eyJhdunter2.eyJhunter2x.hunter2 of no user",
    "JSON": '{"password": "hunter2", "n": 1}',
    "list": '[{"credentials": {"a": "hunter2"}}]',
    "JSON after words": 'sent {"token": "hunter2 hunter2"}',
    "JSON, escaped": 'sent {\\"token\\": \\"hunter2 hunter2\\"}',
    "JSON in HTML": "sent {&quot;token&quot;: &quot;hunter2 hunter2&quot;}",
    "XML": "<config><db.password>hunter2 hunter2</db.password></config>",
    "XML in HTML": "&lt;password&gt;hunter2 hunter2&lt;/password&gt;",
    "attribute": "<add key='db_password' value='hunter2'/>",
    "name and its value": 'sent {"name": "password", "value": "hunter2"}',
    "private key": "-----BEGIN RSA PRIVATE KEY----- hunter2 hunter2 -----END RSA PRIVATE KEY-----",
    "truncated private key": "-----BEGIN PRIVATE KEY----- hunter2 hunter2",
}


@pytest.mark.parametrize("case", TEXTS_WITH_A_SECRET)
def test_secrets_inside_text_are_masked(case: str) -> None:
    text = TEXTS_WITH_A_SECRET[case]
    plain, in_json = text.encode(), msgspec.json.encode({"description": text})
    for exchange in (
        make_exchange(status=400, response_body=plain, body=plain),
        make_exchange(status=400, response_body=in_json, body=in_json),
        make_exchange(
            status=400, response_body=msgspec.json.encode({"a": [msgspec.json.encode([text]).decode()]})
        ),
        make_exchange(failure=text, response_headers={"location": text, "x-y": text}),
    ):
        shown = f"{rendered(exchange)} {exchange.clean(text)}"
        assert "unter2" not in shown
        assert "***" in shown


@pytest.mark.parametrize(
    "query", ["password=hunter2", "a=1&api_key=hunter2&b=2", "x=Server%3Dh;token=hunter2", "sig=hunter2"]
)
def test_query_secrets_are_masked(query: str) -> None:
    shown = rendered(make_exchange(url=f"http://h/v2/x?{query}"))
    assert "hunter2" not in shown
    assert "/v2/x?" in shown


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
    assert make_exchange().clean(text) == text
    document = msgspec.json.encode({"error": "InvalidToken", "description": text})
    exchange = make_exchange(
        status=400, response_body=document, response_headers={"www-authenticate": text}, body=document
    )
    assert exchange.response_line == f"400 {document.decode()}"
    assert exchange.response_header_lines == (f"www-authenticate: {text}",)
    assert shlex.split(exchange.curl)[-2] == document.decode()
    assert make_exchange(status=400, response_body=text.encode()).response_line == f"400 {text}"


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
        field: dict[str, object] = {"name": name, "value": "hunter2"}
        assert mask_json([field]) == [{"name": name, "value": "***"}]
        assert "hunter2" not in rendered(make_exchange(response_headers={f"x-{name}": "hunter2"}))


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
        assert make_exchange(response_headers={name: "shown"}).response_header_lines == (f"{name}: shown",)


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


AUTHORIZATION_HEADERS = {
    "another login": ("Basic " + b64encode(b"other:password").decode(), True),
    "client's login with a suffix": (
        "Basic " + b64encode(f"platform:{PASSWORD}x".encode()).decode(),
        False,
    ),
    "client's password of another user": ("Basic " + b64encode(f"x:{PASSWORD}".encode()).decode(), False),
    "not Base64": ("Basic ???", True),
    "not UTF-8": ("Basic " + b64encode(b"other:\xff").decode(), True),
    "client's login with invalid UTF-8": (
        "Basic " + b64encode(f"platform:{PASSWORD}".encode() + b"\xff").decode(),
        False,
    ),
    "another token": ("Bearer abc", True),
    "no scheme": ("abc", True),
    "empty": ("", True),
}


@pytest.mark.parametrize("case", AUTHORIZATION_HEADERS)
def test_foreign_credentials_shown_unless_matching_ours(case: str) -> None:
    """A wrong Authorization header stays visible in the curl command unless it contains the client's own
    secret.
    """
    value, is_shown = AUTHORIZATION_HEADERS[case]
    secrets = login_secrets("platform", PASSWORD, None)
    curl = make_exchange(headers={"Authorization": value}, secrets=secrets).curl
    assert "BROKER_PASSWORD" not in curl
    assert (value.split()[-1] in curl if value else "'Authorization;'" in curl) is is_shown
    assert is_shown or "***" in curl


def test_exchange_shows_non_secret_values() -> None:
    exchange = make_exchange(
        method="PUT",
        url="https://h:8443/v2/x?accepts_incomplete=true",
        body=b'{"parameters": {"size": 3}}',
        status=201,
        response_body=b'{"dashboard_url": "https://dash.example.org:8443/bob@example.org", "a": [null, 1.5]}',
        response_headers={"content-type": "application/json", "set-cookie": "a=b"},
    )
    assert exchange.request_line == "PUT /v2/x?accepts_incomplete=true"
    assert exchange.body_text == '{"parameters":{"size":3}}'
    assert exchange.response_line == (
        '201 {"dashboard_url":"https://dash.example.org:8443/bob@example.org","a":[null,1.5]}'
    )
    assert exchange.response_header_lines == ("content-type: application/json", "set-cookie: ***")
    assert str(exchange) == f"{exchange.request_line} {exchange.body_text}\n→ {exchange.response_line}"


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


# Long, binary and empty values


def test_long_response_is_truncated() -> None:
    exchange = make_exchange(status=200, response_body=b'"' + b"x" * 100_000 + b'"')
    assert len(exchange.response_line) < 2100
    assert exchange.response_line.endswith("… (100,002 bytes)")


def test_response_control_characters_are_escaped() -> None:
    exchange = make_exchange(status=200, response_body=b"\x1b[2J\x07 a\r\nb \xff \xe2\x80\xae", method="GET")
    assert exchange.response_line == "200 \\x1b[2J\\x07 a b \\xff \\u202e"
    assert exchange.response_line.isprintable()


def test_empty_exchange_is_rendered_compactly() -> None:
    """An exchange without a body or a response renders as the status code or "no response"."""
    exchange = make_exchange(status=200)
    assert (exchange.response_line, exchange.body_text, exchange.document, exchange.error_code) == (
        "200",
        "",
        None,
        None,
    )
    assert make_exchange().response_line == "no response: unknown cause"
    assert make_exchange(url="HTTPS://h").request_line == "GET /"


def test_unusable_response_shows_the_reason() -> None:
    exchange = make_exchange(status=200, failure="the body is too long", response_body=b"abc")
    assert exchange.response_line == "200 (the body is too long) abc"


def test_exchange_exposes_response_fields() -> None:
    """The properties return strings, and None for absent or mistyped fields."""
    body = {"error": "E", "description": "D", "operation": "O", "state": "S"}
    exchange = make_exchange(status=200, response_body=msgspec.json.encode(body))
    assert (exchange.error_code, exchange.description, exchange.operation, exchange.state) == (
        "E",
        "D",
        "O",
        "S",
    )
    other = make_exchange(
        status=200, response_body=msgspec.json.encode({"error": 1, "description": "", "state": None})
    )
    assert (other.error_code, other.description, other.operation, other.state) == (None, None, None, None)


# curl

REQUESTS: dict[str, tuple[APIRequest, dict[str, str | None]]] = {
    "catalog": (endpoints.catalog(), {}),
    "provision": (
        endpoints.provision(
            "a/b c", can_poll=True, service_id="s", plan_id="p", parameters={"a": "it's \\ $HOME `x` é"}
        ),
        {},
    ),
    "update": (endpoints.update("i1", can_poll=False, service_id="s"), {}),
    "delete": (endpoints.delete("i1", "b1", service_id="s&x", plan_id="p", can_poll=True), {}),
    "body with spaces": (APIRequest(Operation.UPDATE, "PATCH", "/v2/x", body=b'{ "a" :\n\t1 }'), {}),
    "body that is not JSON": (
        APIRequest(Operation.UPDATE, "PATCH", "/v2/x", body=b"@{'\\a\x1b[2J\n\xff\xc3\xa9"),
        {},
    ),
    "empty body": (APIRequest(Operation.UPDATE, "PATCH", "/v2/x", body=b""), {}),
    "body without a type": (
        APIRequest(Operation.UPDATE, "PATCH", "/v2/x", body=b"{}"),
        {"Content-Type": None},
    ),
    "empty header": (endpoints.catalog(), {"X-Broker-API-Request-Identity": "", "X-Odd": "a'b\"c"}),
    "no login": (endpoints.catalog(), {"Authorization": None}),
    "another login": (endpoints.catalog(), {"Authorization": "Basic " + b64encode(b"u:v").decode()}),
    "sentences": (
        endpoints.update(
            "i1",
            can_poll=True,
            service_id="password-manager",
            parameters={"texts": SENTENCES, "key": 1, "inner": '{ "a" : [1.0, "é"] }'},
        ),
        {"X-Text": "Wrong password: it must have 8 characters"},
    ),
    "form": (APIRequest(Operation.UPDATE, "PATCH", "/v2/x", body=b"key=1&user=a%3Db&primary_key=2"), {}),
    "poll": (
        endpoints.poll("i1", None, operation="rotate-token/1?a=b&c", service_id="token-db", plan_id="secret"),
        {},
    ),
}


def comparable(fake: FakeBroker) -> list[tuple[Any, ...]]:
    """Return the received requests without the headers that differ between clients."""
    ignored = {"user-agent", "accept", "accept-encoding", "connection", "content-length"}
    return [
        (
            request.method,
            request.target,
            request.body,
            {name.lower(): value for name, value in request.headers.items() if name.lower() not in ignored},
        )
        for request in fake.requests
    ]


@pytest.mark.integration
@pytest.mark.skipif(not shutil.which("curl") or not shutil.which("bash"), reason="needs curl and bash")
@pytest.mark.parametrize("case", REQUESTS)
@pytest.mark.parametrize(
    "login", [Login("platform", PASSWORD), Login(token="t0ken"), Login()], ids=["basic", "token", "none"]
)
def test_curl_command_repeats_the_request(case: str, login: Login, served_fake: FakeBroker) -> None:
    """Running the curl command sends the same request, for each login and operation."""
    request, headers = REQUESTS[case]
    defaults = {
        "X-Broker-API-Version": "2.17",
        "X-Broker-API-Originating-Identity": cloudfoundry().originating_identity,
    }
    sent = Transport(served_fake.url, login).send(request, {**defaults, **headers})
    environment = {
        "PATH": os.environ["PATH"],
        "BROKER_USERNAME": "platform",
        "BROKER_PASSWORD": PASSWORD,
        "BROKER_TOKEN": "t0ken",
        "NO_PROXY": "*",
    }
    assert sent.curl.isprintable()
    completed = subprocess.run(["bash", "-c", sent.curl], capture_output=True, env=environment, check=True)
    assert completed.stdout.startswith(b"HTTP/1.1 200")
    first, second = comparable(served_fake)
    assert second == first


@pytest.mark.parametrize(
    ("verify", "option"), [(True, []), (False, ["-k"]), ("/etc/a b.pem", ["--cacert", "/etc/a b.pem"])]
)
def test_curl_command_uses_same_certificate_verification(verify: bool | str, option: list[str]) -> None:
    words = shlex.split(make_exchange(verify=verify).curl)
    assert words == ["curl", "-i", "-X", "GET", *option, "http://h/v2/catalog"]


def test_curl_command_replaces_secrets_by_variables() -> None:
    """The curl command reads the login from environment variables and masks secret parameters."""
    secrets = login_secrets("platform", PASSWORD, None)
    exchange = make_exchange(
        method="PUT",
        headers={"Authorization": f"Basic {LOGIN}", "Content-Type": "application/json"},
        body=b'{"parameters": {"password": "hunter2", "size": 3}}',
        secrets=secrets,
    )
    words = shlex.split(exchange.curl)
    assert words[words.index("-u") + 1] == "$BROKER_USERNAME:$BROKER_PASSWORD"
    assert words[words.index("--data-raw") + 1] == '{"parameters":{"password":"***","size":3}}'
