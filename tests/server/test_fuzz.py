"""No body, header, path or query string causes a 500, and every response is JSON."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from brokerkit import (
    Accepted,
    AsyncRequired,
    Binding,
    Broker,
    Catalog,
    InstanceDetails,
    LastOperation,
    MaintenanceInfo,
    Provisioned,
    Schemas,
    ServiceOffering,
    ServicePlan,
)

from ..support.broker import BINDING, CREDENTIALS, DELETE_QUERY, IDS, INSTANCE, PROVISION, Platform, make_app
from ..support.examples import examples
from .test_requests import ENDPOINTS, WITH_BODY, SampleRequest, every_body, every_endpoint

fuzz = settings(
    max_examples=examples(100),
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "n": {"type": "number", "multipleOf": 0.01, "maximum": 10**20},
        "i": {"type": "integer"},
        "s": {"type": "string", "pattern": "^(a+)+$", "maxLength": 5, "format": "email"},
        "l": {"type": "array", "uniqueItems": True, "contains": {"const": 1}},
        "e": {"enum": [1, 1.5, "x", None, [1], {"a": 1}]},
    },
    "propertyNames": {"maxLength": 50},
}


def make_platform() -> Platform:
    """A broker that checks parameters and returns everything that it received."""
    schemas = Schemas.of(create=SCHEMA, update=SCHEMA, bind=SCHEMA)
    strict = ServicePlan(
        id="small-id",
        name="small",
        description="Checks parameters",
        schemas=schemas,
        binding_rotatable=True,
        maintenance_info=MaintenanceInfo("1.0.0"),
    )
    lax = ServicePlan(id="large-id", name="large", description="Takes any")
    offering = ServiceOffering(
        id="db-id",
        name="db",
        description="Databases",
        bindable=True,
        instances_retrievable=True,
        bindings_retrievable=True,
        plan_updateable=True,
        plans=[strict, lax],
    )
    broker = Broker(Catalog([offering]), auth=CREDENTIALS)
    stored: dict[str, Any] = {}

    @broker.provision
    def provision(request: Any) -> Provisioned | Accepted:
        stored["parameters"] = request.parameters
        return Accepted(operation="1") if request.accepts_incomplete else Provisioned()

    @broker.update
    def update(request: Any) -> None:
        stored["parameters"] = request.parameters

    @broker.deprovision
    def deprovision(request: Any) -> None:
        if request.instance_id == "slow":
            raise AsyncRequired(request.instance_id)

    @broker.bind
    def bind(request: Any) -> Binding:
        return Binding(credentials=request.body)

    @broker.unbind
    def unbind(request: Any) -> None:
        return None

    @broker.get_instance
    def get_instance(request: Any) -> InstanceDetails:
        return InstanceDetails(service_id=request.instance_id, parameters=stored.get("parameters", {}))

    @broker.get_binding
    def get_binding(request: Any) -> Binding:
        return Binding(credentials={"id": request.binding_id})

    @broker.last_operation
    @broker.last_binding_operation
    def last_operation(request: Any) -> LastOperation:
        return LastOperation.in_progress(request.operation)

    return Platform(make_app(broker, url_prefix="/broker"))


platform = make_platform()
BROKER = "/broker"


def send(sample: SampleRequest, **more: Any) -> TestResponse:
    """Send a request and check that it does not fail. `Platform.send` checks that the response is JSON."""
    path = f"{BROKER}{more.pop('path', sample.path)}"
    response = sample._replace(path=path).send(platform, **more)
    assert response.status_code < 500, response.text
    return response


def nested(depth: int, opening: bytes = b'{"a":', closing: bytes = b"}") -> bytes:
    return opening * depth + b"1" + closing * depth


# Known troublesome inputs


def with_parameters(parameters: bytes) -> bytes:
    body = msgspec.json.encode({**PROVISION, "plan_id": "large-id"})
    return body[:-1] + b',"parameters":' + parameters + b"}"


NASTY_BODIES = {
    "invalid UTF-8": b'{"service_id": "\xff\xfe"}',
    "a cut-off character": b'{"service_id": "\xe2\x82"}',
    "an encoded surrogate": b'{"service_id": "\xed\xa0\x80"}',
    "a lone surrogate": rb'{"service_id": "\ud800"}',
    "surrogates in the wrong order": rb'{"service_id": "\udc00\ud800"}',
    "a NUL": b'{"service_id": "\x00"}',
    "only NULs": b"\x00" * 100,
    "a BOM": b"\xef\xbb\xbf{}",
    "NaN": with_parameters(b'{"n": NaN}'),
    "Infinity": with_parameters(b'{"n": -Infinity}'),
    "deep objects": nested(100_000),
    "deep objects, never closed": b'{"a":' * 100_000,
    "deep arrays": b'{"a":' + nested(100_000, b"[", b"]") + b"}",
    "deep parameters": with_parameters(nested(100_000)),
    "parameters 101 deep": with_parameters(nested(101)),
    "a body that is a number": b"9" * 5000,
    "half a body": b'{"service_id": "db-id", "plan_id": "sm',
    "a comment": b'{"service_id": /* which? */ "db-id"}',
    "a trailing comma": b'{"service_id": "db-id",}',
    "two bodies": b"{}{}",
    "a form": b"service_id=db-id&plan_id=small-id",
}


@pytest.mark.rule("R-REQ-6")
@every_body
@pytest.mark.parametrize("body", NASTY_BODIES.values(), ids=NASTY_BODIES)
def test_malformed_body_is_400(sample: SampleRequest, body: bytes) -> None:
    assert send(sample, data=body).status_code == 400


HARD_PARAMETERS = {
    "a number of 5,000 digits": b'{"n": ' + b"9" * 5000 + b"}",
    "an integer of 5,000 digits where one is wanted": b'{"i": ' + b"9" * 5000 + b"}",
    "a fraction of 5,000 digits": b'{"n": 0.' + b"3" * 5000 + b"}",
    "a negative integer of 20 digits": b'{"i": -' + b"9" * 20 + b"}",
    "2**64": b'{"i": 18446744073709551616}',
    "1e400": b'{"n": 1e400}',
    "1e-400": b'{"n": 1e-400}',
    "1e999999999": b'{"n": 1e999999999}',
    "-0": b'{"n": -0, "i": -0.0}',
    "1.0 as an integer": b'{"i": 1.0}',
    "duplicate keys": b'{"n": "x", "n": 1}',
    "a key of NUL": rb'{"\u0000": 1}',
    "a key that is empty": b'{"": 1}',
    "a key of an escaped character": rb'{"\ud83d\ude00~1/~0": 1}',
    "a long key": b'{"' + b"k" * 100_000 + b'": 1}',
    "a lone surrogate": rb'{"s": "\ud800"}',
    "a lone surrogate as a key": rb'{"\udfff": 1}',
    "NUL in a string": rb'{"s": "\u0000"}',
    "a string that takes a bad regex long": b'{"s": "' + b"a" * 40 + b'!"}',
    "many faults": b'{"l": [1, 1, 1], "e": {}, "i": 0.5, "s": 1, "n": []}',
    "99 deep": nested(98),
    "many keys": b"{" + b",".join(b'"%d": 1' % n for n in range(10_000)) + b"}",
    "many numbers": b'{"l": [' + b",".join(b"%d" % n for n in range(10_000)) + b"]}",
}


@pytest.mark.parametrize("plan_id", ["small-id", "large-id"])
@pytest.mark.parametrize("parameters", HARD_PARAMETERS.values(), ids=HARD_PARAMETERS)
@every_body
def test_difficult_parameters_cause_no_500(sample: SampleRequest, parameters: bytes, plan_id: str) -> None:
    """Difficult parameters are accepted or refused, and accepted ones can be fetched again."""
    own = make_platform()
    body = msgspec.json.encode({**PROVISION, "plan_id": plan_id})
    data = body[:-1] + b',"parameters":' + parameters + b"}"
    response = sample._replace(path=BROKER + sample.path).send(own, data=data)
    assert response.status_code in (200, 201, 400)
    # An accepted value can be encoded again.
    assert own.get(BROKER + INSTANCE).status_code == 200


def test_duplicate_json_keys_use_last_value() -> None:
    """Validation and the handler use the same, last value."""
    own = make_platform()
    body = msgspec.json.encode({**PROVISION, "plan_id": "nope"})[:-1] + b',"plan_id":"large-id"'
    data = body + b',"parameters":{"n":1,"n":2}}'
    assert own.put(BROKER + INSTANCE, data=data).status_code == 201
    assert own.get(BROKER + INSTANCE).get_json()["parameters"] == {"n": 2}


NASTY_IDS = {
    "NUL": "\x00",
    "a line break": "a\nb",
    "only a line break": "\n",
    "CRLF": "a\r\nSet-Cookie: b",
    "4-byte characters": "💥".encode().decode("latin-1"),
    "a surrogate": "\xed\xa0\x80",
    "invalid UTF-8": "\xff",
    "overlong": "\xc0\xaf",
    "1 MiB": "x" * 1024 * 1024,
    "64 kiB of NUL": "\x00" * 64 * 1024,
    "dots": "..",
    "a percent sign": "%",
    "a converter": "<path:x>",
    "JSON": '{"a": 1}',
    "a format": "%s{0}{request.headers}",
}
WITH_ID = [sample for sample in ENDPOINTS if sample.operation != "catalog"]
every_id = pytest.mark.parametrize("sample", WITH_ID, ids=lambda sample: sample.operation)


@every_id
@pytest.mark.parametrize("nasty", NASTY_IDS.values(), ids=NASTY_IDS)
@pytest.mark.parametrize("which", ["i1", "b1"])
def test_difficult_id_causes_no_500(sample: SampleRequest, nasty: str, which: str) -> None:
    environ = {"PATH_INFO": BROKER + sample.path.replace(which, nasty), "REQUEST_URI": ""}
    assert send(sample, environ=environ).status_code in (200, 201, 400)


@every_id
@pytest.mark.parametrize("sent", ["%2F", "a%2fb%2F", "%2F%00", "%2F%0A", "%2F%FF", "%252F", "%2"])
def test_encoded_slash_causes_no_500(sample: SampleRequest, sent: str) -> None:
    path = sample.path.replace("i1", sent).replace("b1", sent)
    environ = {
        "REQUEST_URI": BROKER + path,
        "PATH_INFO": BROKER + unquote_to_bytes(path).decode("latin-1"),
    }
    assert send(sample, environ=environ).status_code in (200, 201, 400)


LINE_BREAKS = ["a\r\nX-Evil: 1", "\n", "\r", "a\x00b", "\x7f", "\x85", "\xff", "x" * 100_000]
HEADERS = [
    "HTTP_X_BROKER_API_REQUEST_IDENTITY",
    "HTTP_X_BROKER_API_ORIGINATING_IDENTITY",
    "HTTP_X_BROKER_API_VERSION",
    "HTTP_X_VCAP_REQUEST_ID",
    "HTTP_X_API_INFO_LOCATION",
    "HTTP_AUTHORIZATION",
    "HTTP_IF_NONE_MATCH",
    "HTTP_ACCEPT",
    "HTTP_COOKIE",
    "HTTP_CONTENT_ENCODING",
    "HTTP_X_FORWARDED_FOR",
    "CONTENT_TYPE",
    "REMOTE_ADDR",
]


@every_endpoint
@pytest.mark.parametrize("header", HEADERS)
def test_header_line_breaks_never_reach_response(sample: SampleRequest, header: str) -> None:
    for value in LINE_BREAKS:
        response = send(sample, environ={header: value})
        assert "X-Evil" not in response.headers
        for _, header in response.headers:
            assert not set(header) & {"\r", "\n", "\0"}


@every_endpoint
@pytest.mark.parametrize("value", ["many", "-1", "", "1e3", "9" * 5000, "٣", "1, 2", "\xb2"])
def test_invalid_content_length_causes_no_500(sample: SampleRequest, value: str) -> None:
    send(sample, environ={"CONTENT_LENGTH": value})


QUERIES = {
    "a field twice": "service_id=db-id&service_id=other",
    "the same field twice": "operation=a&operation=a",
    "invalid UTF-8": "operation=%FF&plan_id=\xff",
    "a surrogate": "operation=%ED%A0%80",
    "NUL": "operation=%00&service_id=\x00",
    "line breaks": "operation=%0D%0Aa&plan_id=a\r\nb",
    "cut off": "operation=%",
    "no names": "&&=&=x&",
    "semicolons": "service_id=db-id;plan_id=small-id",
    "many fields": "&".join(f"f{n}=1" for n in range(5000)),
    "1 MiB": "operation=" + "x" * 1024 * 1024,
    "raw UTF-8": "operation=\xe2\x82\xac",
}


@every_endpoint
@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_difficult_query_string_causes_no_500(sample: SampleRequest, query: str) -> None:
    for query_string in (query, f"{sample.query}&{query}"):
        response = send(sample, environ={"QUERY_STRING": query_string})
        assert response.status_code in (200, 201, 400)


@pytest.mark.rule("R-REQ-9")
@pytest.mark.parametrize("name", ["service_id", "plan_id", "operation", "accepts_incomplete"])
@every_endpoint
def test_conflicting_query_parameter_is_400(sample: SampleRequest, name: str) -> None:
    """The catalog endpoint ignores its query string."""
    response = send(sample, query=f"{name}=a&{name}=b")
    assert response.status_code == (200 if sample.operation == "catalog" else 400)


@every_endpoint
@pytest.mark.parametrize(
    "uri", ["//", "http://", "http://[", "http://[%2F", "%2F", "*", "\xff%2F", "a%2F:%2F//[]"]
)
def test_any_raw_uri_causes_no_500(sample: SampleRequest, uri: str) -> None:
    send(sample, environ={"REQUEST_URI": uri, "RAW_URI": uri})


# Random inputs

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=2**62, max_value=2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
known_fields = st.sampled_from(
    [
        "service_id",
        "plan_id",
        "organization_guid",
        "space_guid",
        "context",
        "parameters",
        "maintenance_info",
        "previous_values",
        "app_guid",
        "bind_resource",
        "predecessor_binding_id",
    ]
)
inner_fields = st.sampled_from(
    ["platform", "organization_guid", "version", "plan_id", "app_guid", "n", "i", "s", "l", "e"]
)
objects = st.dictionaries(inner_fields | st.text(max_size=5), json_values, max_size=4)
bodies = st.dictionaries(known_fields, objects | json_values, max_size=5)
wsgi_text = st.text(st.characters(max_codepoint=255), max_size=40)
any_sample = st.sampled_from(ENDPOINTS)
asked_with_body = st.sampled_from(WITH_BODY)
methods = st.sampled_from(["GET", "PUT", "PATCH", "DELETE", "POST", "OPTIONS", "HEAD"])


@pytest.mark.rule("R-REQ-6")
@fuzz
@given(asked_with_body, st.binary(max_size=200) | wsgi_text.map(str.encode))
def test_fuzz_body_bytes(sample: SampleRequest, data: bytes) -> None:
    send(sample, data=data)


@pytest.mark.rule("R-REQ-6")
@fuzz
@given(asked_with_body, st.data())
def test_fuzz_bytes_within_valid_body(sample: SampleRequest, data: st.DataObject) -> None:
    body = msgspec.json.encode({**PROVISION, "parameters": {"n": 1, "s": "aé"}, "context": {}})
    at = data.draw(st.integers(0, len(body)))
    cut = data.draw(st.integers(0, 3))
    piece = data.draw(st.binary(max_size=3))
    send(sample, data=body[:at] + piece + body[at + cut :])


@pytest.mark.rule("R-REQ-6")
@fuzz
@given(asked_with_body, json_values)
def test_fuzz_json_body(sample: SampleRequest, value: object) -> None:
    send(sample, data=msgspec.json.encode(value) if _fits(value) else b"{}")


def _fits(value: object) -> bool:
    try:
        msgspec.json.encode(value)
    except (OverflowError, ValueError):  # hypothesis makes larger numbers than msgspec writes
        return False
    return True


@fuzz
@given(
    asked_with_body,
    bodies.filter(_fits),
    st.sampled_from([{}, IDS, PROVISION, {**PROVISION, "plan_id": "large-id"}]),
    st.sampled_from(["", "accepts_incomplete=true"]),
)
def test_fuzz_json_body_fields(
    sample: SampleRequest, body: dict[str, Any], right: dict[str, Any], query: str
) -> None:
    send(sample, body={**body, **right}, query=query)
    send(SampleRequest("get_instance", "GET", INSTANCE))


@fuzz
@given(
    asked_with_body,
    objects.filter(_fits),
    st.sampled_from(["parameters", "context", "maintenance_info", "bind_resource"]),
)
def test_fuzz_nested_object_in_valid_body(sample: SampleRequest, value: dict[str, Any], field: str) -> None:
    send(sample, body={**PROVISION, field: value})
    send(SampleRequest("get_instance", "GET", INSTANCE))


@fuzz
@given(any_sample, st.sampled_from(HEADERS), wsgi_text)
def test_fuzz_header_value(sample: SampleRequest, header: str, value: str) -> None:
    response = send(sample, environ={header: value})
    for _, header in response.headers:
        assert not set(header) & {"\r", "\n", "\0"}


@fuzz
@given(any_sample, st.binary(max_size=60), st.sampled_from(["cloudfoundry", "", "a b", "\xe9"]))
def test_fuzz_bytes_in_identity_and_password(sample: SampleRequest, value: bytes, name: str) -> None:
    encoded = base64.b64encode(value).decode()
    send(
        sample,
        environ={
            "HTTP_X_BROKER_API_ORIGINATING_IDENTITY": f"{name} {encoded}",
            "HTTP_X_BROKER_API_REQUEST_IDENTITY": value.decode("latin-1"),
        },
    )
    send(sample, environ={"HTTP_AUTHORIZATION": f"Basic {encoded}"})


@fuzz
@given(any_sample, objects.filter(_fits))
def test_fuzz_json_originating_identity(sample: SampleRequest, value: dict[str, Any]) -> None:
    encoded = base64.b64encode(msgspec.json.encode(value)).decode()
    response = send(sample, headers={"X-Broker-API-Originating-Identity": f"cloudfoundry {encoded}"})
    assert response.status_code in (200, 201)


@fuzz
@given(any_sample, wsgi_text | st.from_regex(r"(operation|plan_id|service_id|[&=%+])*", fullmatch=True))
def test_fuzz_query_string(sample: SampleRequest, query: str) -> None:
    send(sample, environ={"QUERY_STRING": query})
    send(sample, environ={"QUERY_STRING": f"{DELETE_QUERY}&{query}"})


@fuzz
@given(methods, wsgi_text, wsgi_text, st.sampled_from(["", "/last_operation", "/"]))
def test_fuzz_raw_id(method: str, instance_id: str, binding_id: str, end: str) -> None:
    instance = BROKER + INSTANCE.replace("i1", instance_id)
    binding = BROKER + BINDING.replace("i1", instance_id).replace("b1", binding_id)
    for path in (instance, binding):
        environ = {"PATH_INFO": path + end, "REQUEST_URI": ""}
        response = platform.send(method, "/", IDS, query=DELETE_QUERY, environ=environ)
        assert response.status_code < 500


@fuzz
@given(methods, st.text(max_size=20), st.sampled_from(["", "/", "/last_operation"]))
def test_fuzz_encoded_id_reaches_handler(method: str, resource_id: str, end: str) -> None:
    if not resource_id or any("\ud800" <= character <= "\udfff" for character in resource_id):
        return
    path = f"{BROKER}/v2/service_instances/{quote(resource_id, safe='')}"
    response = platform.get(path)
    if resource_id not in (".", ".."):  # which the test client resolves
        assert response.get_json()["service_id"] == resource_id
    assert platform.send(method, path + end).status_code < 500


@fuzz
@given(methods, wsgi_text | st.from_regex(r"(v2|catalog|service_instances|[/.%]|\n)*", fullmatch=True))
def test_fuzz_path_under_prefix(method: str, rest: str) -> None:
    environ = {"PATH_INFO": f"{BROKER}/{rest}", "REQUEST_URI": ""}
    response = platform.send(method, "/", environ=environ)
    assert response.status_code in (200, 400, 404, 405)


@fuzz
@given(any_sample, wsgi_text | st.from_regex(r"(/|%2F|%2f|broker|v2|http:|\[|\]|i1|%FF|\?)*", fullmatch=True))
def test_fuzz_raw_uri(sample: SampleRequest, uri: str) -> None:
    send(sample, environ={"REQUEST_URI": uri, "RAW_URI": uri})
