"""A served app, and the introspection of its broker."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import pytest
from flask import Flask, Request
from werkzeug.security import generate_password_hash

from brokerkit import BasicAuth, BearerAuth, Broker, Catalog, NoAuth
from brokerkit.auth import Authenticator
from brokerkit.client.client import BrokerClient, BrokerUnreachable
from brokerkit.testing import serve
from brokerkit.testing.introspection import UnknownBroker, UnknownLogin, broker_of, login_of, prefix_of

from ..support.broker import Recorder, make_app, make_broker, make_offering

pytestmark = pytest.mark.integration


def client_at(url: str) -> BrokerClient:
    return BrokerClient(url, username="platform", password="s3cret")


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("brokerkit")}


def test_serve_stops_server_and_threads_at_exit(recorder: Recorder) -> None:
    before = threads()
    with serve(make_app(make_broker(recorder))) as url:
        client = client_at(url)
        assert client.catalog().services[0].name == "db"
        assert threads() > before
    assert threads() <= before
    with pytest.raises(BrokerUnreachable):
        client.catalog()


def test_serve_handles_concurrent_requests(recorder: Recorder) -> None:
    both = threading.Barrier(2, timeout=15)

    def meet(request: object) -> None:
        both.wait()

    recorder.answers["deprovision"] = meet
    with serve(make_app(make_broker(recorder))) as url:
        client = client_at(url)
        asking = threading.Thread(target=client.deprovision, args=("i1", "db-id", "small-id"))
        asking.start()
        client.deprovision("i2", "db-id", "small-id")
        asking.join(15)
    assert len(recorder.requests) == 2


def test_serve_stops_background_threads_and_keeps_store(
    recorder: Recorder,
) -> None:
    broker = make_broker(recorder, store="sqlite://")
    app = make_app(broker)
    before = threads()
    with serve(app) as url:
        client_at(url).provision("i1", "db-id", "small-id")
        assert threads() > before
    assert threads() <= before
    recorder.requests.clear()
    with serve(app) as url:
        client_at(url).provision("i1", "db-id", "small-id")
    assert recorder.requests == []
    broker.close()


def test_memory_store_is_empty_after_close(recorder: Recorder) -> None:
    """Tests can share an app, and no test sees the resources of another."""
    broker = make_broker(recorder, store="sqlite://")
    app = make_app(broker)
    for _ in range(2):
        with serve(app) as url:
            client_at(url).provision("i1", "db-id", "small-id")
        broker.close()
    assert len(recorder.requests) == 2


def test_serve_writes_no_request_log(recorder: Recorder, capfd: pytest.CaptureFixture[str]) -> None:
    with serve(make_app(make_broker(recorder))) as url:
        client_at(url).catalog()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("app", "expected_text"),
    [
        (lambda: Broker(Catalog([make_offering()]), auth=NoAuth()), "takes a Flask app, not a Broker"),
        (lambda: "app", "takes a WSGI app, such as a Flask app, not a str"),
    ],
)
def test_serve_rejects_non_wsgi_objects(app: Any, expected_text: str) -> None:
    with pytest.raises(TypeError, match=expected_text), serve(app()):
        pass


@pytest.mark.parametrize("prefix", ["/databases", "/a/b"])
def test_serve_url_includes_broker_prefix(recorder: Recorder, prefix: str) -> None:
    app = make_app(make_broker(recorder), url_prefix=prefix)
    assert prefix_of(app) == prefix
    with serve(app) as url:
        assert url.endswith(prefix)
        client_at(url).catalog()


def test_serve_accepts_any_wsgi_app() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", "15")])
        return [b'{"services":[]}']

    with serve(app) as url:
        assert url.count("/") == 2
        assert list(client_at(url).catalog().services) == []


def with_auth(auth: Authenticator) -> Flask:
    return make_app(make_broker(Recorder(), auth=auth))


HASH = generate_password_hash("s3cret", method="pbkdf2:sha256:1")


@pytest.mark.parametrize(
    ("auth", "login"),
    [
        (NoAuth(), None),
        (BearerAuth("t0ken"), "t0ken"),
        (BasicAuth("platform", "s3cret"), ("platform", "s3cret")),
        (BasicAuth("platform", HASH, ("other", "old")), ("other", "old")),
    ],
)
def test_login_is_read_from_authenticator(auth: Authenticator, login: object) -> None:
    assert login_of(with_auth(auth)) == login


def by_certificate(request: Request) -> str | None:
    return None


@pytest.mark.parametrize(
    ("auth", "why"),
    [
        (BasicAuth("platform", HASH), "the broker has only the hash of its password"),
        (by_certificate, "the broker authenticates by by_certificate"),
    ],
)
def test_unreadable_login_explains_the_reason(auth: Authenticator, why: str) -> None:
    with pytest.raises(UnknownLogin, match=why):
        login_of(with_auth(auth))


def test_broker_lookup_requires_exactly_one_broker(recorder: Recorder) -> None:
    app = make_app()
    with pytest.raises(UnknownBroker, match="the app 'tests' has no broker that uses brokerkit"):
        broker_of(app)
    one, other = make_broker(recorder), make_broker(recorder)
    app.register_blueprint(one.blueprint)
    app.register_blueprint(one.blueprint, url_prefix="/again")
    assert broker_of(app) is one
    app.register_blueprint(other.blueprint, url_prefix="/other")
    with pytest.raises(UnknownBroker, match="the app 'tests' has 2 brokers"):
        broker_of(app)
    with pytest.raises(UnknownBroker, match="the app 'function' has no broker"):
        broker_of(lambda environ, start_response: [])


def test_testing_import_loads_no_optional_packages() -> None:
    program = "import brokerkit.testing, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "brokerkit" in loaded
    assert not loaded & {"pytest", "requests", "sqlalchemy", "rich", "hypothesis"}
