"""Tests of the transport: failures, timeouts, connections, proxies, TLS and headers."""

from __future__ import annotations

import datetime
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from pathlib import Path
from threading import Event

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from brokerkit.client import endpoints
from brokerkit.client.client import BrokerClient, BrokerUnreachable
from brokerkit.client.transport import Login, Transport

from ..support.fake_broker import (
    FakeBroker,
    FakeBrokers,
    Responder,
    close_connection,
    respond,
    respond_raw,
    serve_fakes,
)
from ..support.servers import free_port
from .conftest import make_client

pytestmark = pytest.mark.integration


def unreachable(client: BrokerClient) -> BrokerUnreachable:
    """Send a request without a response, check the texts of the error, and return the error."""
    with pytest.raises(BrokerUnreachable) as caught:
        client.get_instance("i1")
    error = caught.value
    assert str(error).startswith(f"no response from the service broker: {error.exchange.failure}\n")
    assert error.exchange.status is None
    assert error.exchange.response_line == f"no response: {error.exchange.failure}"
    return error


FAILURES: dict[str, tuple[Responder, str]] = {
    "closed connection": (close_connection, "the connection was closed before a response"),
    "truncated status line": (respond_raw(b"HTTP/1.1 2"), "the response is not HTTP: HTTP/1.1 2"),
    "truncated body": (
        respond_raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}"),
        "the connection was closed in the middle of the response",
    ),
    "truncated chunk": (
        respond_raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{}"),
        "the connection was closed in the middle of the response",
    ),
    "chunk without a length": (
        respond_raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n{}"),
        "the response is not HTTP: a chunk has no length",
    ),
    "another protocol": (
        respond_raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        "the response is not HTTP: SSH-2.0-OpenSSH_9.2",
    ),
    "invalid status code": (respond_raw(b"HTTP/1.1 abc\r\n\r\n"), "the response is not HTTP: HTTP/1.1 abc"),
    "200 headers": (
        respond_raw(b"HTTP/1.1 200 OK\r\n" + b"X-A: 1\r\n" * 200 + b"\r\n"),
        "the response is not HTTP: got more than 100 headers",
    ),
    "endless header": (
        respond_raw(b"HTTP/1.1 200 OK\r\nX-A: " + b"x" * 70_000 + b"\r\n\r\n"),
        "the response is not HTTP: got more than 65536 bytes when reading header line",
    ),
    "two lengths": (
        respond_raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
        "the response is not HTTP: Content-Length contained multiple unmatching values (2, 3)",
    ),
}


@pytest.mark.parametrize("case", FAILURES)
def test_missing_response_failure_is_described(case: str, served_fake: FakeBroker) -> None:
    responder, failure = FAILURES[case]
    served_fake.script(responder)
    error = unreachable(make_client(served_fake.url))
    assert error.exchange.failure == failure
    assert error.exchange.was_sent


def test_refused_connection_is_reported() -> None:
    error = unreachable(make_client(f"http://127.0.0.1:{free_port()}"))
    assert error.exchange.failure == "no connection: Connection refused"
    assert not error.exchange.was_sent


def test_unknown_host_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*arguments: object, **options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    error = unreachable(make_client("http://broker.invalid"))
    assert error.exchange.failure == "no connection: Name or service not known"
    assert not error.exchange.was_sent


@pytest.mark.parametrize("url", [f"http://{'a' * 64}.example", "http://a..b"])
def test_impossible_host_name_is_reported(url: str) -> None:
    error = unreachable(make_client(url))
    assert not error.exchange.was_sent


def test_connection_reset_is_reported(served_fake: FakeBroker) -> None:
    def reset(handler: BaseHTTPRequestHandler) -> None:
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        handler.connection.close()

    served_fake.script(reset)
    error = unreachable(make_client(served_fake.url))
    assert error.exchange.failure == "the connection was closed before a response"
    assert error.exchange.was_sent


# Timeouts


def slow_response(start: bytes, repeated: bytes, pause: float = 0.02) -> Callable[[Event], Responder]:
    """Create a responder that sends `start`, and then `repeated` after each pause, until an event is set."""

    def make(over: Event) -> Responder:
        def write(handler: BaseHTTPRequestHandler) -> None:
            handler.wfile.write(start)
            while not over.wait(pause):
                handler.wfile.write(repeated)
                handler.wfile.flush()

        return write

    return make


STATUS_LINE = b"HTTP/1.1 200 OK\r\n"
SLOW_RESPONSES = {
    "status line": slow_response(b"", b"H"),
    "headers": slow_response(STATUS_LINE + b"X-A: ", b"x"),
    "100 Continue": slow_response(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": slow_response(STATUS_LINE + b"Content-Length: 100000\r\n\r\n", b" "),
    "chunks": slow_response(STATUS_LINE + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "endless body": slow_response(STATUS_LINE + b"\r\n", b" "),
    "endless body without pauses": slow_response(STATUS_LINE + b"\r\n", b" ", pause=0),
}


@pytest.mark.parametrize("part", SLOW_RESPONSES)
def test_slow_response_must_finish_within_timeout(part: str, served_fake: FakeBroker) -> None:
    """The timeout limits the whole response, not only the pause between two bytes."""
    over = Event()
    served_fake.script(SLOW_RESPONSES[part](over))
    start = time.monotonic()
    error = unreachable(make_client(served_fake.url, timeout=0.3))
    over.set()
    assert 0.25 < time.monotonic() - start < 5
    assert error.exchange.failure == "no complete response within the timeout"
    assert error.exchange.was_sent
    assert error.exchange.seconds >= 0.25


def test_request_accepts_its_own_timeout(served_fake: FakeBroker, hang: Responder) -> None:
    served_fake.script(hang)
    exchange = Transport(served_fake.url, Login()).send(endpoints.catalog(), {}, timeout=0.1)
    assert exchange.failure == "no complete response within the timeout"


def test_transport_can_hang_up_after_sending(served_fake: FakeBroker, hang: Responder) -> None:
    served_fake.script(hang)
    exchange = Transport(served_fake.url, Login()).send(endpoints.catalog(), {}, hang_up=True)
    assert exchange.status is None
    assert exchange.was_sent
    assert exchange.seconds < 5


def test_unaccepted_connection_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        clients = [socket.socket() for _ in range(4)]
        try:
            for client in clients:  # fill the queue of connections
                client.setblocking(False)
                client.connect_ex(server.getsockname())
            error = unreachable(make_client(url, timeout=0.3))
        finally:
            for client in clients:
                client.close()
    assert error.exchange.failure == "no connection within the timeout"
    assert not error.exchange.was_sent


# Connections


def test_each_request_uses_a_new_connection(served_fake: FakeBroker) -> None:
    """A broker may close an idle connection while the next request is in transit."""
    ports: list[int] = []

    def record_port(handler: BaseHTTPRequestHandler) -> None:
        ports.append(handler.client_address[1])
        handler.close_connection = False
        respond()(handler)

    served_fake.script(record_port)
    client = make_client(served_fake.url)
    for _ in range(3):
        client.get_instance("i1")
    assert len(set(ports)) == 3
    assert [request.headers["Connection"] for request in served_fake.requests] == ["close"] * 3


def test_cookies_are_not_stored(served_fake: FakeBroker) -> None:
    served_fake.script(respond(200, Set_Cookie="session=1; Path=/"))
    client = make_client(served_fake.url)
    for _ in range(2):
        client.get_instance("i1")
    assert not any("Cookie" in request.headers for request in served_fake.requests)


def test_netrc_credentials_are_ignored(
    served_fake: FakeBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someuser password other\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    BrokerClient(served_fake.url).get_instance("i1")
    BrokerClient(served_fake.url, token="t0ken").get_instance("i1")
    assert [request.headers.get("Authorization") for request in served_fake.requests] == [
        None,
        "Bearer t0ken",
    ]


def test_environment_proxy_is_used(served_fake: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    proxied: list[str] = []

    def proxy(handler: BaseHTTPRequestHandler) -> None:
        proxied.append(handler.path)
        respond()(handler)

    served_fake.script(proxy)
    monkeypatch.setenv("http_proxy", served_fake.url)
    monkeypatch.setattr(FakeBrokers, "route", lambda fakes, target: (served_fake, target))
    make_client("http://broker.invalid").get_instance("i1")
    assert proxied == ["http://broker.invalid/v2/service_instances/i1"]


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.10", "localhost", "LOCALHOST", "broker.localhost", "[::1]"]
)
@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_loopback_broker_bypasses_proxy(
    host: str, name: str, served_fake: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    resolved: list[str] = []

    def resolve(name: str, port: int, *arguments: object, **options: object) -> list[object]:
        resolved.append(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    make_client(served_fake.url.replace("127.0.0.1", host)).get_instance("i1")
    assert resolved == [host.strip("[]").lower()]
    assert served_fake.methods == ["GET"]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_unreachable_proxy_counts_as_not_reached(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection to the proxy means that the broker received no request."""
    monkeypatch.setenv(f"{scheme}_proxy", f"http://127.0.0.1:{free_port()}")
    error = unreachable(make_client(f"{scheme}://broker.invalid"))
    assert error.exchange.failure == "no connection: Connection refused"
    assert not error.exchange.was_sent


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a key and a self-signed certificate for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "broker.pem"
    pem = serialization.Encoding.PEM
    unencrypted = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    file.write_bytes(key.private_bytes(pem, *unencrypted) + certificate.public_bytes(pem))
    return file


@pytest.fixture
def secure(certificate: Path) -> Iterator[FakeBroker]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serve_fakes(context) as fakes:
        yield fakes.add()


def test_untrusted_certificate_is_reported(secure: FakeBroker) -> None:
    error = unreachable(make_client(secure.url))
    failure = error.exchange.failure or ""
    assert failure.startswith("no connection: TLS failed: certificate verify failed: self")
    assert "_ssl.c" not in failure
    assert not error.exchange.was_sent
    assert not secure.requests


def test_trusted_certificate_is_accepted(secure: FakeBroker, certificate: Path) -> None:
    make_client(secure.url, verify=certificate).get_instance("i1")
    assert secure.methods == ["GET"]


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_certificate_verification_can_be_disabled(secure: FakeBroker) -> None:
    make_client(secure.url, verify=False).get_instance("i1")
    assert secure.methods == ["GET"]


def test_plain_http_broker_gives_tls_error(served_fake: FakeBroker) -> None:
    error = unreachable(make_client(served_fake.url.replace("http:", "https:")))
    assert (error.exchange.failure or "").startswith("no connection: TLS failed: ")
    assert not error.exchange.was_sent


def test_missing_tls_handshake_times_out(certificate: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        error = unreachable(make_client(f"https://127.0.0.1:{server.getsockname()[1]}", timeout=0.3))
    assert error.exchange.failure == "no connection within the timeout"
    assert not error.exchange.was_sent


def test_slow_tls_response_must_finish_within_timeout(secure: FakeBroker, certificate: Path) -> None:
    over = Event()
    secure.script(SLOW_RESPONSES["body"](over))
    error = unreachable(make_client(secure.url, verify=str(certificate), timeout=0.5))
    over.set()
    assert error.exchange.failure == "no complete response within the timeout"


def test_invalid_ca_file_is_reported(secure: FakeBroker, tmp_path: Path) -> None:
    file = tmp_path / "empty.pem"
    file.write_text("none")
    error = unreachable(make_client(secure.url, verify=file))
    assert (error.exchange.failure or "").startswith("no connection: TLS failed: ")
    assert not error.exchange.was_sent


def test_missing_ca_file_from_environment_is_reported(
    secure: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    error = unreachable(make_client(secure.url))
    assert "/nowhere.pem" in (error.exchange.failure or "")
    assert not error.exchange.was_sent


# Headers


def test_unsendable_header_is_reported(served_fake: FakeBroker) -> None:
    """The request is not sent, and the exchange explains the failure."""
    exchange = Transport(served_fake.url, Login()).send(endpoints.catalog(), {"X-A": "a\r\nX-B: c"})
    assert (exchange.failure or "").startswith("the request cannot be sent: ")
    assert not exchange.was_sent
    assert not served_fake.requests


def test_given_headers_override_the_defaults(served_fake: FakeBroker) -> None:
    """A header set to None is not sent. Header names are case-insensitive."""
    transport = Transport(served_fake.url, Login("platform", "s3cret"))
    headers = {"authorization": "Basic d3Jvbmc=", "ACCEPT": None, "X-Empty": "", "X-Ü": None, "X-Latin": "é"}
    exchange = transport.send(endpoints.catalog(), headers)
    (request,) = served_fake.requests
    assert request.headers["authorization"] == "Basic d3Jvbmc="
    assert "Authorization" not in exchange.headers
    assert "Accept" not in request.headers
    assert request.headers["X-Empty"] == ""
    assert request.headers["X-Latin"].encode("latin-1").decode() == "é"
