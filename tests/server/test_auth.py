"""Authentication of callers, which comes before all other checks (R-REQ-2)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from flask import Request
from werkzeug.security import check_password_hash, generate_password_hash

from brokerkit import BasicAuth, BearerAuth, Broker, BrokerError, Catalog, NoAuth
from brokerkit.signals import authentication_failed

from ..support.broker import (
    BINDING,
    INSTANCE,
    PROVISION,
    Platform,
    Recorder,
    basic,
    error_of,
    make_app,
    make_broker,
    make_offering,
)

CHALLENGE = 'Basic realm="service broker", charset="UTF-8"'


def make_platform(recorder: Recorder, auth: Any) -> Platform:
    return Platform(make_app(make_broker(recorder, auth=auth)))


def attempt(recorder: Recorder, auth: Any, authorization: str | None) -> int:
    """The status of a provision that is authorized like this."""
    platform = make_platform(recorder, auth)
    response = platform.put(INSTANCE, PROVISION, headers={"Authorization": authorization})
    assert bool(recorder.requests) is (response.status_code == 201)
    return response.status_code


def username_of(recorder: Recorder, auth: Any, authorization: str | None) -> str | None:
    """The username that the handler gets."""
    assert attempt(recorder, auth, authorization) == 201
    username: str | None = recorder.request.headers.username
    return username


def hashed(password: str) -> str:
    """A hash that is quick to compute."""
    return generate_password_hash(password, method="pbkdf2:sha256:1")


def as_wsgi(text: str) -> str:
    """Text of a header as WSGI provides it: each of its UTF-8 bytes as a character."""
    return text.encode().decode("latin-1")


# BasicAuth


@pytest.mark.rule("R-REQ-2")
def test_basic_auth_accepts_credentials_and_passes_username(
    recorder: Recorder,
) -> None:
    """Valid credentials are accepted and the handler receives the username."""
    auth = BasicAuth("platform", "s3cret")
    assert username_of(recorder, auth, basic("platform", "s3cret")) == "platform"


@pytest.mark.rule("R-REQ-2")
@pytest.mark.parametrize("scheme", ["basic", "BASIC", "bAsIc"])
def test_basic_auth_scheme_is_case_insensitive(scheme: str, recorder: Recorder) -> None:
    authorization = basic("platform", "s3cret").replace("Basic", scheme)
    assert attempt(recorder, BasicAuth("platform", "s3cret"), authorization) == 201


MALFORMED = [
    None,
    "",
    " ",
    "Basic",
    "Basic ",
    "Basic  ",
    "Basic !!!",
    "Basic =",
    "Basic cGxhdGZvcm0",  # without the padding
    "Basic cGxhdGZvcm06czNj cmV0",
    "Basic cGxhdGZvcm06czNjcmV0\x00",
    "Basic cGxhdGZvcm06czNjcmV0 x",
    "Basic \xff\xfe",
    "Basiccglhdgzvcm06czNjcmV0",
    "cGxhdGZvcm06czNjcmV0",
    "Bearer cGxhdGZvcm06czNjcmV0",
    "Digest username=platform",
    "Basic platform:s3cret",
    basic("platform", "wrong"),
    basic("wrong", "s3cret"),
    basic("platform", ""),
    basic("", "s3cret"),
    basic("", ""),
    basic("platform", "s3cre"),
    basic("platform", "s3crett"),
    basic("platform", "S3CRET"),
    basic("PLATFORM", "s3cret"),
    basic("platform", "s3cret\n"),
    basic("platform ", "s3cret"),
    basic("platform", ":s3cret"),
    "Basic " + base64.b64encode(b"platform").decode(),
    "Basic " + base64.b64encode(b":").decode(),
    "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(),
    "Basic " + base64.b64encode(b"platform:s3cret" * 1000).decode(),
]


@pytest.mark.rule("R-REQ-2")
@pytest.mark.parametrize("authorization", MALFORMED)
@pytest.mark.parametrize(
    "auth",
    [
        pytest.param(BasicAuth("platform", "s3cret"), id="plain"),
        pytest.param(BasicAuth("platform", hashed("s3cret")), id="hashed"),
    ],
)
def test_basic_auth_with_bad_header_is_401(
    auth: BasicAuth, authorization: str | None, recorder: Recorder
) -> None:
    """A missing, malformed or wrong Authorization header gets 401 with a challenge."""
    platform = make_platform(recorder, auth)
    response = platform.put(INSTANCE, PROVISION, headers={"Authorization": authorization})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == CHALLENGE
    assert error_of(response)["error"] == "Unauthenticated"
    assert "s3cret" not in response.text
    assert not recorder.requests


@pytest.mark.rule("R-REQ-2")
@pytest.mark.parametrize(
    "auth",
    [
        BasicAuth("new", "n3w", ("old", "0ld"), ("older", "0lder")),
        BasicAuth("new", hashed("n3w"), ("old", "0ld"), ("older", hashed("0lder"))),
    ],
)
@pytest.mark.parametrize(
    ("username", "password", "status"),
    [
        ("new", "n3w", 201),
        ("old", "0ld", 201),
        ("older", "0lder", 201),
        ("new", "0ld", 401),
        ("old", "n3w", 401),
        ("older", "n3w", 401),
        ("new", "0lder", 401),
    ],
)
def test_basic_auth_accepts_several_credentials_unmixed(
    auth: BasicAuth, username: str, password: str, status: int, recorder: Recorder
) -> None:
    """Each configured pair is accepted; a username with the password of another pair is refused."""
    assert attempt(recorder, auth, basic(username, password)) == status
    if status == 201:
        assert recorder.request.headers.username == username


@pytest.mark.rule("R-REQ-2")
def test_basic_auth_accepts_two_passwords_per_username(recorder: Recorder) -> None:
    """One username may have an old and a new password during a password rotation."""
    auth = BasicAuth("platform", "new", ("platform", "old"))
    platform = make_platform(recorder, auth)
    for password, status in (("new", 201), ("old", 201), ("older", 401)):
        headers: dict[str, str | None] = {"Authorization": basic("platform", password)}
        assert platform.put(INSTANCE, PROVISION, headers=headers).status_code == status


NON_ASCII = [("plätt", "grün:ß"), ("platform", "pässwörd"), ("платформа", "пароль"), ("p", "😀")]


@pytest.mark.rule("R-REQ-2")
@pytest.mark.parametrize(("username", "password"), NON_ASCII)
@pytest.mark.parametrize("hash_it", [False, True])
def test_basic_auth_accepts_utf_8_credentials(
    username: str, password: str, hash_it: bool, recorder: Recorder
) -> None:
    auth = BasicAuth(username, hashed(password) if hash_it else password)
    assert username_of(recorder, auth, basic(username, password)) == username


@pytest.mark.rule("R-REQ-2")
@pytest.mark.parametrize(("username", "password"), NON_ASCII[:2])
@pytest.mark.parametrize("hash_it", [False, True])
def test_basic_auth_accepts_latin_1_credentials(
    username: str, password: str, hash_it: bool, recorder: Recorder
) -> None:
    auth = BasicAuth(username, hashed(password) if hash_it else password)
    assert username_of(recorder, auth, basic(username, password, "latin-1")) == username


@pytest.mark.rule("R-REQ-2")
@pytest.mark.parametrize("hash_it", [False, True])
@pytest.mark.parametrize("wrong", ["pässwörd", "passwörd", "pÄsswÖrd!", "p\xe4"])
def test_basic_auth_refuses_wrong_non_ascii_credentials(
    wrong: str, hash_it: bool, recorder: Recorder
) -> None:
    password = "pässwört"
    auth = BasicAuth("platform", hashed(password) if hash_it else password)
    assert attempt(recorder, auth, basic("platform", wrong)) == 401
    assert attempt(recorder, auth, basic("platform", wrong, "latin-1")) == 401


@pytest.mark.parametrize("method", ["scrypt", "pbkdf2:sha256:10", "pbkdf2:sha512:10"])
def test_basic_auth_accepts_werkzeug_password_hash(method: str, recorder: Recorder) -> None:
    """The password may be configured as a Werkzeug hash; the hash itself is not accepted as a password."""
    hash_ = generate_password_hash("s3cret", method=method)
    auth = BasicAuth("platform", hash_)
    assert attempt(recorder, auth, basic("platform", hash_)) == 401, "the hash is no password"
    assert username_of(recorder, auth, basic("platform", "s3cret")) == "platform"


@pytest.mark.parametrize("password", ["scrypt", "pbkdf2:x", "$a$b", "scrypt:1$salt", "a$b$c"])
def test_basic_auth_treats_similar_text_as_password(password: str, recorder: Recorder) -> None:
    """A configured password that only resembles a hash is used as a plain password."""
    assert attempt(recorder, BasicAuth("platform", password), basic("platform", password)) == 201


@pytest.mark.parametrize("hash_", ["pbkdf2:nosuch:1$salt$ab12", "scrypt:3:3:3$salt$ab12"])
def test_basic_auth_refuses_unsupported_hash_parameters(hash_: str) -> None:
    """An unknown digest or invalid scrypt parameter raises ValueError in the constructor."""
    with pytest.raises(ValueError, match=r"."):
        BasicAuth("platform", hash_)


@pytest.fixture
def passwords(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords that a hash was computed for."""
    computed: list[str] = []

    def counted(pwhash: str, password: str) -> bool:
        computed.append(password)
        return check_password_hash(pwhash, password)

    monkeypatch.setattr("brokerkit.auth.check_password_hash", counted)
    return computed


def test_basic_auth_computes_hash_once_per_credential(recorder: Recorder, passwords: list[str]) -> None:
    """Repeated requests with the same valid credentials do not compute the password hash again."""
    auth = BasicAuth("new", hashed("n3w"), ("old", hashed("0ld")))
    platform = make_platform(recorder, auth)
    passwords.clear()

    def send(username: str, password: str) -> int:
        headers: dict[str, str | None] = {"Authorization": basic(username, password)}
        return platform.put(INSTANCE, PROVISION, headers=headers).status_code

    assert send("new", "n3w") == 201
    paid = len(passwords)
    assert paid == 2, "all hashes are checked, so that the time does not reveal which usernames exist"
    assert [send("new", "n3w") for _ in range(20)] == [201] * 20
    assert len(passwords) == paid
    assert send("old", "0ld") == 201
    assert [send("old", "0ld") for _ in range(20)] == [201] * 20
    assert len(passwords) == 2 * paid


@pytest.mark.rule("R-REQ-2")
def test_basic_auth_refuses_wrong_password_after_success(recorder: Recorder, passwords: list[str]) -> None:
    """A cached success does not let a wrong password pass."""
    platform = make_platform(recorder, BasicAuth("platform", hashed("s3cret")))
    passwords.clear()

    def send(password: str) -> int:
        headers: dict[str, str | None] = {"Authorization": basic("platform", password)}
        return platform.put(INSTANCE, PROVISION, headers=headers).status_code

    assert [send("wrong"), send("s3cret"), send("wrong"), send("wrong"), send("s3cret")] == [
        401,
        201,
        401,
        401,
        201,
    ]
    assert passwords == ["wrong", "s3cret"]


def test_basic_auth_hashes_equally_for_unknown_username(recorder: Recorder, passwords: list[str]) -> None:
    """The number of computed hashes does not reveal whether a username exists."""
    auth = BasicAuth("new", hashed("n3w"), ("old", hashed("0ld")))
    passwords.clear()
    assert attempt(recorder, auth, basic("new", "wrong")) == 401
    known = len(passwords)
    passwords.clear()
    assert attempt(recorder, auth, basic("nobody", "wrong")) == 401
    assert len(passwords) == known


@pytest.mark.parametrize("username", ["", "a:b", None, 7, b"platform"])
def test_basic_auth_constructor_refuses_invalid_username(username: Any) -> None:
    """A username must be a non-empty string without a colon, in the first and in further pairs."""
    with pytest.raises(ValueError, match="username"):
        BasicAuth(username, "s3cret")
    with pytest.raises(ValueError, match="username"):
        BasicAuth("platform", "s3cret", (username, "s3cret"))


@pytest.mark.parametrize("password", ["", None, 7, b"s3cret"])
def test_basic_auth_constructor_refuses_invalid_password(password: Any) -> None:
    """A password must be a non-empty string. The error message does not contain it."""
    with pytest.raises(ValueError, match="password of 'platform'") as caught:
        BasicAuth("platform", password)
    assert "s3cret" not in str(caught.value)


# From the environment


def test_from_env_reads_username_and_password(monkeypatch: pytest.MonkeyPatch, recorder: Recorder) -> None:
    """`BasicAuth.from_env()` reads BROKER_USERNAME and BROKER_PASSWORD."""
    monkeypatch.setenv("BROKER_USERNAME", "platform")
    monkeypatch.setenv("BROKER_PASSWORD", "s3cret")
    assert username_of(recorder, BasicAuth.from_env(), basic("platform", "s3cret")) == "platform"


def test_from_env_accepts_password_hash(monkeypatch: pytest.MonkeyPatch, recorder: Recorder) -> None:
    monkeypatch.setenv("BROKER_USERNAME", "platform")
    monkeypatch.setenv("BROKER_PASSWORD", hashed("s3cret"))
    assert attempt(recorder, BasicAuth.from_env(), basic("platform", "s3cret")) == 201


@pytest.mark.parametrize(
    ("environ", "missing"),
    [
        ({}, "BROKER_USERNAME and BROKER_PASSWORD"),
        ({"BROKER_USERNAME": "platform"}, "BROKER_PASSWORD"),
        ({"BROKER_USERNAME": "platform", "BROKER_PASSWORD": ""}, "BROKER_PASSWORD"),
        ({"BROKER_PASSWORD": "s3cret"}, "BROKER_USERNAME"),
    ],
)
def test_from_env_error_names_missing_variables(
    environ: dict[str, str], missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unset or empty variable is named in the error message; the password is not."""
    for name in ("BROKER_USERNAME", "BROKER_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=rf": set {missing} in the environment$") as caught:
        BasicAuth.from_env()
    assert "s3cret" not in str(caught.value)


# BearerAuth


@pytest.mark.rule("R-REQ-2")
def test_bearer_auth_accepts_token_without_username(recorder: Recorder) -> None:
    """A valid unnamed token is accepted and the handler receives no username."""
    assert username_of(recorder, BearerAuth("t0ken"), "Bearer t0ken") is None


@pytest.mark.rule("R-REQ-2")
@pytest.mark.parametrize("token", ["t0ken", "0ld"])
def test_bearer_auth_accepts_each_configured_token(token: str, recorder: Recorder) -> None:
    assert attempt(recorder, BearerAuth("t0ken", "0ld"), f"bearer {token}") == 201


def test_bearer_auth_passes_token_name_as_username(recorder: Recorder) -> None:
    auth = BearerAuth("anyone", korifi="t0ken")
    assert username_of(recorder, auth, "Bearer t0ken") == "korifi"


@pytest.mark.parametrize("token", ["grün", "пароль", "voilà", "blå Å", "Å", "ą", "😀"])
def test_bearer_auth_accepts_utf_8_token(token: str, recorder: Recorder) -> None:
    assert attempt(recorder, BearerAuth(token), f"Bearer {as_wsgi(token)}") == 201


@pytest.mark.parametrize("token", ["grün", "voilà"])
def test_bearer_auth_accepts_latin_1_token(token: str, recorder: Recorder) -> None:
    assert attempt(recorder, BearerAuth(token), f"Bearer {token}") == 201


@pytest.mark.rule("R-REQ-2")
@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Bearer t0ke",
        "Bearer t0kenn",
        "Bearer T0KEN",
        "Bearer t0ken x",
        "Bearer t0ken,Bearer t0ken",
        "Bearer \xff",
        "t0ken",
        "Token t0ken",
        basic("t0ken", ""),
        basic("", "t0ken"),
    ],
)
def test_bearer_auth_with_bad_header_is_401(authorization: str | None, recorder: Recorder) -> None:
    """A missing, malformed or wrong token gets 401 with a Bearer challenge."""
    platform = make_platform(recorder, BearerAuth("t0ken"))
    response = platform.put(INSTANCE, PROVISION, headers={"Authorization": authorization})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="service broker"'
    assert "t0ken" not in response.text


@pytest.mark.parametrize("tokens", [(), ("",), ("good", ""), (" t",), ("t\n",), (None,), (b"t",)])
def test_bearer_auth_constructor_refuses_invalid_token(tokens: Any) -> None:
    """At least one token is required, and each is a non-empty string without surrounding whitespace."""
    with pytest.raises(ValueError, match="BearerAuth: "):
        BearerAuth(*tokens)


# Your own, or none


@pytest.mark.rule("R-REQ-2")
@pytest.mark.parametrize(("answer", "username"), [("me", "me"), (True, None)])
def test_auth_function_result_becomes_username(
    answer: object, username: str | None, recorder: Recorder
) -> None:
    """A custom function may return the username, or True for an unnamed caller."""
    assert username_of(recorder, lambda request: answer, None) == username


@pytest.mark.rule("R-REQ-2")
@pytest.mark.parametrize("answer", [None, False, ""])
def test_auth_function_returning_falsy_is_401(answer: object, recorder: Recorder) -> None:
    """None, False or an empty string from a custom function gets 401 with the default challenge."""
    platform = make_platform(recorder, lambda request: answer)
    response = platform.get("/v2/catalog")
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == CHALLENGE


@pytest.mark.rule("R-REQ-2")
@pytest.mark.parametrize("answer", [1, b"me", ["me"], {"name": "me"}, object()])
def test_auth_function_with_other_result_is_refused(answer: object, recorder: Recorder) -> None:
    """A result that is neither a string nor True does not authenticate the caller."""
    assert attempt(recorder, lambda request: answer, None) in (401, 500)


@pytest.mark.rule("R-REQ-2")
def test_auth_function_returning_coroutine_is_refused(recorder: Recorder) -> None:
    """A coroutine is truthy but does not authenticate the caller."""
    answers: list[Coroutine[Any, Any, None]] = []

    async def refuse(request: Request) -> None:
        return None

    def auth(request: Request) -> object:
        answers.append(refuse(request))
        return answers[-1]

    try:
        assert attempt(recorder, auth, None) in (401, 500)
    finally:
        for answer in answers:
            answer.close()


def test_auth_function_receives_flask_request(recorder: Recorder) -> None:
    """A custom function can read the Flask request, for example a client certificate header."""

    def by_certificate(request: Request) -> str | None:
        return request.headers.get("X-Client-Cert")

    platform = make_platform(recorder, by_certificate)
    assert platform.get("/v2/catalog").status_code == 401
    headers: dict[str, str | None] = {"X-Client-Cert": "cn"}
    assert platform.put(INSTANCE, PROVISION, headers=headers).status_code == 201
    assert recorder.request.headers.username == "cn"


@pytest.mark.rule("R-REQ-2")
def test_auth_object_sets_its_own_challenge(recorder: Recorder) -> None:
    """The `challenge` attribute of a custom authenticator becomes the WWW-Authenticate header."""

    class Own:
        challenge = 'Negotiate realm="x"'

        def __call__(self, request: Request) -> bool:
            return False

    response = make_platform(recorder, Own()).get("/v2/catalog")
    assert response.headers["WWW-Authenticate"] == 'Negotiate realm="x"'


def test_auth_function_that_raises_is_500(recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    """The request is refused; the exception appears in the log but not in the response."""

    def fail(request: Request) -> bool:
        raise RuntimeError("ldap://10.0.0.1 is down")

    platform = make_platform(recorder, fail)
    response = platform.put(INSTANCE, PROVISION)
    assert response.status_code == 500
    assert "ldap" not in response.text
    assert "ldap://10.0.0.1 is down" in caplog.text
    assert not recorder.requests


def test_auth_function_may_raise_broker_error(recorder: Recorder) -> None:
    """A BrokerError raised by a custom function determines the status and the description."""

    def refuse(request: Request) -> bool:
        raise BrokerError("Come back on Monday.", status=403)

    response = make_platform(recorder, refuse).put(INSTANCE, PROVISION)
    assert response.status_code == 403
    assert error_of(response)["description"] == "Come back on Monday."
    assert not recorder.requests


def test_no_auth_accepts_requests_without_username(recorder: Recorder) -> None:
    assert username_of(recorder, NoAuth(), None) is None


def test_no_auth_ignores_authorization_header(recorder: Recorder) -> None:
    """An unverified Authorization header does not set the username."""
    assert username_of(recorder, NoAuth(), basic("admin", "x")) is None


# A broker must have an authenticator


def test_broker_requires_auth_argument() -> None:
    with pytest.raises(TypeError, match="auth"):
        Broker(Catalog([make_offering()]))  # type: ignore[call-arg]


@pytest.mark.parametrize("auth", [NoAuth, BasicAuth])
def test_broker_refuses_authenticator_class(auth: Any) -> None:
    """Passing an authenticator class raises TypeError with the advice to create an instance."""
    with pytest.raises(
        TypeError, match=rf"the class {auth.__name__}; create an instance: {auth.__name__}\(…\)"
    ):
        Broker(Catalog([make_offering()]), auth=auth)


@pytest.mark.parametrize("auth", [None, "s3cret", ("platform", "s3cret"), 7])
def test_broker_refuses_invalid_auth_argument(auth: Any) -> None:
    """The error message names the valid choices and contains no password."""
    with pytest.raises(TypeError, match=r"BasicAuth\.from_env\(\).*NoAuth\(\)") as caught:
        Broker(Catalog([make_offering()]), auth=auth)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: BasicAuth("platform", "s3cret", ("old", "s3cret-too")),
        lambda: BasicAuth("platform", hashed("s3cret")),
        lambda: BearerAuth("s3cret", me="s3cret-too"),
    ],
)
def test_authenticator_repr_contains_no_secret(make: Callable[[], object]) -> None:
    auth = make()
    assert "s3cret" not in repr(auth)
    assert "pbkdf2" not in repr(auth)


# Judged before anything else


class Unreadable:
    """A body that must not be read."""

    def read(self, *_: object) -> bytes:
        raise AssertionError("the body was read")

    readline = readlines = __iter__ = read


@pytest.mark.rule("R-REQ-2")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/catalog"),
        ("PUT", INSTANCE),
        ("PATCH", INSTANCE),
        ("GET", INSTANCE),
        ("DELETE", INSTANCE),
        ("GET", f"{INSTANCE}/last_operation"),
        ("PUT", BINDING),
        ("GET", BINDING),
        ("DELETE", BINDING),
        ("GET", f"{BINDING}/last_operation"),
        ("GET", "/v2/nothing"),
        ("POST", "/v2/catalog"),
        ("OPTIONS", INSTANCE),
    ],
)
def test_authentication_precedes_all_other_checks(
    method: str, path: str, platform: Platform, recorder: Recorder
) -> None:
    """Every path and method returns 401 before it checks the headers or reads the body."""
    response = platform.send(
        method,
        path,
        query="service_id=x&service_id=y",
        headers={
            "Authorization": basic("platform", "wrong"),
            "X-Broker-API-Version": None,
            "X-Broker-API-Originating-Identity": "nonsense",
            "Content-Type": "text/plain",
        },
        environ={"wsgi.input": Unreadable(), "CONTENT_LENGTH": str(10**9)},
    )
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == CHALLENGE
    assert not recorder.requests


@pytest.mark.rule("R-REQ-1")
def test_api_version_is_checked_before_body(platform: Platform, recorder: Recorder) -> None:
    """An unsupported API version is refused with 412 without reading the body."""
    response = platform.put(
        INSTANCE,
        data=b"{",
        headers={"X-Broker-API-Version": "3.0"},
        environ={"wsgi.input": Unreadable()},
    )
    assert response.status_code == 412


@pytest.mark.rule("R-REQ-4")
def test_unauthenticated_response_returns_request_identity(platform: Platform) -> None:
    headers: dict[str, str | None] = {
        "Authorization": None,
        "X-Broker-API-Request-Identity": "r-1",
    }
    response = platform.get("/v2/catalog", headers=headers)
    assert response.status_code == 401
    assert response.headers["X-Broker-API-Request-Identity"] == "r-1"


# The signal


def test_authentication_failed_signal_contains_no_credentials(broker: Broker, platform: Platform) -> None:
    """The signal carries method, path and remote address, but no credentials and no query string."""
    failures: list[dict[str, Any]] = []

    def receive(sender: object, **facts: Any) -> None:
        failures.append({"sender": sender, **facts})

    with authentication_failed.connected_to(receive, sender=broker):
        platform.get("/v2/catalog", environ={"REMOTE_ADDR": "203.0.113.7"})
        assert not failures
        platform.put(
            INSTANCE,
            PROVISION,
            query="password=tr1ed",
            headers={"Authorization": basic("tr1ed", "tr1ed")},
            environ={"REMOTE_ADDR": "203.0.113.7"},
        )
    assert failures == [{"sender": broker, "method": "PUT", "path": INSTANCE, "remote_addr": "203.0.113.7"}]
    assert "tr1ed" not in repr(failures)


def test_authentication_failed_receiver_error_keeps_401(
    broker: Broker, platform: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception in a receiver is logged and the request is still refused."""

    def fail(sender: object, **facts: Any) -> None:
        raise RuntimeError("no disk")

    with authentication_failed.connected_to(fail, sender=broker):
        response = platform.get("/v2/catalog", headers={"Authorization": None})
    assert response.status_code == 401
    assert "no disk" in caplog.text


def test_basic_auth_further_credentials_must_be_pairs() -> None:
    with pytest.raises(ValueError, match="further credentials are pairs"):
        BasicAuth("platform", "new", "platform", "old")  # type: ignore[arg-type]


def test_basic_auth_hash_error_hides_hash() -> None:
    """An unusable password hash raises ValueError; the message does not contain the hash."""
    with pytest.raises(ValueError, match="the password hash of 'platform' cannot be used") as caught:
        BasicAuth("platform", "scrypt:3:8:1$salt$00ff")
    assert "00ff" not in str(caught.value)


HASH = generate_password_hash("s3cret", method="pbkdf2:sha256:1")


@pytest.mark.parametrize("written", ["{}\n", "  {}"])
def test_basic_auth_strips_whitespace_around_hash(recorder: Recorder, written: str) -> None:
    """Whitespace around a configured hash is ignored, for example a trailing newline from a file."""
    auth = BasicAuth("platform", written.format(HASH))
    assert username_of(recorder, auth, basic("platform", "s3cret")) == "platform"


def test_basic_auth_refuses_malformed_hash() -> None:
    """A hash in the wrong notation is refused instead of used as a plain password."""
    with pytest.raises(ValueError, match="does not have the format of werkzeug"):
        BasicAuth("platform", HASH.upper().replace("PBKDF2:SHA256", "pbkdf2:sha256"))


@pytest.mark.parametrize(
    "make",
    [
        lambda: BasicAuth("\udcff", "s3cret"),
        lambda: BasicAuth("platform", "\udcff"),
        lambda: BearerAuth("\udcff"),
        lambda: BearerAuth(**{"": "token"}),
    ],
)
def test_authenticator_constructor_refuses_unsendable_values(make: Callable[[], object]) -> None:
    """Lone surrogates and an empty token name raise ValueError in the constructor."""
    with pytest.raises(ValueError, match=r"BasicAuth|BearerAuth|surrogates"):
        make()


def test_broker_refuses_async_authenticator() -> None:
    async def everyone(request: object) -> str:
        return "anyone"

    with pytest.raises(TypeError, match="auth is an async function; pass a plain function"):
        Broker(Catalog([make_offering()]), auth=everyone)  # type: ignore[arg-type]
