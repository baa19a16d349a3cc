"""Traces: their spans, parents, attributes and events, without secrets."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, copy_context
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import context, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from brokerkit import (
    Accepted,
    Binding,
    Broker,
    BrokerError,
    LastOperation,
    Provisioned,
    QuotaExceeded,
    Retry,
    signals,
)
from brokerkit.observe.opentelemetry import trace_lifecycle
from brokerkit.testing.step_executor import step_by_step

from ..server.test_traffic import CATALOG, lines_of
from ..support.broker import (
    BINDING,
    DELETE_QUERY,
    IDS,
    INSTANCE,
    PROVISION,
    Platform,
    Recorder,
    make_app,
    make_broker,
)
from ..support.celery_worker import CeleryWorker
from ..support.stateful import CAN_POLL, Serve, last_operation, poll_until_done, until
from ..support.stateful import Platform as StoredPlatform
from . import captured_spans as traced

PLATFORMS_TRACE, PLATFORMS_SPAN = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331
W3C = {"Traceparent": f"00-{PLATFORMS_TRACE:032x}-{PLATFORMS_SPAN:016x}-01", "Tracestate": "a=b"}
B3 = {"B3": "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1"}
X_B3 = {
    "X-B3-TraceId": "4bf92f3577b34da6",
    "X-B3-SpanId": "4bf92f3577b34da7",
    "X-B3-ParentSpanId": "4bf92f3577b34da8",
    "X-B3-Sampled": "1",
}
IDENTITY = "cloudfoundry eyJ1c2VyX2lkIjogInUxIn0="  # {"user_id": "u1"}


class Traces:
    """Spans that have ended."""

    def __init__(self, **settings: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False, **settings)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("tests")

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.spans]

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str | None = None) -> ReadableSpan:
        (span,) = self.spans if name is None else self.named(name)
        return span

    def handler(self, answer: object = None) -> Callable[[object], object]:
        """A handler with a span of its own."""

        def handle(request: object) -> object:
            with self.tracer.start_as_current_span("inside"):
                return answer

        return handle


def own(span: ReadableSpan) -> trace.SpanContext:
    ids = span.get_span_context()
    assert ids is not None
    return ids


def parent(span: ReadableSpan) -> trace.SpanContext:
    assert span.parent is not None
    return span.parent


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def event_names(span: ReadableSpan) -> list[str]:
    return [event.name for event in span.events]


def is_child(span: ReadableSpan, of: ReadableSpan) -> bool:
    return (parent(span).trace_id, parent(span).span_id) == (own(of).trace_id, own(of).span_id)


@pytest.fixture
def traces() -> Traces:
    return Traces()


@pytest.fixture
def platform(broker: Broker, traces: Traces) -> Platform:
    trace_lifecycle(broker, tracer_provider=traces.provider)
    return Platform(make_app(broker))


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Brokers on one store."""
    created = Serve(f"sqlite:///{tmp_path / 'broker.db'}")
    yield created
    created.stop()


# Requests


def test_request_is_a_server_span(platform: Platform, traces: Traces) -> None:
    headers: dict[str, str | None] = {
        "X-Broker-API-Originating-Identity": IDENTITY,
        "X-Broker-API-Request-Identity": "r1",
        "X-Vcap-Request-Id": "c1",
    }
    platform.put(BINDING, IDS, query="accepts_incomplete=true", headers=headers)
    span = traces.one()
    assert (span.name, span.kind, span.parent, span.status.status_code) == (
        "PUT /v2/service_instances/{instance_id}/service_bindings/{binding_id}",
        SpanKind.SERVER,
        None,
        StatusCode.UNSET,
    )
    assert attributes_of(span) == {
        "http.request.method": "PUT",
        "http.route": "/v2/service_instances/{instance_id}/service_bindings/{binding_id}",
        "http.response.status_code": 201,
        "url.scheme": "http",
        "url.path": BINDING,
        "osb.operation": "bind",
        "osb.instance_id": "i1",
        "osb.binding_id": "b1",
        "osb.offering": "db",
        "osb.plan": "small",
        "osb.platform": "cloudfoundry",
        "osb.platform_user": "u1",
        "osb.username": "platform",
        "osb.request_identity": "r1",
        "osb.correlation_id": "c1",
    }
    assert event_names(span) == ["osb.bound"]
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == "brokerkit"


@pytest.mark.parametrize(
    ("method", "path", "name", "status"),
    [
        ("GET", "/v2/catalog", "GET /v2/catalog", 200),
        ("HEAD", "/v2/catalog", "HEAD /v2/catalog", 200),
        ("GET", "/v2/nothing", "GET", 404),
        ("POST", INSTANCE, "POST", 405),
        ("BREW", "/v2/nothing", "HTTP", 404),
    ],
)
def test_span_name_excludes_client_text(
    platform: Platform, traces: Traces, method: str, path: str, name: str, status: int
) -> None:
    """Unknown paths and methods give a generic span name."""
    assert platform.send(method, path).status_code == status
    span = traces.one()
    assert (span.name, span.status.status_code) == (name, StatusCode.UNSET)
    assert attributes_of(span)["http.response.status_code"] == status
    assert ("http.route" in attributes_of(span)) == (status == 200)
    if method == "BREW":
        assert attributes_of(span)["http.request.method"] == "_OTHER"
        assert attributes_of(span)["http.request.method_original"] == "BREW"


def test_span_size_is_bounded(platform: Platform, traces: Traces) -> None:
    """Long paths, headers and methods are truncated. gRPC collectors accept at most 4 MiB per message."""
    long = "x" * 100_000
    identity = base64.b64encode(json.dumps({"user_id": long}).encode()).decode()
    headers = {
        "X-Broker-API-Originating-Identity": f"{long} {identity}",
        "X-Broker-API-Request-Identity": long,
        "X-Correlation-ID": long,
    }
    assert platform.send(long, f"{INSTANCE}{long}/service_bindings/{long}").status_code == 405
    assert platform.get(f"{INSTANCE}{long}", headers=headers).status_code == 200
    for span in traces.spans:
        assert len(span.to_json()) < 8000
        assert attributes_of(span)["url.path"] == f"{INSTANCE}{long}"[:500] + "…"


def test_refusal_is_not_a_span_error(platform: Platform, recorder: Recorder, traces: Traces) -> None:
    """A 4xx response leaves the span status unset and records the error word."""
    recorder.answers["provision"] = QuotaExceeded()
    assert platform.put(INSTANCE, PROVISION).status_code == 400
    assert platform.put(INSTANCE, PROVISION, headers={"Authorization": None}).status_code == 401
    for span, word in zip(traces.spans, ("QuotaExceeded", "Unauthenticated"), strict=True):
        assert span.status.status_code is StatusCode.UNSET
        assert attributes_of(span)["osb.error"] == word
        assert "error.type" not in attributes_of(span)
    assert "osb.plan" not in attributes_of(traces.spans[1]), "it was not read"


class Broken(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "kind", "description"),
    [
        (BrokerError("No disk is left.", error="NoDisk"), "NoDisk", "No disk is left."),
        (BrokerError("No disk is left."), "brokerkit.errors.BrokerError", "No disk is left."),
        (BrokerError("No: db://u:hunter2@h"), "brokerkit.errors.BrokerError", "No: db://***@h"),
        (ValueError("hunter2"), "ValueError", None),
        (Broken("hunter2"), f"{__name__}.Broken", None),
    ],
    ids=["said", "said without a word", "said with a secret", "a fault", "a fault of one's own"],
)
def test_server_error_span_hides_internal_details(
    platform: Platform, recorder: Recorder, traces: Traces, error: Exception, kind: str, description: str
) -> None:
    """The span shows a deliberate description, masked, and only the type of an unexpected exception."""
    recorder.answers["provision"] = error
    assert platform.put(INSTANCE, PROVISION).status_code == 500
    span = traces.one()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, description)
    assert attributes_of(span)["error.type"] == kind
    assert "hunter2" not in span.to_json()
    assert not span.events


# Trace headers


def given(headers: str) -> tuple[int, int]:
    """Return the trace id and span id of a kind of headers."""
    return {
        "w3c": (PLATFORMS_TRACE, PLATFORMS_SPAN),
        "b3": (0x80F198EE56343BA864FE8B2A57D3EFF7, 0xE457B5A2E4D86BD1),
        "x-b3": (0x4BF92F3577B34DA6, 0x4BF92F3577B34DA7),
    }[headers]


@pytest.mark.rule("R-REQ-5")
@pytest.mark.parametrize(
    ("headers", "believed"),
    [
        (W3C, "w3c"),
        (B3, "b3"),
        (X_B3, "x-b3"),
        ({**X_B3, **B3, **W3C}, "w3c"),
        ({**X_B3, **B3}, "b3"),
        ({**X_B3, **B3, "Traceparent": "00-" + "0" * 32 + "-b7ad6b7169203331-01"}, "b3"),
        ({**X_B3, "B3": "0", "Traceparent": "ff-1"}, "x-b3"),
        ({"B3": "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1"}, "b3"),
        ({"B3": "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-d-05e3ac9a4f6e3b90"}, "b3"),
        ({**X_B3, "X-B3-Sampled": "0", "X-B3-Flags": "1"}, "x-b3"),
        ({"X-B3-TraceId": "4bf92f3577b34da6", "X-B3-SpanId": "4bf92f3577b34da7"}, "x-b3"),
    ],
    ids=[
        "W3C",
        "b3",
        "x-b3",
        "all",
        "both kinds of B3",
        "W3C without an id",
        "only the last is valid",
        "b3 that leaves the decision to us",
        "b3 that is debugged",
        "x-b3 that is debugged",
        "x-b3 that leaves the decision to us",
    ],
)
def test_request_continues_the_platform_trace(
    platform: Platform, traces: Traces, headers: dict[str, str], believed: str
) -> None:
    """W3C headers take precedence over b3, and b3 over the X-B3 headers."""
    platform.get("/v2/catalog", headers={**headers})
    span = traces.one()
    assert (own(span).trace_id, parent(span).span_id) == given(believed)
    assert own(span).trace_id == parent(span).trace_id
    assert parent(span).is_remote
    assert span.kind is SpanKind.SERVER


@pytest.mark.parametrize(
    "headers",
    [
        {"Traceparent": "x" * 600, "Tracestate": "=,=;\x80" * 90},
        {"Traceparent": W3C["Traceparent"].replace("00-", "01-") + "\xe9"},
        {"B3": "----"},
        {"B3": "-"},
        {"B3": ""},
        {"B3": f"{0:016x}-{0:016x}-1"},
        {"B3": "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-2-3-4"},
        {"X-B3-TraceId": "4bf92f3577b34da6"},
        {"X-B3-TraceId": "\xb2" * 16, "X-B3-SpanId": "4bf92f3577b34da7"},
        {"X-B3-SpanId": "4bf92f3577b34da7"},
    ],
)
def test_malformed_trace_header_is_ignored(
    platform: Platform, recorder: Recorder, traces: Traces, headers: dict[str, str]
) -> None:
    assert platform.put(INSTANCE, PROVISION, headers={**headers}).status_code == 201
    span = traces.one()
    assert span.parent is None
    assert recorder.request.headers.trace_context["traceparent"].split("-")[2] == f"{own(span).span_id:016x}"


@pytest.mark.parametrize(
    "headers",
    [
        {"Traceparent": W3C["Traceparent"][:-1] + "0"},
        {"B3": "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-0"},
        {**X_B3, "X-B3-Sampled": "0"},
    ],
    ids=["W3C", "b3", "x-b3"],
)
def test_unsampled_trace_is_not_recorded(
    platform: Platform, recorder: Recorder, traces: Traces, headers: dict[str, str]
) -> None:
    """The trace is not recorded here, and the unsampled flag is passed on to the handler."""
    platform.put(INSTANCE, PROVISION, headers={**headers})
    assert not traces.spans
    assert recorder.request.headers.trace_context["traceparent"].endswith("-00")


def test_unsampled_request_has_unsampled_background_attempts(serve: Serve, recorder: Recorder) -> None:
    off, on = Traces(sampler=ALWAYS_OFF), Traces()
    platform = serve(recorder, background=["provision"])
    trace_lifecycle(serve.brokers[0], tracer_provider=off.provider)
    with step_by_step(serve.brokers[0]) as work:
        assert platform.put(INSTANCE, PROVISION, query=CAN_POLL).status_code == 202
        trace_lifecycle(serve.brokers[0], tracer_provider=on.provider)
        work.run_pending()
    assert last_operation(platform, INSTANCE)["state"] == "succeeded"
    assert off.spans == []
    assert on.names == ["GET /v2/service_instances/{instance_id}/last_operation"]


@pytest.mark.parametrize(
    ("headers", "formats"),
    [
        ({}, {"traceparent"}),
        (W3C, {"traceparent", "tracestate"}),
        (B3, {"traceparent", "b3"}),
        (X_B3, {"traceparent", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled"}),
    ],
    ids=["none", "W3C", "b3", "x-b3"],
)
def test_handler_receives_span_in_platform_format(
    platform: Platform, recorder: Recorder, traces: Traces, headers: dict[str, str], formats: set[str]
) -> None:
    """The handler's trace context names the request's span, as W3C and in the platform's own format."""
    platform.put(INSTANCE, PROVISION, headers={**headers})
    handed = recorder.request.headers.trace_context
    assert handed.keys() == formats
    span_id = f"{own(traces.one()).span_id:016x}"
    assert all(span_id in handed[name] for name in formats & {"traceparent", "b3", "x-b3-spanid"})


def test_request_inside_active_span_is_its_child(platform: Platform, traces: Traces) -> None:
    """Such a span comes from Flask instrumentation, which already read the headers.

    The header's trace is linked.
    """
    with traces.tracer.start_as_current_span("around", kind=SpanKind.SERVER) as around:
        platform.get("/v2/catalog", headers={**W3C})
        assert trace.get_current_span() is around
    inner, outer = traces.spans
    assert is_child(inner, outer)
    assert inner.kind is SpanKind.INTERNAL
    (link,) = inner.links
    assert (link.context.trace_id, link.context.span_id) == given("w3c"), "which is another trace"


def test_extracted_remote_parent_keeps_server_span(platform: Platform, traces: Traces) -> None:
    """If the trace headers were already extracted, the request is still a server span without a link."""
    remote = trace.SpanContext(PLATFORMS_TRACE, 2, is_remote=True, trace_flags=trace.TraceFlags(1))
    with trace.use_span(trace.NonRecordingSpan(remote)):
        platform.get("/v2/catalog", headers={**W3C})
    assert parent(traces.one()) == remote
    assert traces.one().kind is SpanKind.SERVER
    assert not traces.one().links, "it is the same trace"


# The current span


def test_handler_spans_are_children_of_request(
    platform: Platform, recorder: Recorder, traces: Traces
) -> None:
    recorder.answers["provision"] = traces.handler()
    for _ in range(2):
        platform.put(INSTANCE, PROVISION)
        assert not trace.get_current_span().get_span_context().is_valid
    first, request, second, other_request = traces.spans
    assert is_child(first, request)
    assert is_child(second, other_request)
    assert own(request).trace_id != own(other_request).trace_id


def test_async_handler_spans_are_children_of_request(traces: Traces) -> None:
    broker = make_broker(Recorder())

    @broker.provision(plan="large")
    async def provision(request: object) -> None:
        with traces.tracer.start_as_current_span("inside"):
            pass

    trace_lifecycle(broker, tracer_provider=traces.provider)
    answer = Platform(make_app(broker)).put(INSTANCE, {**PROVISION, "plan_id": "large-id"})
    assert answer.status_code == 201
    inside, request = traces.spans
    assert is_child(inside, request)


class Pair:
    """Two brokers: the outer one calls the inner one within its requests."""

    def __init__(self, traces: Traces, inner: trace.TracerProvider | None = None) -> None:
        recorders = Recorder(), Recorder()
        brokers = [make_broker(recorder) for recorder in recorders]
        trace_lifecycle(brokers[0], tracer_provider=inner or traces.provider)
        trace_lifecycle(brokers[1], tracer_provider=traces.provider)
        self._inner, self._outer = (Platform(make_app(broker)) for broker in brokers)
        self.handlers = recorders[0].answers
        recorders[1].answers["provision"] = self._ask
        self.is_current_again: list[bool] = []

    def ask(self) -> None:
        """Let the outer broker call the inner one twice."""
        assert self._outer.put(INSTANCE, PROVISION).status_code == 201

    def _ask(self, request: object) -> None:
        around = trace.get_current_span()
        for _ in range(2):
            with suppress(SystemExit):
                self._inner.put(BINDING, IDS)
            self.is_current_again.append(trace.get_current_span() is around)


def test_nested_broker_request_restores_current_span(traces: Traces) -> None:
    pair = Pair(traces)
    pair.ask()
    *inner, outer = traces.spans
    assert [is_child(span, outer) for span in inner] == [True, True]
    assert pair.is_current_again == [True, True]
    assert [event_names(span) for span in traces.spans] == [["osb.bound"], ["osb.bound"], ["osb.provisioned"]]


def test_untraced_nested_broker_keeps_current_span(traces: Traces) -> None:
    pair = Pair(traces, inner=trace.NoOpTracerProvider())
    pair.ask()
    assert event_names(traces.one()) == ["osb.provisioned"]
    assert pair.is_current_again == [True, True]


def die(request: object) -> None:
    raise SystemExit


def test_aborted_request_does_not_affect_next_request(
    platform: Platform, recorder: Recorder, traces: Traces
) -> None:
    recorder.answers["provision"] = die
    with pytest.raises(SystemExit):
        platform.put(INSTANCE, PROVISION)
    platform.get("/v2/catalog")
    interrupted, catalog = traces.spans
    assert interrupted.status.status_code is StatusCode.ERROR
    assert catalog.parent is None
    assert not trace.get_current_span().get_span_context().is_valid


def test_aborted_nested_request_keeps_outer_span(traces: Traces) -> None:
    pair = Pair(traces)
    pair.handlers["bind"] = die
    pair.ask()
    *inner, outer = traces.spans
    assert [is_child(span, outer) for span in inner] == [True, True]
    assert event_names(outer) == ["osb.provisioned"]
    assert not trace.get_current_span().get_span_context().is_valid


def test_aborted_request_keeps_later_active_spans(
    platform: Platform, recorder: Recorder, traces: Traces
) -> None:
    recorder.answers["provision"] = die
    before = context.get_current()
    with pytest.raises(SystemExit):
        platform.put(INSTANCE, PROVISION)
    context.attach(before)  # as an instrumentation of Flask does in any case
    with traces.tracer.start_as_current_span("around"):
        platform.get("/v2/catalog")
    assert is_child(traces.one("GET /v2/catalog"), traces.one("around"))


def test_copied_context_outlives_its_span_safely(
    serve: Serve, recorder: Recorder, traces: Traces, caplog: pytest.LogCaptureFixture
) -> None:
    """A context copied from an ended request or attempt gives later requests no parent."""
    left: list[Context] = []

    def leave(request: object) -> None:
        left.append(copy_context())

    recorder.answers |= {"provision": leave, "update": leave}
    platform = serve(recorder, background=["provision"])
    trace_lifecycle(serve.brokers[0], tracer_provider=traces.provider)
    with step_by_step(serve.brokers[0]) as work:
        platform.put(INSTANCE, PROVISION, query=CAN_POLL)
        work.run_pending()
    assert platform.patch(INSTANCE, {**IDS, "parameters": {"size": 2}}).status_code == 200
    for copied in left:
        copied.run(platform.get, "/v2/catalog")
    assert [span.parent for span in traces.named("GET /v2/catalog")] == [None, None]
    assert {span.status.status_code for span in traces.spans} == {StatusCode.UNSET}
    assert not [record for record in caplog.records if record.name.startswith("opentelemetry")]


def test_concurrent_requests_keep_separate_spans(
    platform: Platform, recorder: Recorder, traces: Traces
) -> None:
    together = threading.Barrier(4)

    def meet(request: object) -> None:
        together.wait(15)
        traces.handler()(request)
        together.wait(15)

    recorder.answers["provision"] = meet
    threads = [threading.Thread(target=platform.put, args=(INSTANCE, PROVISION)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    requests = {own(span).span_id: span for span in traces.spans if span.name != "inside"}
    inside = traces.named("inside")
    assert {parent(span).span_id for span in inside} == requests.keys()
    assert len({own(span).trace_id for span in inside}) == 4


# Work in the background


def is_attempt_of(span: ReadableSpan, request: ReadableSpan) -> bool:
    """Whether a span is a child of the request that started the operation, and linked to it."""
    (link,) = span.links
    return is_child(span, request) and link.context == parent(span) and parent(span).is_remote


def test_asynchronous_provision_stays_in_one_trace(serve: Serve, recorder: Recorder, traces: Traces) -> None:
    """Request, attempts, polls and the later bind follow the trace headers recorded from Cloud Foundry."""

    def provision(request: Any) -> Generator[str, None, Provisioned]:
        yield "Making a volume"
        with traces.tracer.start_as_current_span("inside"):
            if request.attempt == 1:
                raise Retry(after=5, description="Waiting for a name")
        return Provisioned(data={"volume": 7})

    recorder.answers["provision"] = provision
    platform = serve(recorder, catalog=CATALOG, background=["provision"])
    (broker,) = serve.brokers
    trace_lifecycle(broker, tracer_provider=traces.provider)
    lines = {line.name: line for line in lines_of("cloudfoundry")}
    order, poll, bind = lines["cf create-service"], lines["poll"], lines["cf create-service-key"]
    send = platform.send
    with step_by_step(broker) as work:
        answer = send(order.method, order.path, order.body, query=order.query, headers={**order.headers})
        assert answer.status_code == 202
        work.run_pending()
        query = poll.query.replace("OPERATION", answer.json["operation"])
        send(poll.method, poll.path, query=query, headers={**poll.headers})
        work.sleep(6)
        send(poll.method, poll.path, query=query, headers={**poll.headers})
    assert send(bind.method, bind.path, bind.body, headers={**bind.headers}).status_code == 201

    route = "/v2/service_instances/{instance_id}"
    (request,) = traces.named(f"PUT {route}")
    attempts, inside = traces.named("provision attempt"), traces.named("inside")
    assert {own(span).trace_id for span in traces.spans} == {0x4BF92F3577B34DA6}
    assert (parent(request).span_id, parent(request).is_remote) == (0x4BF92F3577B34DA6, True)
    assert all(is_attempt_of(attempt, request) for attempt in attempts)
    assert [attempt.kind for attempt in attempts] == [SpanKind.CONSUMER] * 2
    assert [attempt.status.status_code for attempt in attempts] == [StatusCode.UNSET] * 2
    assert [is_child(*pair) for pair in zip(inside, attempts, strict=True)] == [True, True]
    assert len(traces.named(f"GET {route}/last_operation")) == 2
    bound = traces.one(f"PUT {route}/service_bindings/{{binding_id}}")
    assert event_names(bound) == ["osb.bound"]

    assert attributes_of(request)["http.response.status_code"] == 202
    assert event_names(request) == ["osb.operation_started"]
    operation_id = answer.json["operation"]
    assert attributes_of(request)["osb.operation_id"] == operation_id
    polls = traces.named(f"GET {route}/last_operation")
    assert {attributes_of(span)["osb.operation_id"] for span in polls} == {operation_id}
    assert attributes_of(attempts[1]) == {
        "osb.operation": "provision",
        "osb.operation_id": operation_id,
        "osb.instance_id": order.path.rpartition("/")[2],
        "osb.offering": "postgres",
        "osb.plan": "small",
        "osb.attempt": 2,
        "osb.attempt_end": "succeeded",
        "osb.platform": "cloudfoundry",
        "osb.platform_user": "d4444444-0000-4000-8000-000000000004",
        "osb.username": "platform",
        "osb.request_identity": "e5555555-0000-4000-8000-000000000005",
        "osb.correlation_id": "f6666666-0000-4000-8000-000000000006::9d3c",
    }
    assert attributes_of(attempts[0])["osb.attempt_end"] == "retried"
    assert [event_names(attempt) for attempt in attempts] == [
        ["osb.operation_progressed", "osb.operation_progressed"],
        ["osb.operation_progressed", "osb.provisioned"],
    ]
    assert [dict(event.attributes or {}) for event in attempts[0].events] == [
        {"osb.operation": "provision", "osb.operation_id": operation_id, "osb.description": description}
        for description in ("Making a volume", "Waiting for a name")
    ]


def test_async_background_handler_has_attempt_span(serve: Serve, traces: Traces) -> None:
    broker = make_broker(Recorder(), store=serve.store())

    @broker.provision(plan="large", background=True)
    async def provision(request: object) -> None:
        with traces.tracer.start_as_current_span("inside"):
            pass

    trace_lifecycle(broker, tracer_provider=traces.provider)
    platform = serve.attach(broker)
    platform.put(INSTANCE, {**PROVISION, "plan_id": "large-id"}, query=CAN_POLL)
    poll_until_done(platform, INSTANCE)
    (attempt,) = until(lambda: traces.named("provision attempt"))
    assert is_child(traces.one("inside"), attempt)


def test_background_handler_receives_its_attempt_span(
    serve: Serve, recorder: Recorder, traces: Traces
) -> None:
    handed = []

    def provision(request: Any) -> None:
        handed.append(dict(request.headers.trace_context))
        if request.attempt == 1:
            raise Retry(after=5)

    recorder.answers["provision"] = provision
    platform = serve(recorder, background=["provision"])
    trace_lifecycle(serve.brokers[0], tracer_provider=traces.provider)
    with step_by_step(serve.brokers[0]) as work:
        platform.put(INSTANCE, PROVISION, query=CAN_POLL, headers={**B3})
        work.run_pending()
        work.sleep(6)
    for headers, attempt in zip(handed, traces.named("provision attempt"), strict=True):
        assert headers.keys() == {"traceparent", "b3"}
        assert all(f"{own(attempt).span_id:016x}" in value for value in headers.values())


@pytest.mark.parametrize(
    ("error", "kind", "description"),
    [
        (QuotaExceeded("No more than 3."), "QuotaExceeded", "No more than 3."),
        (ValueError("hunter2"), "ValueError", None),
    ],
    ids=["said", "a fault"],
)
def test_failed_attempt_is_a_span_error(
    serve: Serve, recorder: Recorder, traces: Traces, error: Exception, kind: str, description: str | None
) -> None:
    recorder.answers["provision"] = error
    platform = serve(recorder, background=["provision"])
    trace_lifecycle(serve.brokers[0], tracer_provider=traces.provider)
    with step_by_step(serve.brokers[0]) as work:
        platform.put(INSTANCE, PROVISION, query=CAN_POLL)
        work.run_pending()
    attempt = traces.one("provision attempt")
    assert (attempt.status.status_code, attempt.status.description) == (StatusCode.ERROR, description)
    assert (attributes_of(attempt)["error.type"], attributes_of(attempt)["osb.attempt_end"]) == (
        kind,
        "failed",
    )
    assert event_names(attempt) == ["osb.operation_failed"]
    assert "hunter2" not in attempt.to_json()


def test_interrupted_attempt_is_a_span_error(
    serve: Serve, recorder: Recorder, traces: Traces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault in the broker interrupts the attempt before its failure can be stored."""

    def fail(*arguments: object) -> None:
        raise RuntimeError("hunter2")

    platform = serve(recorder, background=["provision"])
    (broker,) = serve.brokers
    trace_lifecycle(broker, tracer_provider=traces.provider)
    with step_by_step(broker) as work:
        platform.put(INSTANCE, PROVISION, query=CAN_POLL)
        running = broker._runtime
        assert running is not None
        monkeypatch.setattr(running.store, "end", fail)
        work.run_pending()
        monkeypatch.undo()
    attempt = traces.one("provision attempt")
    assert (attempt.status.status_code, attempt.status.description) == (StatusCode.ERROR, None)
    assert (attributes_of(attempt)["error.type"], attributes_of(attempt)["osb.attempt_end"]) == (
        "RuntimeError",
        "interrupted",
    )


def test_recovered_operation_continues_the_trace(serve: Serve, recorder: Recorder, traces: Traces) -> None:
    """A second broker with the same store recovers the operation, in the same trace."""

    def provision(request: Any) -> Generator[str, None, None]:
        yield f"Attempt {request.attempt}"

    recorder.answers["provision"] = provision
    platform, other = (serve(recorder, background=["provision"], lease=0.6) for _ in range(2))
    hanging, _ = serve.brokers
    for broker in serve.brokers:
        trace_lifecycle(broker, tracer_provider=traces.provider)
    with step_by_step(hanging) as work:
        platform.put(INSTANCE, PROVISION, query=CAN_POLL)
        work.step()
        running = hanging._runtime
        assert running is not None
        running.heartbeat.stop()  # as if all of the process hung
        assert poll_until_done(other, INSTANCE)["state"] == "succeeded"
        until(lambda: traces.named("provision attempt"))
        work.run_pending()
    second, first = traces.named("provision attempt")
    request = traces.one("PUT /v2/service_instances/{instance_id}")
    assert is_attempt_of(first, request)
    assert is_attempt_of(second, request)
    assert [attributes_of(span)["osb.attempt"] for span in (first, second)] == [1, 2]
    assert [attributes_of(span)["osb.attempt_end"] for span in (first, second)] == ["cancelled", "succeeded"]
    assert first.status.status_code is StatusCode.UNSET


def test_attempt_of_untraced_request_starts_a_trace(serve: Serve, recorder: Recorder, traces: Traces) -> None:
    platform = serve(recorder, background=["provision"])
    with step_by_step(serve.brokers[0]) as work:
        platform.put(INSTANCE, PROVISION, query=CAN_POLL)
        trace_lifecycle(serve.brokers[0], tracer_provider=traces.provider)
        work.run_pending()
    attempt = traces.one()
    assert (attempt.parent, list(attempt.links)) == (None, [])


def test_poll_span_records_the_operation_result(serve: Serve, recorder: Recorder, traces: Traces) -> None:
    """The event has the masked description, and the poll's own status stays unset."""
    recorder.answers["provision"] = Accepted(operation="hunter2")
    recorder.answers["last_operation"] = LastOperation.failed("No room, password=hunter2")
    platform = serve(recorder)
    trace_lifecycle(serve.brokers[0], tracer_provider=traces.provider)
    platform.put(INSTANCE, PROVISION, query=CAN_POLL)
    assert last_operation(platform, INSTANCE)["state"] == "failed"
    accepted, poll = traces.spans
    (event,) = poll.events
    assert event.name == "osb.operation_failed"
    assert dict(event.attributes or {}) == {
        "osb.operation": "provision",
        "osb.operation_id": attributes_of(accepted)["osb.operation_id"],
        "osb.description": "No room, password=***",
    }
    assert poll.status.status_code is StatusCode.UNSET, "the poll did not fail"


def test_signal_outside_requests_adds_no_event(broker: Broker, traces: Traces) -> None:
    trace_lifecycle(broker, tracer_provider=traces.provider)
    facts = {"result": None, "operation": "provision", "operation_id": "o1"}
    with traces.tracer.start_as_current_span("another"):
        signals.send(signals.provisioned, broker, **facts)
    assert not traces.one().events


def test_celery_worker_continues_trace_after_kill(tmp_path: Path, redis_url: str, traces: Traces) -> None:
    """The first attempt kills its worker process. The second attempt continues the same trace."""
    url, spans = f"sqlite:///{tmp_path / 'broker.db'}?lease=1", tmp_path / "spans"
    with serving(url, redis_url, traces) as platform:
        order = platform.put(INSTANCE, {**PROVISION, "plan_id": "large-id"}, query=CAN_POLL, headers={**X_B3})
        assert order.status_code == 202
        with CeleryWorker(
            f"{traced.__name__}:celery_app",
            *("--pool=solo", "--loglevel=INFO"),
            log=tmp_path / "log",
            **{traced.STORE: url, traced.REDIS: redis_url, traced.SPANS: str(spans)},
        ) as worker:
            until(lambda: worker.has_ended, timeout=60)
            worker.reap()
            worker.start()
            done = until(
                lambda: (
                    (response := last_operation(platform, INSTANCE))["state"] != "in progress" and response
                ),
                timeout=60,
            )
            assert done["state"] == "succeeded"
            until(lambda: spans.read_text("utf-8").count("\n") == 3)
    first, second, attempt = (json.loads(line) for line in spans.read_text("utf-8").splitlines())
    request = own(traces.one("PUT /v2/service_instances/{instance_id}"))
    assert attempt["name"] == "provision attempt"
    assert attempt["attributes"]["osb.attempt"] == 2
    assert attempt["parent_id"] == f"0x{request.span_id:016x}"
    assert [link["context"]["span_id"] for link in attempt["links"]] == [attempt["parent_id"]]
    for span in (first, second, attempt):
        assert span["context"]["trace_id"] == f"0x{given('x-b3')[0]:032x}"
    assert second["parent_id"] == attempt["context"]["span_id"]
    assert first["parent_id"] not in (second["parent_id"], attempt["parent_id"]), "that of the dead"


@contextmanager
def serving(url: str, redis: str, traces: Traces) -> Iterator[StoredPlatform]:
    """Serve the broker of the Celery workers in this process."""
    serve = Serve(url)
    broker, _ = traced.make_broker(url, redis, traces.provider)
    yield serve.attach(broker)
    serve.stop()


# Configuration


def test_repeated_trace_lifecycle_replaces_the_provider(broker: Broker, traces: Traces) -> None:
    """The last call sets the provider and no span is duplicated, so each test can use its own provider."""
    before = Traces()
    for recorded in (before, traces):
        trace_lifecycle(broker, tracer_provider=recorded.provider)
    Platform(make_app(broker)).put(INSTANCE, PROVISION)
    assert before.spans == []
    assert event_names(traces.one()) == ["osb.provisioned"]


def test_trace_lifecycle_requires_a_broker() -> None:
    with pytest.raises(TypeError, match="give the Broker"):
        trace_lifecycle(make_app())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "provider",
    [None, trace.NoOpTracerProvider(), trace.get_tracer_provider()],
    ids=["none", "one that does nothing", "one that is set later, perhaps"],
)
def test_unconfigured_opentelemetry_changes_nothing(
    serve: Serve, recorder: Recorder, provider: trace.TracerProvider | None
) -> None:
    seen = []

    def provision(request: Any) -> None:
        assert trace.get_current_span() is trace.INVALID_SPAN
        seen.append(request.headers.trace_context)

    recorder.answers["provision"] = provision
    platform = serve(recorder, background=["provision"])
    trace_lifecycle(serve.brokers[0], tracer_provider=provider)
    headers = {**W3C, **B3, **X_B3}
    with step_by_step(serve.brokers[0]) as work:
        assert platform.put(INSTANCE, PROVISION, query=CAN_POLL, headers={**headers}).status_code == 202
        work.run_pending()
    assert seen == [{name.lower(): value for name, value in headers.items()}]


LATER = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from brokerkit.observe.opentelemetry import trace_lifecycle
from tests.conftest import Platform, Recorder, make_app, make_broker

broker = make_broker(Recorder())
trace_lifecycle(broker, tracer_provider={provider})
platform = Platform(make_app(broker))
platform.get("/v2/nothing")
exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
platform.get("/v2/catalog")
print(*(span.name for span in exporter.get_finished_spans()))
"""


@pytest.mark.integration
@pytest.mark.parametrize("provider", ["None", "trace.get_tracer_provider()"])
def test_opentelemetry_can_be_configured_later(provider: str) -> None:
    assert run(LATER.format(provider=provider)).stdout == "GET /v2/catalog\n"


@pytest.mark.integration
@pytest.mark.parametrize("missing", ["opentelemetry", "opentelemetry.propagators.b3"])
def test_missing_extra_names_the_install_command(missing: str) -> None:
    done = run(f"import sys; sys.modules[{missing!r}] = None; import brokerkit.observe.opentelemetry")
    assert done.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: brokerkit.observe.opentelemetry needs the extra 'opentelemetry': pip install"
        " 'osb-brokerkit[opentelemetry]'"
    )


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )


def test_request_started_before_tracing_has_no_span(
    broker: Broker, recorder: Recorder, traces: Traces
) -> None:
    recorder.answers["provision"] = lambda request: trace_lifecycle(broker, tracer_provider=traces.provider)
    trace_lifecycle(broker)
    assert Platform(make_app(broker)).put(INSTANCE, PROVISION).status_code == 201
    assert traces.spans == []


# Secrets

SECRETS = ("p4rameter", "cr3dential", "d4ta", "b0dy", "c0ntext", "userinf0", "s3cret", "m3ssage", "qu3ry")


def test_spans_of_whole_lifecycle_contain_no_secrets(
    serve: Serve, recorder: Recorder, traces: Traces
) -> None:
    body = {
        **IDS,
        "parameters": {"password": SECRETS[0]},
        "vendor": SECRETS[3],
        "context": {"platform": "x", "y": SECRETS[4]},
    }
    data = {"n": SECRETS[2]}
    recorder.answers |= {
        "provision": Provisioned(dashboard_url=f"https://u:{SECRETS[5]}@example.org/", data=data),
        "bind": Binding(credentials={"uri": SECRETS[1]}, data=data),
    }
    platform = serve(recorder, background=["provision", "bind"])
    trace_lifecycle(serve.brokers[0], tracer_provider=traces.provider)
    query = f"{CAN_POLL}&qu3ry=qu3ry"
    with step_by_step(serve.brokers[0]) as work:
        assert platform.put(INSTANCE, {**PROVISION, **body}, query=query).status_code == 202
        work.run_pending()
        assert platform.put(BINDING, body, query=query).status_code == 202
        work.run_pending()
        assert platform.get(BINDING, query="qu3ry").status_code == 200
        assert platform.get(INSTANCE, query="qu3ry").status_code == 200
        assert platform.put(INSTANCE, {**PROVISION, **body, "plan_id": "large-id"}).status_code == 409
        recorder.answers |= {"update": ValueError("m3ssage"), "unbind": KeyError("m3ssage")}
        assert platform.patch(INSTANCE, {**body, "plan_id": "large-id"}).status_code == 500
        assert platform.delete(BINDING, query=f"{DELETE_QUERY}&qu3ry").status_code == 500
        assert platform.get("/v2/qu3st", query="qu3ry").status_code == 404
    recorder.answers["provision"] = TimeoutError("m3ssage")
    with step_by_step(serve.brokers[0]) as work:
        platform.put(f"{INSTANCE}-2", {**PROVISION, **body}, query=query)
        work.run_pending()
    written = "".join(span.to_json() for span in traces.spans)
    assert len(traces.spans) == 12
    assert [secret for secret in SECRETS if secret in written] == []
