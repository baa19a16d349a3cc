"""The rules for every request (R-REQ)."""

from __future__ import annotations

import base64
import io
from typing import Any, NamedTuple

import msgspec
import pytest
from flask import Flask, abort
from werkzeug.test import TestResponse

from brokerkit import (
    Accepted,
    AsyncRequired,
    Broker,
    BrokerError,
    InstanceAlreadyExists,
    InstanceDoesNotExist,
    OriginatingIdentity,
    ServicePlan,
)

from ..support.broker import (
    BINDING,
    DELETE_QUERY,
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


class SampleRequest(NamedTuple):
    """A valid request for an endpoint."""

    operation: str
    method: str
    path: str
    query: str = ""
    body: dict[str, Any] | None = None

    def send(self, platform: Platform, **more: Any) -> TestResponse:
        arguments = {"query": self.query, **({"body": self.body} if "data" not in more else {})}
        return platform.send(self.method, self.path, **{**arguments, **more})


ENDPOINTS = (
    SampleRequest("catalog", "GET", "/v2/catalog"),
    SampleRequest("provision", "PUT", INSTANCE, body=PROVISION),
    SampleRequest("get_instance", "GET", INSTANCE),
    SampleRequest("update", "PATCH", INSTANCE, body=IDS),
    SampleRequest("deprovision", "DELETE", INSTANCE, DELETE_QUERY),
    SampleRequest("last_operation", "GET", f"{INSTANCE}/last_operation"),
    SampleRequest("bind", "PUT", BINDING, body=IDS),
    SampleRequest("get_binding", "GET", BINDING),
    SampleRequest("unbind", "DELETE", BINDING, DELETE_QUERY),
    SampleRequest("last_binding_operation", "GET", f"{BINDING}/last_operation"),
)
BY_OPERATION = {sample.operation: sample for sample in ENDPOINTS}
WITH_BODY = tuple(sample for sample in ENDPOINTS if sample.body is not None)
CHANGES = tuple(sample for sample in ENDPOINTS if sample.method != "GET")

every_endpoint = pytest.mark.parametrize("sample", ENDPOINTS, ids=lambda sample: sample.operation)
every_body = pytest.mark.parametrize("sample", WITH_BODY, ids=lambda sample: sample.operation)
every_change = pytest.mark.parametrize("sample", CHANGES, ids=lambda sample: sample.operation)

VERSION = "X-Broker-API-Version"
IDENTITY = "X-Broker-API-Originating-Identity"
REQUEST_IDENTITY = "X-Broker-API-Request-Identity"


def identity(platform: str, value: object) -> str:
    raw = value if isinstance(value, bytes) else msgspec.json.encode(value)
    return f"{platform} {base64.b64encode(raw).decode()}"


@every_endpoint
def test_every_endpoint_accepts_valid_request(sample: SampleRequest, platform: Platform) -> None:
    assert sample.send(platform).status_code in (200, 201)


# R-REQ-1


@pytest.mark.rule("R-REQ-1")
@pytest.mark.parametrize(
    "version", [None, "", " ", "2", "2.", ".17", "2.x", "v2.17", "2.17.0", "-2.17", "2.17, 2.16"]
)
def test_missing_or_malformed_api_version_is_400(
    version: str | None, platform: Platform, recorder: Recorder
) -> None:
    """The description says that the header is required; no handler is called."""
    for sample in ENDPOINTS:
        response = sample.send(platform, headers={VERSION: version})
        assert response.status_code == 400
        assert f"{VERSION} is required" in error_of(response)["description"]
    assert not recorder.requests


@pytest.mark.rule("R-REQ-1")
@pytest.mark.parametrize("version", ["1.17", "3.0", "0.0", "2.12", "2.0", "20.17"])
def test_unsupported_api_version_is_412(version: str, platform: Platform, recorder: Recorder) -> None:
    """The description names the minimum version; no handler is called."""
    for sample in ENDPOINTS:
        response = sample.send(platform, headers={VERSION: version})
        assert response.status_code == 412
        assert "2.13 or later" in error_of(response)["description"]
    assert not recorder.requests


@pytest.mark.rule("R-REQ-1")
@pytest.mark.parametrize("version", ["2.13", "2.14", "2.15", "2.17", "2.99", " 2.17 "])
def test_later_minor_api_version_is_accepted(version: str, platform: Platform, recorder: Recorder) -> None:
    response = platform.put(INSTANCE, PROVISION, headers={VERSION: version})
    assert response.status_code == 201
    assert recorder.request.headers.api_version.strip() == version.strip()


@pytest.mark.rule("R-REQ-1")
@pytest.mark.parametrize(("version", "status"), [("2.14", 412), ("2.15", 200), ("2.16", 200)])
def test_minimum_api_version_is_configurable(version: str, status: int, recorder: Recorder) -> None:
    platform = Platform(make_app(make_broker(recorder, minimum_api_version="2.15")))
    response = platform.get("/v2/catalog", headers={VERSION: version})
    assert response.status_code == status
    if status == 412:
        assert "2.15 or later" in error_of(response)["description"]


@pytest.mark.rule("R-REQ-1")
@pytest.mark.parametrize("version", ["", "2", "two", "3.1"])
def test_broker_refuses_invalid_minimum_api_version(version: str, recorder: Recorder) -> None:
    with pytest.raises(ValueError, match="minimum_api_version"):
        make_broker(recorder, minimum_api_version=version)


# R-REQ-2, and the order of the checks


@pytest.mark.rule("R-REQ-2")
@pytest.mark.parametrize(
    "authorization", [None, "", "Basic", "Basic !", basic("platform", "wrong"), "Bearer s3cret"]
)
def test_unauthenticated_request_is_401_with_challenge(
    authorization: str | None, platform: Platform, recorder: Recorder
) -> None:
    for sample in ENDPOINTS:
        response = sample.send(platform, headers={"Authorization": authorization})
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith("Basic realm=")
        assert error_of(response)["error"] == "Unauthenticated"
    assert not recorder.requests


@pytest.mark.rule("R-REQ-2")
@pytest.mark.parametrize(
    ("method", "path", "more"),
    [
        ("GET", "/v2/catalog", {"headers": {VERSION: None}}),
        ("GET", "/v2/catalog", {"headers": {VERSION: "9.9"}}),
        ("GET", "/v2/catalog", {"headers": {IDENTITY: "?"}}),
        ("PUT", INSTANCE, {"data": b"{"}),
        ("PUT", INSTANCE, {"data": b" " * 2_000_000}),
        ("PUT", INSTANCE, {"data": b"{}", "headers": {"Content-Type": "text/plain"}}),
        ("DELETE", INSTANCE, {"query": "service_id=1&service_id=2"}),
        ("GET", "/v2/nothing", {}),
        ("POST", "/v2/catalog", {}),
        ("PUT", "/v2/service_instances/a%2Fb", {"body": PROVISION}),
    ],
)
def test_authentication_precedes_all_other_checks(
    method: str, path: str, more: dict[str, Any], platform: Platform
) -> None:
    del platform.headers["Authorization"]
    assert platform.send(method, path, **more).status_code == 401


@pytest.mark.rule("R-REQ-1", "R-REQ-3", "R-REQ-6")
@pytest.mark.parametrize(
    ("headers", "data", "status", "description"),
    [
        ({VERSION: None, IDENTITY: "?"}, b"{", 400, VERSION),
        ({VERSION: "3.0", IDENTITY: "?"}, b"{", 412, "version 2.13"),
        ({IDENTITY: "?", "Content-Type": "text/plain"}, b"{", 400, IDENTITY),
        ({"Content-Type": "text/plain"}, b" " * 2_000_000, 400, "Content-Type"),
        ({}, b"{" * 2_000_000, 413, "larger"),
        ({}, b'{"service_id": "nope", "plan_id": 1}', 400, "plan_id: expected"),
        ({}, b'{"service_id": "nope", "plan_id": "nope"}', 400, "service_id: The catalog has no"),
    ],
)
def test_request_checks_run_in_order(
    headers: dict[str, str | None], data: bytes, status: int, description: str, platform: Platform
) -> None:
    """The version is checked first, then the other headers, then the body."""
    response = platform.put(INSTANCE, data=data, headers=headers)
    assert response.status_code == status
    assert description in error_of(response)["description"]


@pytest.mark.rule("R-REQ-2")
def test_username_reaches_handler(platform: Platform, recorder: Recorder) -> None:
    platform.put(INSTANCE, PROVISION)
    assert recorder.request.headers.username == "platform"


# R-REQ-3


@pytest.mark.rule("R-REQ-3")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cloudfoundry", {"user_id": "683ea748-3092-4ff4-b656-39cacc4d5360"}),
        (
            "kubernetes",
            {"username": "duke", "uid": "c2d", "groups": ["admin"], "extra": {"my": ["é"]}},
        ),
        ("someone-else", {}),
    ],
)
@every_change
def test_originating_identity_is_decoded(
    sample: SampleRequest, name: str, value: dict[str, Any], platform: Platform, recorder: Recorder
) -> None:
    sample.send(platform, headers={IDENTITY: identity(name, value)})
    originating_identity = recorder.request.headers.originating_identity
    assert originating_identity == OriginatingIdentity(name, value)


@pytest.mark.rule("R-REQ-3")
def test_originating_identity_is_optional(platform: Platform, recorder: Recorder) -> None:
    platform.put(INSTANCE, PROVISION)
    assert recorder.request.headers.originating_identity is None


@pytest.mark.rule("R-REQ-3")
@pytest.mark.parametrize(
    "header",
    [
        "",
        "cloudfoundry",
        "cloudfoundry !!!!",
        "cloudfoundry eyJ1c2VyX2lkIjo",  # cut off
        "cloudfoundry eyJhIjoxfQ==, kubernetes eyJhIjoxfQ==",
        "cloudfoundry \xe9",
        identity("cloudfoundry", []),
        identity("cloudfoundry", "me"),
        identity("cloudfoundry", None),
        identity("cloudfoundry", b"not JSON"),
        identity("cloudfoundry", b'{"user_id": "\xff"}'),
        identity("cloudfoundry", b'{"user_id": NaN}'),
        identity("cloudfoundry", b'{"a":' * 5000 + b"1" + b"}" * 5000),
        identity("", {"user_id": "me"}),
    ],
)
@pytest.mark.parametrize("sample", [BY_OPERATION["provision"], BY_OPERATION["catalog"]])
def test_malformed_originating_identity_is_400(
    sample: SampleRequest, header: str, platform: Platform, recorder: Recorder
) -> None:
    response = sample.send(platform, environ={"HTTP_X_BROKER_API_ORIGINATING_IDENTITY": header})
    assert response.status_code == 400
    assert IDENTITY in error_of(response)["description"]
    assert not recorder.requests


@pytest.mark.rule("R-REQ-3", "R-REQ-10")
@pytest.mark.parametrize(
    ("context", "right"),
    [
        ({"platform": "cloudfoundry"}, True),
        ({"platform": "kubernetes"}, False),
        ({"platform": 5}, False),
        ({}, True),
        (None, True),
        pytest.param({"platform": None}, True, id="null is absent, R-REQ-10"),
    ],
)
@every_body
def test_identity_platform_must_match_context_platform(
    sample: SampleRequest,
    context: dict[str, Any] | None,
    right: bool,
    platform: Platform,
    recorder: Recorder,
) -> None:
    """A `context.platform` other than the header's platform gets 400; an absent one is accepted."""
    response = sample.send(
        platform,
        body={**(sample.body or {}), "context": context},
        headers={IDENTITY: identity("cloudfoundry", {"user_id": "u"})},
    )
    if right:
        assert response.status_code in (200, 201)
    else:
        assert response.status_code == 400
        assert "context.platform" in error_of(response)["description"]
        assert not recorder.requests


# R-REQ-4


def _abort() -> None:
    abort(403)


def _crash() -> None:
    raise OSError("disk full")


@pytest.mark.rule("R-REQ-4")
@pytest.mark.parametrize(
    ("status", "sample", "more", "answer"),
    [
        (200, "catalog", {}, None),
        (200, "get_instance", {}, None),
        (201, "provision", {}, None),
        (202, "provision", {"query": "accepts_incomplete=true"}, Accepted(operation="job")),
        (400, "provision", {"data": b"{"}, None),
        (400, "catalog", {"headers": {VERSION: None}}, None),
        (401, "catalog", {"headers": {"Authorization": None}}, None),
        (404, "catalog", {"path": "/v2/nothing"}, None),
        (404, "catalog", {"path": "/v2/catalog%2Fx"}, None),
        (404, "get_instance", {}, InstanceDoesNotExist()),
        (405, "catalog", {"method": "POST"}, None),
        (409, "provision", {}, InstanceAlreadyExists()),
        (410, "deprovision", {}, InstanceDoesNotExist()),
        (412, "catalog", {"headers": {VERSION: "1.0"}}, None),
        (413, "provision", {"data": b" " * 2_000_000}, None),
        (422, "provision", {}, AsyncRequired()),
        (500, "provision", {}, RuntimeError("boom")),
        (503, "provision", {}, BrokerError("Come back later.", status=503)),
    ],
)
def test_request_identity_is_returned_with_every_status(
    status: int,
    sample: str,
    more: dict[str, Any],
    answer: object,
    platform: Platform,
    recorder: Recorder,
) -> None:
    recorder.answers[sample] = answer or recorder.answers.get(sample)
    fields = {key: more[key] for key in ("method", "path") if key in more}
    more = {key: more[key] for key in more if key not in fields}
    headers = {**more.pop("headers", {}), REQUEST_IDENTITY: "e26cee84-6b38-4456-b34e-d1a9f002c956"}
    response = BY_OPERATION[sample]._replace(**fields).send(platform, headers=headers, **more)
    assert response.status_code == status
    assert response.headers.getlist(REQUEST_IDENTITY) == ["e26cee84-6b38-4456-b34e-d1a9f002c956"]


@pytest.mark.rule("R-REQ-4", "R-CAT-8")
def test_request_identity_is_returned_with_304(platform: Platform) -> None:
    etag = platform.get("/v2/catalog").headers["ETag"]
    response = platform.get("/v2/catalog", headers={"If-None-Match": etag, REQUEST_IDENTITY: "r1"})
    assert response.status_code == 304
    assert response.headers[REQUEST_IDENTITY] == "r1"
    assert response.headers["ETag"] == etag
    assert response.data == b""


@pytest.mark.rule("R-REQ-4")
@pytest.mark.parametrize(("hook", "status"), [(_abort, 403), (_crash, 500)])
def test_request_identity_is_returned_after_hook_error(hook: Any, status: int, broker: Broker) -> None:
    app = make_app(broker)
    app.before_request(hook)
    response = Platform(app).get("/v2/catalog", headers={REQUEST_IDENTITY: "r1"})
    assert response.status_code == status
    assert response.headers[REQUEST_IDENTITY] == "r1"


@pytest.mark.rule("R-REQ-4")
@pytest.mark.parametrize("value", ["r1", "a b: c, d", "caf\xe9"])
def test_request_identity_reaches_handler_unchanged(
    value: str, platform: Platform, recorder: Recorder
) -> None:
    response = platform.put(INSTANCE, PROVISION, environ={"HTTP_X_BROKER_API_REQUEST_IDENTITY": value})
    assert response.headers[REQUEST_IDENTITY] == value
    assert recorder.request.headers.request_identity == value


@pytest.mark.rule("R-REQ-4")
@pytest.mark.parametrize("value", [None, ""])
def test_absent_request_identity_is_not_returned(
    value: str | None, platform: Platform, recorder: Recorder
) -> None:
    """An empty header counts as absent."""
    response = platform.put(INSTANCE, PROVISION, headers={REQUEST_IDENTITY: value})
    assert response.status_code == 201
    assert REQUEST_IDENTITY not in response.headers
    assert recorder.request.headers.request_identity is None


@pytest.mark.rule("R-REQ-4")
@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\nb", "a\x00b", "\x7f", "a\tb\r"])
def test_request_identity_with_control_characters_is_400(
    value: str, platform: Platform, recorder: Recorder
) -> None:
    """The value is not returned, so it cannot inject a response header."""
    response = platform.put(INSTANCE, PROVISION, environ={"HTTP_X_BROKER_API_REQUEST_IDENTITY": value})
    assert response.status_code == 400
    assert REQUEST_IDENTITY not in response.headers
    assert "Set-Cookie" not in response.headers
    assert not recorder.requests


# R-REQ-5


@pytest.mark.rule("R-REQ-5")
@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"X-Vcap-Request-Id": "f66::9d3c"}, "f66::9d3c"),
        ({"X-Correlation-ID": "c"}, "c"),
        ({"X-Request-ID": "r"}, "r"),
        ({"X-Request-ID": "r", "X-Correlation-ID": "c", "X-Vcap-Request-Id": "v"}, "v"),
        ({"X-Request-ID": "r", "X-Correlation-ID": "c", "X-Vcap-Request-Id": ""}, "c"),
    ],
)
def test_correlation_id_reaches_handler(
    headers: dict[str, str | None], expected: str | None, platform: Platform, recorder: Recorder
) -> None:
    """X-Vcap-Request-Id takes precedence over X-Correlation-ID and X-Request-ID."""
    platform.put(INSTANCE, PROVISION, headers=headers)
    assert recorder.request.headers.correlation_id == expected


@pytest.mark.rule("R-REQ-5")
@pytest.mark.parametrize("location", ["api.example.org/", None])
def test_api_info_location_reaches_handler(
    location: str | None, platform: Platform, recorder: Recorder
) -> None:
    """Trace headers in the same request are accepted."""
    headers = {"X-Api-Info-Location": location, "X-B3-TraceId": "4b", "X-B3-SpanId": "4b"}
    assert platform.put(INSTANCE, PROVISION, headers=headers).status_code == 201
    assert recorder.request.headers.info_location == location


# R-REQ-6


@pytest.mark.rule("R-REQ-6")
@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "Application/JSON",
        "application/merge-patch+json",
        None,
    ],
)
@every_body
def test_json_content_type_variants_are_accepted(
    sample: SampleRequest, content_type: str | None, platform: Platform
) -> None:
    """A body without a content type is accepted too."""
    response = sample.send(platform, headers={"Content-Type": content_type})
    assert response.status_code in (200, 201)


@pytest.mark.rule("R-REQ-6")
@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json", ";", "\xe9"],
)
@every_body
def test_other_content_type_is_400(
    sample: SampleRequest, content_type: str, platform: Platform, recorder: Recorder
) -> None:
    response = sample.send(platform, environ={"CONTENT_TYPE": content_type})
    assert response.status_code == 400
    assert "Content-Type" in error_of(response)["description"]
    assert not recorder.requests


@pytest.mark.rule("R-REQ-6")
@pytest.mark.parametrize("sample", [sample for sample in ENDPOINTS if sample.body is None])
def test_content_type_without_body_is_ignored(sample: SampleRequest, platform: Platform) -> None:
    assert sample.send(platform, headers={"Content-Type": "application/json"}).status_code == 200
    assert sample.send(platform, headers={"Content-Type": "text/plain"}).status_code == 200


@pytest.mark.rule("R-REQ-6")
@pytest.mark.parametrize(
    ("data", "description"),
    [
        (b"", "Send one JSON object"),
        (b"nonsense", "Send one JSON object"),
        (b'{"service_id": "db-id"', "Send one JSON object"),
        (b"{} {}", "Send one JSON object"),
        (b'{"service_id": "\xff"}', "Send one JSON object"),
        (b'\xef\xbb\xbf{"service_id": "db-id"}', "Send one JSON object"),
        ('{"service_id": "db-id"}'.encode("utf-16"), "Send one JSON object"),
        (b"[]", "the body: expected an object, got an array"),
        (b"null", "the body: expected an object, got null"),
        (b'"x"', "the body: expected an object, got a string"),
        (b"1", "the body: expected an object, got a number"),
        (b"true", "the body: expected an object, got true or false"),
        (b"{}", "service_id: is required"),
    ],
)
@every_body
def test_unreadable_body_is_400(
    sample: SampleRequest, data: bytes, description: str, platform: Platform, recorder: Recorder
) -> None:
    response = sample.send(platform, data=data)
    assert response.status_code == 400
    assert description in error_of(response)["description"]
    assert not recorder.requests


@pytest.mark.rule("R-REQ-6")
@pytest.mark.parametrize(
    ("operation", "field", "value", "place"),
    [
        *(
            (operation, field, value, field)
            for operation in ("provision", "update", "bind")
            for field, value in [
                ("service_id", 1),
                ("plan_id", ["small-id"]),
                ("parameters", "none"),
                ("parameters", []),
                ("context", []),
            ]
        ),
        ("provision", "organization_guid", 1, "organization_guid"),
        ("provision", "space_guid", {}, "space_guid"),
        ("provision", "context", {"organization_guid": 1}, "context.organization_guid"),
        ("provision", "maintenance_info", "1.0.0", "maintenance_info"),
        ("provision", "maintenance_info", {"version": 1}, "maintenance_info.version"),
        ("update", "maintenance_info", [], "maintenance_info"),
        ("update", "previous_values", [], "previous_values"),
        ("update", "previous_values", {"plan_id": 1}, "previous_values.plan_id"),
        ("bind", "app_guid", 1, "app_guid"),
        ("bind", "bind_resource", "app", "bind_resource"),
        ("bind", "bind_resource", {"route": 1}, "bind_resource.route"),
        ("bind", "bind_resource", {"app_guid": []}, "bind_resource.app_guid"),
        ("bind", "predecessor_binding_id", 1, "predecessor_binding_id"),
    ],
)
def test_field_of_wrong_type_is_400(
    operation: str, field: str, value: object, place: str, platform: Platform, recorder: Recorder
) -> None:
    """The description starts with the path of the field."""
    sample = BY_OPERATION[operation]
    body = {**(sample.body or {}), field: value}
    if place.startswith("context."):
        del body["organization_guid"]
    response = sample.send(platform, body=body)
    assert response.status_code == 400
    assert error_of(response)["description"].startswith(f"{place}: expected ")
    assert not recorder.requests


@pytest.mark.rule("R-REQ-6")
@pytest.mark.parametrize(
    "environ",
    [
        {"CONTENT_LENGTH": "many"},
        {"CONTENT_LENGTH": "-1"},
        {"CONTENT_LENGTH": "9" * 400},
        {"CONTENT_LENGTH": "1000"},  # and then the platform hangs up
    ],
)
def test_body_with_wrong_content_length_is_refused(
    environ: dict[str, Any], platform: Platform, recorder: Recorder
) -> None:
    """An invalid or too large content length gets 400 or 413."""
    response = platform.put(INSTANCE, PROVISION, environ=environ)
    assert response.status_code in (400, 413)
    assert not recorder.requests


def test_chunked_body_is_read(platform: Platform, recorder: Recorder) -> None:
    environ = {
        "wsgi.input": io.BytesIO(msgspec.json.encode(PROVISION)),
        "wsgi.input_terminated": True,
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": "",
    }
    assert platform.put(INSTANCE, environ=environ).status_code == 201
    assert recorder.request.space_guid == "s1"


# R-REQ-7


@pytest.mark.rule("R-REQ-7")
@pytest.mark.parametrize(
    ("operation", "more"),
    [
        (operation, more)
        for operation in ("provision", "update", "bind")
        for more in (
            {"x-new": {"deep": [1, None]}},
            {"": 1},
            {"context": {"platform": "cloudfoundry", "x-new": 1}},
        )
    ]
    + [
        ("provision", {"maintenance_info": {"version": "1.0.0", "x-new": 1}}),
        ("update", {"previous_values": {"plan_id": "small-id", "x-new": 1}}),
        ("bind", {"bind_resource": {"app_guid": "a", "x-new": 1}}),
    ],
)
def test_unknown_body_fields_are_ignored(
    operation: str, more: dict[str, Any], platform: Platform, recorder: Recorder
) -> None:
    """Unknown fields remain available to the handler in `request.body`."""
    sample = BY_OPERATION[operation]
    body = {**(sample.body or {}), **more}
    assert sample.send(platform, body=body).status_code in (200, 201)
    assert recorder.request.body == body


@pytest.mark.rule("R-REQ-7")
@every_endpoint
def test_unknown_query_parameters_are_ignored(sample: SampleRequest, platform: Platform) -> None:
    response = sample.send(platform, query=f"{sample.query}&x-new=1&x-new=2&=&&;")
    assert response.status_code in (200, 201)


# R-REQ-8


@pytest.mark.rule("R-REQ-8")
@every_change
@pytest.mark.parametrize(
    "more",
    [
        {"headers": {"Authorization": None}},
        {"headers": {VERSION: None}},
        {"headers": {VERSION: "1.0"}},
        {"headers": {IDENTITY: "?"}},
        {"method": "POST"},
        {"path": "/v2/service_instance/i1"},
        {"path": "/v2/service_instances/"},
        {"path": f"{INSTANCE}/"},
        {"body": {"service_id": "nope", "plan_id": "nope"}, "query": "service_id=x&plan_id=y"},
    ],
)
def test_request_refused_with_4xx_reaches_no_handler(
    sample: SampleRequest, more: dict[str, Any], platform: Platform, recorder: Recorder
) -> None:
    fields = {key: more[key] for key in ("method", "path", "body") if key in more}
    more = {key: more[key] for key in more if key not in fields}
    response = sample._replace(**fields).send(platform, **more)
    assert 400 <= response.status_code < 500
    assert not recorder.requests


# R-REQ-9


@pytest.mark.rule("R-REQ-9")
@every_change
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("accepts_incomplete=true", True),
        ("accepts_incomplete=true&accepts_incomplete=true", True),
        ("", False),
        ("accepts_incomplete", False),
        ("accepts_incomplete=", False),
        ("accepts_incomplete=false", False),
        ("accepts_incomplete=True", False),
        ("accepts_incomplete=1", False),
        ("accepts_incomplete=true+", False),
        ("Accepts_Incomplete=true", False),
    ],
)
def test_accepts_incomplete_requires_exact_true(
    sample: SampleRequest, query: str, expected: bool, platform: Platform, recorder: Recorder
) -> None:
    assert sample.send(platform, query=f"{sample.query}&{query}").status_code in (200, 201)
    assert recorder.request.accepts_incomplete is expected


@pytest.mark.rule("R-REQ-9")
@every_change
def test_conflicting_accepts_incomplete_is_400(
    sample: SampleRequest, platform: Platform, recorder: Recorder
) -> None:
    query = f"{sample.query}&accepts_incomplete=true&accepts_incomplete=false"
    response = sample.send(platform, query=query)
    assert response.status_code == 400
    assert "accepts_incomplete is given more than once" in error_of(response)["description"]
    assert not recorder.requests


# R-REQ-10


@pytest.mark.rule("R-REQ-10")
@pytest.mark.parametrize(
    ("operation", "field"),
    [
        ("provision", "context"),
        ("provision", "parameters"),
        ("provision", "maintenance_info"),
        ("update", "plan_id"),
        ("update", "context"),
        ("update", "parameters"),
        ("update", "previous_values"),
        ("update", "maintenance_info"),
        *(
            ("update", f"previous_values.{name}")
            for name in ("service_id", "plan_id", "organization_id", "space_id", "maintenance_info")
        ),
        ("bind", "context"),
        ("bind", "app_guid"),
        ("bind", "bind_resource"),
        ("bind", "parameters"),
        ("bind", "predecessor_binding_id"),
        *(
            ("bind", f"bind_resource.{name}")
            for name in ("app_guid", "route", "space_guid", "app_annotations", "backup_agent")
        ),
    ],
)
def test_null_optional_field_is_absent(
    operation: str, field: str, platform: Platform, recorder: Recorder
) -> None:
    sample = BY_OPERATION[operation]
    outer, _, inner = field.partition(".")
    absent = {name: value for name, value in (sample.body or {}).items() if name != outer}
    null = {**absent, outer: {inner: None} if inner else None}
    assert sample.send(platform, body=absent).status_code in (200, 201)
    assert sample.send(platform, body=null).status_code in (200, 201)
    without, with_null = (msgspec.structs.replace(request, body={}) for request in recorder.requests)
    assert without == with_null


@pytest.mark.rule("R-REQ-10")
@pytest.mark.parametrize("operation", ["provision", "update"])
@pytest.mark.parametrize("info", [{}, {"version": None}])
def test_maintenance_info_without_version_is_accepted(
    operation: str, info: dict[str, Any], platform: Platform
) -> None:
    sample = BY_OPERATION[operation]
    response = sample.send(platform, body={**(sample.body or {}), "maintenance_info": info})
    assert response.status_code in (200, 201)


@pytest.mark.rule("R-REQ-10")
@pytest.mark.parametrize("field", ["organization_guid", "space_guid"])
def test_null_organization_falls_back_to_context(field: str, platform: Platform, recorder: Recorder) -> None:
    """The same applies to the space."""
    body = {**PROVISION, field: None, "context": {field: "from the context"}}
    assert platform.put(INSTANCE, body).status_code == 201
    assert getattr(recorder.request, field) == "from the context"


@pytest.mark.rule("R-REQ-10", "R-PROV-6")
@pytest.mark.parametrize("field", ["organization_guid", "space_guid"])
def test_null_organization_in_context_is_absent(field: str, platform: Platform) -> None:
    """Without another value, the request gets 400. The same applies to the space."""
    body = {**PROVISION, field: None, "context": {field: None}}
    response = platform.put(INSTANCE, body)
    assert response.status_code == 400
    assert error_of(response)["description"].startswith(f"{field}: is required")


def test_app_routes_outside_prefix_are_unchanged(broker: Broker) -> None:
    app = Flask("tests")
    app.add_url_rule("/", view_func=lambda: "hello", endpoint="home")
    app.register_blueprint(broker.blueprint, url_prefix="/broker")
    assert app.test_client().get("/").text == "hello"


@pytest.mark.rule("R-REQ-6")
def test_query_string_accepts_unencoded_utf_8(recorder: Recorder) -> None:
    offering = make_offering(plans=[ServicePlan(id="lü", name="lue", description="d")])
    platform = Platform(make_app(make_broker(recorder, offering)))
    for query in ("service_id=db-id&plan_id=lü", "service_id=db-id&plan_id=l%C3%BC"):
        environ = {"QUERY_STRING": query.encode().decode("latin-1")}
        assert platform.delete(INSTANCE, environ=environ).status_code == 200
