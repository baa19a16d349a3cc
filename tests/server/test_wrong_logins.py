"""Many wrong logins: they must not keep out right ones, although each check of a password hash is slow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from flask import Flask
from werkzeug.security import check_password_hash, generate_password_hash
from werkzeug.test import TestResponse

from brokerkit import BasicAuth
from brokerkit._internal import login_queue
from brokerkit.observe.prometheus import metrics_blueprint

from ..support.broker import Platform, Recorder, basic, error_of, make_app, make_broker
from ..support.wait import wait_until

PLATFORM, ATTACKER = "192.0.2.1", "192.0.2.2"


class SlowHashes:
    """The checks of password hashes, which a test can stop.

    Attributes:
        passwords: The checked passwords.
        allowed: While this event is cleared, checks wait.
    """

    def __init__(self) -> None:
        self.passwords: list[str] = []
        self.allowed = Event()
        self.allowed.set()

    def check(self, pwhash: str, password: str) -> bool:
        self.passwords.append(password)
        assert self.allowed.wait(15), "the test never allowed the check"
        return check_password_hash(pwhash, password)


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> SlowHashes:
    slow = SlowHashes()
    monkeypatch.setattr("brokerkit.auth.check_password_hash", slow.check)
    return slow


@pytest.fixture
def app(recorder: Recorder, hashes: SlowHashes) -> Flask:
    """Return an app whose broker has the hashes of a new and an old password."""
    new, old = (generate_password_hash(word, method="pbkdf2:sha256:1") for word in ("new", "old"))
    auth = BasicAuth("platform", new, ("platform", old))
    app = make_app(make_broker(recorder, auth=auth))
    app.register_blueprint(metrics_blueprint(make_broker(recorder), auth=auth))
    hashes.passwords.clear()
    return app


Login = Callable[..., TestResponse]


@pytest.fixture
def login(app: Flask) -> Login:
    """Return a function that fetches the catalog with a password, from the address of a client."""

    def send(password: str, client: str = PLATFORM, path: str = "/v2/catalog") -> TestResponse:
        headers: dict[str, str | None] = {"Authorization": basic("platform", password)}
        if path != "/v2/catalog":
            environ = {"REMOTE_ADDR": client}
            return app.test_client().get(path, headers=headers, environ_overrides=environ)
        return Platform(app).get(path, headers=headers, environ={"REMOTE_ADDR": client})

    return send


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(20) as threads:
        yield threads


def statuses(responses: list[Future[TestResponse]]) -> Counter[int]:
    """Count the statuses of the responses that have arrived."""
    return Counter(response.result().status_code for response in responses if response.done())


def attack(
    pool: ThreadPoolExecutor, login: Login, number: int, client: str = ATTACKER
) -> list[Future[TestResponse]]:
    """Send concurrent logins, each with another wrong password."""
    return [pool.submit(login, f"wrong-{client}-{count}", client) for count in range(number)]


@pytest.fixture
def stopped(hashes: SlowHashes, login: Login, pool: ThreadPoolExecutor) -> Iterator[Future[TestResponse]]:
    """Return a wrong login whose check does not end before `hashes.allowed` is set, after an earlier one."""
    assert login("new").status_code == 200
    assert login("wrong", ATTACKER).status_code == 401
    hashes.allowed.clear()
    hashes.passwords.clear()
    response = pool.submit(login, "stopped", ATTACKER)
    wait_until(lambda: hashes.passwords == ["stopped"])
    yield response
    hashes.allowed.set()


def test_known_login_never_waits(
    stopped: Future[TestResponse], login: Login, pool: ThreadPoolExecutor
) -> None:
    """A right password that was used before is accepted while the hash of another one is computed."""
    responses = attack(pool, login, 10)
    assert [login("new").status_code for _ in range(20)] == [200] * 20
    assert not stopped.done()
    wait_until(lambda: statuses(responses)[429] == 9)


def test_excess_logins_get_429(
    stopped: Future[TestResponse], login: Login, pool: ThreadPoolExecutor, hashes: SlowHashes
) -> None:
    """One wrong login of a client is checked and one waits. The others get 429 with `Retry-After`."""
    responses = attack(pool, login, 10)
    wait_until(lambda: statuses(responses) == {429: 9})
    refused = next(response.result() for response in responses if response.done())
    assert refused.headers["Retry-After"] == "2"
    assert "WWW-Authenticate" not in refused.headers
    assert error_of(refused)["error"] == "TooManyLogins"
    hashes.allowed.set()
    assert stopped.result().status_code == 401
    wait_until(lambda: statuses(responses) == {429: 9, 401: 1})


def test_metrics_refuse_excess_logins(
    stopped: Future[TestResponse], login: Login, pool: ThreadPoolExecutor
) -> None:
    responses = attack(pool, login, 2)
    wait_until(lambda: statuses(responses) == {429: 1})
    refused = login("other", ATTACKER, "/metrics")
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "2")
    assert refused.get_json()["error"] == "TooManyLogins"


def test_first_login_gets_its_turn(
    stopped: Future[TestResponse], login: Login, pool: ThreadPoolExecutor, hashes: SlowHashes
) -> None:
    """A right password that was not used before is accepted during an attack from another address."""
    responses = attack(pool, login, 10)
    wait_until(lambda: statuses(responses) == {429: 9})
    first = pool.submit(login, "old", PLATFORM)
    hashes.allowed.set()
    assert first.result(15).status_code == 200


def test_attack_from_many_addresses_occupies_few_threads(
    stopped: Future[TestResponse], login: Login, pool: ThreadPoolExecutor
) -> None:
    responses = [attack(pool, login, 1, f"198.51.100.{number}")[0] for number in range(12)]
    wait_until(lambda: statuses(responses) == {429: 9})


def test_concurrent_first_logins_share_one_check(
    login: Login, pool: ThreadPoolExecutor, hashes: SlowHashes
) -> None:
    """The first requests of a platform are all accepted, however many there are."""
    hashes.allowed.clear()
    responses = [pool.submit(login, "new") for _ in range(12)]
    wait_until(lambda: hashes.passwords)
    hashes.allowed.set()
    assert Counter(response.result(15).status_code for response in responses) == {200: 12}
    assert hashes.passwords == ["new", "new"], "one check computes each of the two hashes"


def test_wrong_login_is_cached_briefly(
    login: Login, hashes: SlowHashes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repeated wrong login computes no hash, until its result has expired."""
    assert [login("wrong").status_code for _ in range(20)] == [401] * 20
    assert hashes.passwords == ["wrong"] * 2
    monkeypatch.setattr(login_queue, "_REMEMBERED", 0.0)
    assert [login("other").status_code for _ in range(3)] == [401] * 3
    assert hashes.passwords == ["wrong"] * 2 + ["other"] * 6


def test_wrong_logins_in_sequence_are_checked(login: Login) -> None:
    """A client that waits for each response gets 401, as conformance checkers expect."""
    assert [login(f"wrong-{number}").status_code for number in range(8)] == [401] * 8
    assert login("old").status_code == 200


def test_cache_of_wrong_logins_is_bounded(
    login: Login, hashes: SlowHashes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login_queue, "_MAX_REMEMBERED", 2)
    for password in ("a", "b", "c", "c", "b", "a"):
        assert login(password).status_code == 401
    assert hashes.passwords[::2] == ["a", "b", "c", "a"]


def test_failing_check_does_not_block_queue(
    login: Login, hashes: SlowHashes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> bool:
        raise MemoryError

    monkeypatch.setattr("brokerkit.auth.check_password_hash", fail)
    assert login("new").status_code == 500
    monkeypatch.setattr("brokerkit.auth.check_password_hash", hashes.check)
    assert login("new").status_code == 200


def test_login_leaves_queue_after_its_patience(
    stopped: Future[TestResponse], login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login_queue, "_PATIENCE", 0.01)
    assert login("old").status_code == 429


def test_malformed_header_needs_no_check(stopped: Future[TestResponse], app: Flask) -> None:
    for value in ("Basic !!!", "Bearer token", None):
        response = Platform(app).get("/v2/catalog", headers={"Authorization": value})
        assert response.status_code == 401
