"""The blueprint: where it is, and that whatever comes in under it is answered in JSON."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import msgspec
import pytest
from flask import Blueprint, Flask, abort
from werkzeug.exceptions import TooManyRequests

from brokerkit import BasicAuth, Broker, BrokerError, Provisioned, ServicePlan

from ..support.broker import (
    BINDING,
    IDS,
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
from .test_requests import ENDPOINTS, SampleRequest, every_endpoint

WITH_ID = [sample for sample in ENDPOINTS if sample.operation != "catalog"]

# Where it is


@every_endpoint
@pytest.mark.parametrize("prefix", ["/broker", "/a/b/c", "/broker/", "/é", "/v2", "/"])
def test_blueprint_serves_under_any_url_prefix(sample: SampleRequest, prefix: str, broker: Broker) -> None:
    platform = Platform(make_app(broker, url_prefix=prefix))
    path = f"{prefix.rstrip('/')}{sample.path}"
    assert sample._replace(path=path).send(platform).status_code in (200, 201)


def test_blueprint_serves_under_variable_url_prefix(broker: Broker, recorder: Recorder) -> None:
    platform = Platform(make_app(broker, url_prefix="/<tenant>/broker"))
    for tenant in ("red", "blue"):
        assert platform.put(f"/{tenant}/broker{INSTANCE}", PROVISION).status_code == 201
    assert [request.instance_id for request in recorder.requests] == ["i1", "i1"]
    assert platform.get("/red/broker/v2/nothing").status_code == 404
    assert platform.put("/red/broker/v2/service_instances/a%2Fb", PROVISION).status_code == 201
    assert recorder.requests[-1].instance_id == "a/b"


def test_blueprint_registers_repeatedly_in_one_app(broker: Broker, recorder: Recorder) -> None:
    app = Flask("tests")
    app.register_blueprint(broker.blueprint, url_prefix="/one")
    app.register_blueprint(broker.blueprint, url_prefix="/two")
    app.register_blueprint(broker.blueprint, url_prefix="/three", name="third")
    platform = Platform(app)
    for prefix in ("/one", "/two", "/three"):
        assert platform.put(f"{prefix}{INSTANCE}", PROVISION).status_code == 201
        assert platform.put(f"{prefix}/v2/service_instances/a%2Fb", PROVISION).status_code == 201
        assert platform.get(f"{prefix}/v2/nothing").status_code == 404
        assert platform.delete(f"{prefix}/v2/catalog").status_code == 405
    assert len(recorder.requests) == 6


def test_broker_serves_in_two_apps(broker: Broker, recorder: Recorder) -> None:
    for app in (make_app(broker), make_app(broker)):
        assert Platform(app).put(INSTANCE, PROVISION).status_code == 201
    assert len(recorder.requests) == 2


def test_two_brokers_in_one_app_are_isolated() -> None:
    """Each broker has its own catalog, credentials and handlers."""
    recorders = Recorder(), Recorder()
    brokers = [
        make_broker(
            recorder,
            make_offering(id=f"{name}-id", name=name),
            auth=BasicAuth(name, "s3cret"),
        )
        for name, recorder in zip(("red", "blue"), recorders, strict=True)
    ]
    app = Flask("tests")
    for name, broker in zip(("red", "blue"), brokers, strict=True):
        app.register_blueprint(broker.blueprint, url_prefix=f"/{name}")
    platform = Platform(app)
    for name, recorder in zip(("red", "blue"), recorders, strict=True):
        mine = {"Authorization": basic(name, "s3cret")}
        catalog = platform.get(f"/{name}/v2/catalog", headers=mine)
        assert [offering["name"] for offering in catalog.get_json()["services"]] == [name]
        body = {**PROVISION, "service_id": f"{name}-id"}
        for instance_id in ("i1", "a%2Fb"):
            path = f"/{name}/v2/service_instances/{instance_id}"
            assert platform.put(path, body, headers=mine).status_code == 201
        assert [request.instance_id for request in recorder.requests] == ["i1", "a/b"]
    theirs = {"Authorization": basic("blue", "s3cret")}
    assert platform.get("/red/v2/catalog", headers=theirs).status_code == 401
    assert platform.get("/red/v2/nothing", headers=theirs).status_code == 401


def test_blueprint_serves_nested_in_app_blueprint(broker: Broker, recorder: Recorder) -> None:
    parent = Blueprint("api", "tests", url_prefix="/api")
    parent.register_blueprint(broker.blueprint, url_prefix="/one")
    parent.register_blueprint(broker.blueprint, url_prefix="/two")
    app = Flask("tests")
    app.register_blueprint(parent)
    app.register_blueprint(broker.blueprint, url_prefix="/three")
    platform = Platform(app)
    for prefix in ("/api/one", "/api/two", "/three"):
        assert platform.put(f"{prefix}{INSTANCE}", PROVISION).status_code == 201
        assert platform.put(f"{prefix}/v2/service_instances/a%2Fb", PROVISION).status_code == 201
        assert platform.get(f"{prefix}/v2/nothing").status_code == 404
        assert platform.delete(f"{prefix}/v2/catalog").headers["Allow"] == "GET, HEAD"
    assert len(recorder.requests) == 6


# Paths outside of the API


@pytest.mark.parametrize(
    ("prefix", "path"),
    [
        ("", "/v2"),
        ("", "/v2/"),
        ("", "/v2/nothing"),
        ("", "/v2/catalog/"),
        ("", "/v2/catalog/x"),
        ("", "/v2//catalog"),
        ("", "/v2/catalog%0A"),
        ("", "/v2/nothing%0Aat%0Aall"),
        ("", "/v2/%00"),
        ("", "/v2/%FF"),
        ("", "/v2/%F0%9F%92%A5"),
        ("", "/v2/../v2/catalog"),
        ("", "/v2/service_instances"),
        ("", "/v2/service_instances/"),
        ("", "/v2/service_instances//last_operation"),
        ("", f"{INSTANCE}/"),
        ("", f"{INSTANCE}//last_operation"),
        ("", f"{INSTANCE}/service_bindings"),
        ("", f"{INSTANCE}/service_bindings/"),
        ("", f"{BINDING}/last_operation/"),
        ("", f"{INSTANCE}/last_operations"),
        ("", "/v2/catalog%2F"),
        ("", "/v2%2Fcatalog"),
        ("/broker", "/broker"),
        ("/broker", "/broker/"),
        ("/broker", "/broker/nothing"),
        ("/broker", "/broker/v2"),
        ("/broker", "/broker//v2/catalog"),
        ("/broker", "/broker/v2/nothing"),
        ("/broker", "/broker%2Fv2/catalog"),
    ],
)
def test_unknown_path_under_prefix_is_json_404(
    prefix: str, path: str, broker: Broker, recorder: Recorder
) -> None:
    platform = Platform(make_app(broker, url_prefix=prefix or None))
    for method in ("GET", "PUT", "OPTIONS", "TRACE", "BREW"):
        response = platform.send(method, path)
        assert response.status_code == 404
        assert error_of(response)["error"] == "NotFound"
    assert not recorder.requests


@pytest.mark.parametrize(
    ("prefix", "path"),
    [
        (None, "/"),
        (None, "/v1/catalog"),
        (None, "/v20/catalog"),
        ("/broker", "/"),
        ("/broker", "/v2/catalog"),
        ("/broker", "/brokers/v2/catalog"),
    ],
)
def test_path_outside_prefix_uses_app_error_handler(prefix: str | None, path: str, broker: Broker) -> None:
    """A 404 outside the prefix is handled by the app's own error handler."""
    app = make_app(broker, url_prefix=prefix)
    app.register_error_handler(404, lambda error: ("the app's own", 404))
    response = app.test_client().get(path)
    assert (response.status_code, response.text) == (404, "the app's own")


def test_app_route_below_prefix_still_works(broker: Broker) -> None:
    app = make_app(broker, url_prefix="/broker")
    app.add_url_rule("/broker/health", view_func=lambda: "fine", endpoint="health")
    assert app.test_client().get("/broker/health").text == "fine"


ALLOWED = {
    "/v2/catalog": "GET, HEAD",
    INSTANCE: "GET, HEAD, PUT, PATCH, DELETE",
    f"{INSTANCE}/last_operation": "GET, HEAD",
    BINDING: "GET, HEAD, PUT, DELETE",
    f"{BINDING}/last_operation": "GET, HEAD",
    "/v2/service_instances/a%2Fb": "GET, HEAD, PUT, PATCH, DELETE",
}


@pytest.mark.parametrize(
    ("path", "allowed", "method"),
    [
        (path, allowed, method)
        for path, allowed in ALLOWED.items()
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
        if method not in allowed.split(", ")
    ],
)
@pytest.mark.parametrize("prefix", ["", "/broker"])
def test_unsupported_method_is_json_405_with_allow(
    path: str, allowed: str, method: str, prefix: str, broker: Broker, recorder: Recorder
) -> None:
    platform = Platform(make_app(broker, url_prefix=prefix or None))
    response = platform.send(method, prefix + path)
    assert response.status_code == 405
    assert sorted(response.headers["Allow"].split(", ")) == sorted(allowed.split(", "))
    assert error_of(response)["error"] == "MethodNotAllowed"
    assert not recorder.requests


@pytest.mark.parametrize("sample", [sample for sample in ENDPOINTS if sample.method == "GET"])
def test_head_request_matches_get_without_body(sample: SampleRequest, platform: Platform) -> None:
    """A HEAD response has the headers of the GET response and no body."""
    full = sample.send(platform)
    head = sample._replace(method="HEAD").send(platform)
    assert head.status_code == 200
    assert head.data == b""
    assert dict(head.headers) == dict(full.headers)


@pytest.mark.rule("R-CAT-8")
@pytest.mark.parametrize("written", ["{}", "W/{}", '"other", {}', '"other", W/{}', "*"])
def test_catalog_with_matching_etag_is_304(written: str, platform: Platform) -> None:
    """A weak ETag matches too, because a compressing proxy weakens it. Other endpoints ignore the header."""
    etag = platform.get("/v2/catalog").headers["ETag"]
    headers: dict[str, str | None] = {"If-None-Match": written.format(etag)}
    assert platform.get("/v2/catalog", headers=headers).status_code == 304
    assert platform.get(INSTANCE, headers=headers).status_code == 200


@pytest.mark.rule("R-CAT-8")
@pytest.mark.parametrize("written", ["", '"other"', "W/", "\xff", ",,"])
def test_catalog_with_other_etag_is_200(written: str, platform: Platform) -> None:
    response = platform.get("/v2/catalog", headers={"If-None-Match": written})
    assert response.status_code == 200


# How much may come in


@pytest.mark.parametrize(
    ("limit", "size", "status"),
    [(1024, 1024, 201), (1024, 1025, 413), (None, 1024 * 1024, 201), (None, 1024 * 1024 + 1, 413)],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_body_over_limit_is_413(
    limit: int | None, size: int, status: int, chunked: bool, recorder: Recorder
) -> None:
    """The limit applies to bodies with a content length and to chunked bodies."""
    settings = {} if limit is None else {"max_body": limit}
    platform = Platform(make_app(make_broker(recorder, **settings)))
    data = msgspec.json.encode(PROVISION).ljust(size)
    if chunked:
        response = platform.put(
            INSTANCE,
            environ={
                "wsgi.input": io.BytesIO(data),
                "wsgi.input_terminated": True,
                "CONTENT_TYPE": "application/json",
                "CONTENT_LENGTH": "",
            },
        )
    else:
        response = platform.put(INSTANCE, data=data)
    assert response.status_code == status
    assert len(recorder.requests) == (status == 201)
    if status == 413:
        assert "1,0" in error_of(response)["description"]


class Disconnected(io.RawIOBase):
    """The body of an interrupted connection: reads fail, or return less than the declared length."""

    def __init__(self, data: bytes, error: Exception | None) -> None:
        self.data = data
        self.error = error

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self.data and self.error is not None:
            raise self.error
        piece, self.data = self.data[:20], self.data[20:]
        buffer[: len(piece)] = piece
        return len(piece)


@pytest.mark.rule("R-REQ-6")
@pytest.mark.parametrize(
    ("missing", "error", "status"),
    [
        (1, None, 400),
        (1, OSError("hung up"), 400),
        (1, ConnectionResetError(), 400),
        pytest.param(0, None, 201, id="all of it, in pieces"),
    ],
)
def test_incomplete_body_is_400(
    missing: int, error: Exception | None, status: int, platform: Platform, recorder: Recorder
) -> None:
    """A connection closed before the whole body arrived gets 400 and reaches no handler."""
    data = msgspec.json.encode(PROVISION)
    environ = {
        "wsgi.input": Disconnected(data[: len(data) - missing], error),
        "CONTENT_LENGTH": str(len(data)),
        "CONTENT_TYPE": "application/json",
    }
    assert platform.put(INSTANCE, environ=environ).status_code == status
    assert len(recorder.requests) == (status == 201)


@pytest.mark.parametrize("limit", [10, 5 * 1024 * 1024])
def test_body_limit_ignores_app_max_content_length(limit: int, broker: Broker) -> None:
    app = make_app(broker)
    app.config["MAX_CONTENT_LENGTH"] = limit
    platform = Platform(app)
    assert platform.put(INSTANCE, PROVISION).status_code == 201
    assert platform.put(INSTANCE, data=b" " * (1024 * 1024 + 1)).status_code == 413


@pytest.mark.parametrize("limit", [0, -1])
def test_broker_refuses_non_positive_max_body(limit: int, recorder: Recorder) -> None:
    with pytest.raises(ValueError, match="max_body"):
        make_broker(recorder, max_body=limit)


# Ids


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("0e8a8c1e-7a35-4a33-a9a4-3bd0e0a1f101", "0e8a8c1e-7a35-4a33-a9a4-3bd0e0a1f101"),
        ("~._-", "~._-"),
        ("a%20b+c", "a b+c"),
        ("%2525", "%25"),
        ("%3F%23%26", "?#&"),
        ("%00", "\0"),
        ("a%0Ab", "a\nb"),
        ("%0A", "\n"),
        ("a%0D%0ASet-Cookie:%20x", "a\r\nSet-Cookie: x"),
        ("%C3%A9", "é"),
        ("%F0%9F%92%A5", "💥"),
        ("%EF%BF%BD", "\ufffd"),
        ("..", ".."),
        ("a%5Cb", "a\\b"),
        ("%3Cinstance_id%3E", "<instance_id>"),
        ("v2", "v2"),
        ("a%2Fb", "a/b"),
        ("a%2fb", "a/b"),
        ("%2F", "/"),
        ("%2F%2F", "//"),
        ("a%2F", "a/"),
        ("%2Fa", "/a"),
        ("..%2F..%2Fcatalog", "../../catalog"),
        ("%252F", "%2F"),
        ("a%252Fb%2Fc", "a%2Fb/c"),
        ("%C3%A9%2F%F0%9F%92%A5", "é/💥"),
        ("a%2Flast_operation", "a/last_operation"),
        ("a%2Fservice_bindings%2Fb", "a/service_bindings/b"),
        ("a%2F%00%0A", "a/\0\n"),
    ],
)
@pytest.mark.parametrize("root", ["", "/root", "/caf%C3%A9", "/a%2520b", "/a%2Fb"])
def test_encoded_ids_reach_handler_decoded(
    sent: str, expected: str, root: str, platform: Platform, recorder: Recorder
) -> None:
    """Percent-encoded ids, also with slashes, are decoded once for every operation and every script root."""

    def ask(method: str, path: str, query: str = "", body: Any = None) -> int:
        environ = wsgi_path(root, path)
        return platform.send(method, "/", body, query=query, environ=environ).status_code

    instance = f"/v2/service_instances/{sent}"
    binding = f"{instance}/service_bindings/{sent}"
    query = "service_id=db-id&plan_id=small-id"
    assert ask("PUT", instance, body=PROVISION) == 201
    assert ask("GET", instance) == 200
    assert ask("PATCH", instance, body=IDS) == 200
    assert ask("GET", f"{instance}/last_operation") == 200
    assert ask("DELETE", instance, query) == 200
    assert [request.instance_id for request in recorder.requests] == [expected] * 5
    recorder.requests.clear()
    assert ask("PUT", binding, body=IDS) == 201
    assert ask("GET", binding) == 200
    assert ask("GET", f"{binding}/last_operation") == 200
    assert ask("DELETE", binding, query) == 200
    assert [request.instance_id for request in recorder.requests] == [expected] * 4
    assert [request.binding_id for request in recorder.requests] == [expected] * 4


def wsgi_path(root: str, path: str, raw: str = "REQUEST_URI") -> dict[str, str]:
    """Build the variables of a WSGI server for a path below a root: decoded and, in `raw`, as it was sent."""
    environ = {"REQUEST_URI": "", "RAW_URI": ""}
    environ["SCRIPT_NAME"] = unquote_to_bytes(root).decode("latin-1")
    environ["PATH_INFO"] = unquote_to_bytes(path).decode("latin-1")
    if raw:
        environ[raw] = f"{root}{path}"
    return environ


@pytest.mark.parametrize(
    ("uri", "path_info", "expected"),
    [
        # waitress and gunicorn say it in their own ways, with and without a query string,
        ("/v2/service_instances/a%2Fb?x=%2F", "/v2/service_instances/a/b", "a/b"),
        ("http://host/v2/service_instances/a%2Fb", "/v2/service_instances/a/b", "a/b"),
        # the bytes may come as they are, not encoded,
        ("/v2/service_instances/\xc3\xa9%2Fb", "/v2/service_instances/\xc3\xa9/b", "é/b"),
        # and a proxy may have changed the path since: then only the decoded one counts.
        ("/elsewhere/a%2Fb", "/v2/service_instances/a", "a"),
        ("/v2/service_instances/x%2Fy", "/v2/service_instances/a", "a"),
        ("//v2%2F", "/v2/service_instances/a", "a"),
        ("%2F", "/v2/service_instances/a", "a"),
        ("http://[%2F", "/v2/service_instances/a", "a"),
        ("*", "/v2/service_instances/a", "a"),
    ],
)
@pytest.mark.parametrize("raw", ["REQUEST_URI", "RAW_URI"])
def test_raw_uri_is_used_only_if_matching(
    uri: str, path_info: str, expected: str, raw: str, platform: Platform, recorder: Recorder
) -> None:
    """The server's raw URI is used only if it decodes to the same path."""
    environ = {"REQUEST_URI": "", "RAW_URI": "", "PATH_INFO": path_info, raw: uri}
    assert platform.put("/", PROVISION, environ=environ).status_code == 201
    assert recorder.request.instance_id == expected


def test_server_without_raw_uri_serves_slashless_ids(platform: Platform, recorder: Recorder) -> None:
    """Without a raw URI, ids with an encoded slash get 404; all others work."""
    for sent, expected in [("a%20b", "a b"), ("%C3%A9", "é"), ("%00", "\0")]:
        environ = wsgi_path("/root", f"/v2/service_instances/{sent}", raw="")
        assert platform.put("/", PROVISION, environ=environ).status_code == 201
        assert recorder.requests.pop().instance_id == expected
    environ = wsgi_path("/root", "/v2/service_instances/a%2Fb", raw="")
    assert platform.put("/", PROVISION, environ=environ).status_code == 404
    assert not recorder.requests


@pytest.mark.parametrize("slash", ["", "%2F"])
def test_id_of_1_mib_reaches_handler(slash: str, platform: Platform, recorder: Recorder) -> None:
    long = "x" * 1024 * 1024 + slash
    assert platform.put(f"/v2/service_instances/{long}", PROVISION).status_code == 201
    assert recorder.request.instance_id == long.replace("%2F", "/")


@pytest.mark.rule("R-REQ-6")
@pytest.mark.parametrize("bad", ["\xff", "a\xc3", "\xed\xa0\x80", "\xc0\xaf", "\xf8\x88\x80\x80"])
@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("sample", WITH_ID, ids=lambda sample: sample.operation)
def test_non_utf_8_instance_id_is_400(
    sample: SampleRequest, bad: str, raw: bool, platform: Platform, recorder: Recorder
) -> None:
    """Replacement characters would make different ids equal, so such an id is refused."""
    path = sample.path.replace("i1", bad)
    environ = {"PATH_INFO": path, "RAW_URI": "", "REQUEST_URI": ""}
    if raw:
        environ["REQUEST_URI"] = quote(path, encoding="latin-1")
    response = sample.send(platform, environ=environ)
    assert response.status_code == 400
    assert "UTF-8" in error_of(response)["description"]
    assert not recorder.requests


@pytest.mark.rule("R-REQ-6")
@pytest.mark.parametrize("raw", ["", "REQUEST_URI"])
def test_non_utf_8_binding_id_is_400(raw: str, platform: Platform, recorder: Recorder) -> None:
    path = "/v2/service_instances/a%2Fb/service_bindings/%FF%2F"
    environ = wsgi_path("", path if raw else path.replace("%2F", ""), raw=raw)
    assert platform.put("/", IDS, environ=environ).status_code == 400
    assert not recorder.requests


# Hooks and handlers of the app


def _forbid() -> None:
    abort(403, "Not from here.")


def _slow_down() -> None:
    raise TooManyRequests(retry_after=30)


def _unauthorized() -> None:
    abort(401)


def _gone() -> None:
    abort(410)


def _crash() -> None:
    raise OSError("hunter2")


@pytest.mark.parametrize("path", ["/v2/catalog", "/v2/nothing", "/v2/service_instances/a%2Fb"])
@pytest.mark.parametrize(
    ("hook", "status", "description"),
    [
        (_forbid, 403, "Not from here."),
        (_slow_down, 429, "allotted request count"),
        (_unauthorized, 401, "authorize"),
        (_gone, 410, ""),
        (_crash, 500, "See its log for the cause"),
    ],
)
@pytest.mark.parametrize("testing", [True, False])
def test_before_request_hook_error_is_json(
    path: str,
    hook: Callable[[], None],
    status: int,
    description: str,
    testing: bool,
    broker: Broker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An abort or exception in a `before_request` hook gets a JSON error without internal details."""
    app = make_app(broker)
    app.config["TESTING"] = testing
    app.before_request(hook)
    response = Platform(app).get(path)
    assert response.status_code == status
    assert description in error_of(response).get("description", "")
    assert "hunter2" not in response.text
    assert ("hunter2" in caplog.text) == (status == 500)
    if status == 429:
        assert response.headers["Retry-After"] == "30"
        assert response.headers.getlist("Content-Type") == ["application/json"]


def test_after_request_hook_error_is_json(broker: Broker) -> None:
    app = make_app(broker)

    @app.after_request
    def crash(response: Any) -> Any:
        raise OSError("hunter2")

    response = Platform(app).get("/v2/catalog")
    assert response.status_code == 500
    assert error_of(response)["description"]
    assert "hunter2" not in response.text


@pytest.mark.parametrize("kind", [404, 405, 500, Exception])
def test_app_error_handlers_leave_broker_responses_unchanged(
    kind: int | type[Exception], broker: Broker, recorder: Recorder
) -> None:
    app = make_app(broker)
    app.register_error_handler(kind, lambda error: ("<h1>Oops</h1>", 418))
    platform = Platform(app)
    recorder.answers["provision"] = RuntimeError()
    assert platform.get("/v2/nothing").status_code == 404
    assert platform.send("POST", "/v2/catalog").status_code == 405
    assert platform.put(INSTANCE, PROVISION).status_code == 500


@pytest.mark.parametrize("host", ["localhost", "", "\xff", "a b", "[::1", "[::1]", "evil:port"])
def test_any_host_header_gets_json_response(host: str, platform: Platform) -> None:
    response = platform.get("/v2/catalog", environ={"HTTP_HOST": host})
    assert response.status_code in (200, 400)


def test_app_slash_settings_do_not_affect_broker(broker: Broker, recorder: Recorder) -> None:
    """The `strict_slashes` setting and merged slashes of the app cause no redirect under the prefix."""
    app = make_app(broker, url_prefix="/broker")
    app.url_map.strict_slashes = False
    app.add_url_rule("/page/", view_func=lambda: "page", endpoint="page")
    platform = Platform(app)
    assert platform.get("/broker/v2//catalog").status_code == 404
    assert platform.put(f"/broker{INSTANCE}", PROVISION).status_code == 201
    assert recorder.request.instance_id == "i1"


def test_broker_responses_survive_strict_app_config(recorder: Recorder) -> None:
    """TRAP_HTTP_EXCEPTIONS, TRAP_BAD_REQUEST_ERRORS and DEBUG do not change the broker's responses."""
    recorder.answers["provision"] = Provisioned(dashboard_url="https://d")
    plans = [ServicePlan(id="small-id", name="small", description="…")]
    app = make_app(make_broker(recorder, make_offering(plans=plans)))
    app.config.update(TRAP_HTTP_EXCEPTIONS=True, TRAP_BAD_REQUEST_ERRORS=True, DEBUG=True)
    platform = Platform(app)
    assert platform.put(INSTANCE, PROVISION).json == {"dashboard_url": "https://d"}
    assert platform.put(INSTANCE, data=b"{").status_code == 400
    assert platform.put(INSTANCE, data=b" " * 2_000_000).status_code == 413
    assert platform.get("/v2/nothing").status_code == 404


# Paths outside of the prefix


@pytest.mark.parametrize("path", ["/", "/nope", "/v3/catalog"])
def test_broker_only_app_returns_json_404(broker: Broker, path: str) -> None:
    """An app without other routes answers every unknown path in JSON."""
    response = Platform(make_app(broker)).get(path)
    assert response.status_code == 404
    assert error_of(response)["description"]


def test_app_with_pages_keeps_html_404(broker: Broker) -> None:
    app = make_app(broker)
    app.add_url_rule("/about", "about", lambda: "about us")
    assert app.test_client().get("/nope").content_type == "text/html; charset=utf-8"


@pytest.mark.parametrize("first", [True, False])
def test_app_404_handler_applies_outside_api(broker: Broker, first: bool) -> None:
    """The app's handler applies whether it is registered before or after the blueprint."""
    app = Flask("tests")
    if first:
        app.register_error_handler(404, lambda error: ("ours", 404))
    app.register_blueprint(broker.blueprint)
    if not first:
        app.register_error_handler(404, lambda error: ("ours", 404))
    assert app.test_client().get("/nope").data == b"ours"
    assert Platform(app).get("/v2/nope").status_code == 404


def test_app_page_route_causes_no_405(broker: Broker) -> None:
    """A request for an app page never gets a 405 from the broker."""
    app = make_app(broker)
    app.add_url_rule("/<slug>", "page", lambda slug: slug)
    response = Platform(app).get("/v2%2Fcatalog")
    assert response.status_code in (200, 404)  # the page, or nothing; never a method that is not allowed


@pytest.mark.rule("R-REQ-6")
def test_server_exception_while_reading_body_is_400(platform: Platform) -> None:
    """Any exception of the WSGI server while reading the body gets 400."""

    class BrokenChunk(Exception):
        """As gunicorn's: neither an OSError nor werkzeug's."""

    class Broken(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise BrokenChunk

    environ = {"wsgi.input": Broken(), "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    response = platform.put(
        "/v2/service_instances/i1", headers={"Content-Type": "application/json"}, environ=environ
    )
    assert response.status_code == 400
    assert error_of(response)["description"] == "The body is incomplete; the connection was interrupted."


NOT_ROUTED = [
    {"HTTP_UPGRADE": "websocket", "HTTP_CONNECTION": "Upgrade"},
    {"HTTP_HOST": f"{'a' * 64}.example.org"},
    {"HTTP_HOST": "a..b"},
]


@pytest.mark.rule("R-REQ-2", "R-REQ-4")
@pytest.mark.parametrize("environ", NOT_ROUTED)
@pytest.mark.parametrize("prefix", [None, "/broker"])
def test_unroutable_request_is_authenticated_first(
    broker: Broker, environ: dict[str, str], prefix: str | None
) -> None:
    """Requests refused by Flask before routing get 401 without credentials and 400 with them."""
    platform = Platform(make_app(broker, url_prefix=prefix))
    path, identity = f"{prefix or ''}/v2/catalog", "X-Broker-API-Request-Identity"
    stranger = platform.get(path, headers={"Authorization": None, identity: "r1"}, environ=environ)
    assert stranger.status_code == 401
    known = platform.get(path, headers={identity: "r2"}, environ=environ)
    assert known.status_code == 400
    assert (stranger.headers[identity], known.headers[identity]) == ("r1", "r2")


def test_unroutable_request_outside_prefix_belongs_to_app(broker: Broker) -> None:
    app = make_app(broker, url_prefix="/broker")
    response = app.test_client().get("/page", environ_overrides={"HTTP_HOST": "a..b"})
    assert (response.status_code, response.content_type) == (400, "text/html; charset=utf-8")


def test_app_page_400_stays_html(broker: Broker) -> None:
    app = make_app(broker)
    app.add_url_rule("/page", "page", lambda: abort(400))
    assert app.test_client().get("/page").content_type == "text/html; charset=utf-8"


@pytest.mark.parametrize("status", [400, 403, 404, 418, 503])
@pytest.mark.parametrize("prefix", [None, "/broker"])
@pytest.mark.parametrize("handled", [True, False])
def test_hook_abort_is_json_despite_app_handler(
    broker: Broker, status: int, prefix: str | None, handled: bool
) -> None:
    """An abort in a hook is answered in JSON under the prefix, even if the app handles that status."""
    app = Flask("tests")
    if handled:
        app.register_error_handler(status, lambda error: ("<p>ours</p>", status))
    app.register_blueprint(broker.blueprint, url_prefix=prefix)
    app.before_request(lambda: abort(status))
    response = Platform(app).get(f"{prefix or ''}/v2/catalog")
    assert response.status_code == status
    assert error_of(response)["description"]


def test_hook_abort_with_non_text_is_json(broker: Broker) -> None:
    app = make_app(broker)
    app.before_request(lambda: abort(400, {"a": 1}))
    response = Platform(app).get("/v2/catalog")
    assert (response.status_code, error_of(response)) == (400, {"description": "Bad Request"})


def test_hook_raising_invalid_broker_error_is_500(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    """A BrokerError with an empty description cannot be encoded. The log names the hook."""
    app = make_app(broker)

    @app.before_request
    def fail() -> None:
        error = BrokerError("Closed.")
        error.description = ""
        raise error

    assert Platform(app).get("/v2/catalog").status_code == 500
    assert "a hook of the app" in caplog.text


def test_every_broker_answers_unroutable_requests() -> None:
    """Each broker of an app answers requests refused by Flask before routing."""
    app = Flask("tests")
    for prefix in ("/a", "/b"):
        app.register_blueprint(make_broker(Recorder()).blueprint, url_prefix=prefix)
    for prefix in ("/a", "/b"):
        assert Platform(app).get(f"{prefix}/v2/catalog", environ={"HTTP_HOST": "a..b"}).status_code == 400
