"""The signals that a broker sends: each event once, and never a secret."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from blinker import Signal

from brokerkit import (
    Accepted,
    Binding,
    Broker,
    BrokerError,
    Catalog,
    DashboardClient,
    Deprovisioned,
    InstanceDetails,
    InstanceDoesNotExist,
    LastOperation,
    Operation,
    Provisioned,
    QuotaExceeded,
    Unbound,
    Updated,
    VolumeDevice,
    VolumeMount,
    signals,
)
from brokerkit.signals import provisioned

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
    make_offering,
)

DONE = ("provisioned", "updated", "deprovisioned", "bound", "unbound")
GOING_ON = ("operation_started", "operation_progressed", "operation_failed")
ALL = (*DONE, *GOING_ON, "request_started", "request_finished", "authentication_failed")
OF_A_STORE = ("attempt_started", "attempt_finished", "audited")

SECRET = "hunter2"


@contextmanager
def listening(sender: object, *names: str) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Collect the signals of a broker as pairs of name and arguments."""
    sent: list[tuple[str, dict[str, Any]]] = []
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(_listening_to(name, sender, sent))
        yield sent


@contextmanager
def _listening_to(name: str, sender: object, sent: list[tuple[str, dict[str, Any]]]) -> Iterator[None]:
    def receive(broker: object, **facts: Any) -> None:
        assert broker is sender
        sent.append((name, facts))

    with signal(name).connected_to(receive, sender=sender):
        yield


def signal(name: str) -> Signal:
    result = getattr(signals, name)
    assert isinstance(result, Signal)
    return result


def send(platform: Platform, operation: str, **more: Any) -> int:
    query = {"query": DELETE_QUERY}
    parameters = {"parameters": {"password": SECRET * 2}}
    match operation:
        case "provision":
            return platform.put(INSTANCE, {**PROVISION, **parameters}, **more).status_code
        case "update":
            return platform.patch(INSTANCE, {**IDS, **parameters}, **more).status_code
        case "deprovision":
            return platform.delete(INSTANCE, **{**query, **more}).status_code
        case "bind":
            return platform.put(BINDING, {**IDS, **parameters}, **more).status_code
        case "unbind":
            return platform.delete(BINDING, **{**query, **more}).status_code
        case "get_instance":
            return platform.get(INSTANCE, **more).status_code
        case "get_binding":
            return platform.get(BINDING, **more).status_code
        case "last_operation":
            return platform.get(f"{INSTANCE}/last_operation", **more).status_code
        case "last_binding_operation":
            return platform.get(f"{BINDING}/last_operation", **more).status_code
        case _:
            return platform.get("/v2/catalog", **more).status_code


def asynchronously(operation: str) -> dict[str, str]:
    query = "accepts_incomplete=true"
    return {"query": f"{DELETE_QUERY}&{query}" if operation in ("deprovision", "unbind") else query}


# request_started and request_finished

REQUEST_FACTS = {
    *("operation", "status", "seconds", "instance_id", "binding_id"),
    *("headers", "request", "result", "error", "operation_id"),
}


@pytest.mark.parametrize(
    ("operation", "status", "result"),
    [
        ("catalog", 200, Catalog),
        ("provision", 201, Provisioned),
        ("update", 200, Updated),
        ("deprovision", 200, Deprovisioned),
        ("bind", 201, Binding),
        ("unbind", 200, Unbound),
        ("get_instance", 200, InstanceDetails),
        ("get_binding", 200, Binding),
        ("last_operation", 200, LastOperation),
        ("last_binding_operation", 200, LastOperation),
    ],
)
def test_request_finished_reports_successful_operations(
    operation: str, status: int, result: type, broker: Broker, platform: Platform, recorder: Recorder
) -> None:
    with listening(broker, "request_finished") as sent:
        assert send(platform, operation) == status
    ((_, facts),) = sent
    assert facts.keys() == REQUEST_FACTS
    has_instance = operation != "catalog"
    assert facts["instance_id"] == ("i1" if has_instance else None)
    assert facts["binding_id"] == ("b1" if "bind" in operation else None)
    assert facts["operation_id"] is None
    assert facts["headers"] is facts["request"].headers
    assert facts["operation"] is Operation(operation)
    assert facts["status"] == status
    assert 0 < facts["seconds"] < 60
    assert type(facts["result"]) is result
    assert facts["error"] is None
    if operation == "catalog":
        assert facts["request"].headers.api_version == "2.17"
    else:
        assert facts["request"] is recorder.request


def test_request_started_is_sent_before_authentication(broker: Broker, platform: Platform) -> None:
    with listening(broker, "request_started", "authentication_failed") as sent:
        assert send(platform, "bind", headers={"Authorization": None, "B3": "0"}) == 401
    assert sent[0] == (
        "request_started",
        {
            "operation": Operation.BIND,
            "method": "PUT",
            "scheme": "http",
            "path": BINDING,
            "instance_id": "i1",
            "binding_id": "b1",
            "trace_context": {"b3": "0"},
        },
    )
    assert sent[1][0] == "authentication_failed"


def test_request_started_reports_unknown_path(broker: Broker, platform: Platform) -> None:
    with listening(broker, "request_started") as sent:
        assert platform.send("POST", "/v2/nothing").status_code == 404
    ((_, facts),) = sent
    assert (facts["operation"], facts["method"], facts["instance_id"]) == (None, "POST", None)


TRACE = {
    "Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "Tracestate": "a=b",
    "B3": "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1",
    "X-B3-TraceId": "80f198ee56343ba864fe8b2a57d3eff7",
    "X-B3-SpanId": "e457b5a2e4d86bd1",
    "X-B3-ParentSpanId": "05e3ac9a4f6e3b90",
    "X-B3-Sampled": "1",
    "X-B3-Flags": "0",
}


@pytest.mark.rule("R-REQ-5")
def test_trace_context_reaches_handler(platform: Platform, recorder: Recorder) -> None:
    """Trace headers are passed on; an overlong one is dropped."""
    send(platform, "provision", headers={**TRACE, "X-B3-Flags": "0" * 2000})
    assert recorder.request.headers.trace_context == {
        name.lower(): value for name, value in TRACE.items() if name != "X-B3-Flags"
    }


def test_request_started_receiver_may_replace_trace_context(
    broker: Broker, platform: Platform, recorder: Recorder
) -> None:
    def take(sender: object, **extra: Any) -> signals.TraceContext:
        return signals.TraceContext({"traceparent": "mine"})

    with signals.request_started.connected_to(take, sender=broker):
        send(platform, "provision", headers=TRACE)
    assert recorder.request.headers.trace_context == {"traceparent": "mine"}


@pytest.mark.parametrize("operation", ["provision", "update", "deprovision", "bind", "unbind"])
def test_request_finished_reports_202(
    operation: str, broker: Broker, platform: Platform, recorder: Recorder
) -> None:
    recorder.answers[operation] = Accepted(operation="job")
    with listening(broker, "request_finished") as sent:
        assert send(platform, operation, **asynchronously(operation)) == 202
    ((_, facts),) = sent
    assert facts["status"] == 202
    assert facts["result"] is recorder.answers[operation]


@pytest.mark.parametrize(
    ("method", "path", "more", "status", "operation"),
    [
        ("GET", "/v2/catalog", {"headers": {"Authorization": None}}, 401, "catalog"),
        ("GET", "/v2/nothing", {}, 404, None),
        ("GET", "/v2/nothing", {"headers": {"Authorization": None}}, 401, None),
        ("POST", "/v2/catalog", {}, 405, None),
        ("GET", "/v2/catalog", {"headers": {"X-Broker-API-Version": None}}, 400, "catalog"),
        ("GET", "/v2/catalog", {"headers": {"X-Broker-API-Version": "1.0"}}, 412, "catalog"),
        ("PUT", INSTANCE, {"data": b"{"}, 400, "provision"),
        ("PUT", INSTANCE, {"data": b" " * 2**21}, 413, "provision"),
        ("DELETE", INSTANCE, {}, 400, "deprovision"),
    ],
)
def test_request_finished_reports_early_refusals(
    method: str,
    path: str,
    more: dict[str, Any],
    status: int,
    operation: str | None,
    broker: Broker,
    platform: Platform,
) -> None:
    """A request refused before decoding has an error and no request object."""
    with listening(broker, "request_finished") as sent:
        assert platform.send(method, path, **more).status_code == status
    ((_, facts),) = sent
    assert facts["operation"] == operation
    assert facts["status"] == status
    assert facts["request"] is None
    assert facts["headers"] is None or status in (400, 413)
    assert facts["instance_id"] == ("i1" if path == INSTANCE else None)
    assert facts["result"] is None
    assert isinstance(facts["error"], BrokerError)


@pytest.mark.parametrize(
    ("error", "status"),
    [(QuotaExceeded(), 400), (BrokerError("broken", status=503), 503), (LookupError("x"), 500)],
)
def test_request_finished_reports_handler_error(
    error: Exception, status: int, broker: Broker, platform: Platform, recorder: Recorder
) -> None:
    recorder.answers["provision"] = error
    with listening(broker, "request_finished") as sent:
        assert send(platform, "provision") == status
    ((_, facts),) = sent
    assert facts["status"] == status
    assert facts["request"] is recorder.request
    assert facts["result"] is None
    assert facts["error"] is error


def test_request_finished_reports_410(broker: Broker, platform: Platform, recorder: Recorder) -> None:
    recorder.answers["deprovision"] = InstanceDoesNotExist()
    with listening(broker, "request_finished") as sent:
        assert send(platform, "deprovision") == 410
    assert sent[0][1]["status"] == 410


def test_request_finished_reports_handler_mistake_as_500(
    broker: Broker, platform: Platform, recorder: Recorder
) -> None:
    recorder.answers["bind"] = Provisioned()
    with listening(broker, "request_finished", *DONE) as sent:
        assert send(platform, "bind") == 500
    ((name, facts),) = sent
    assert (name, facts["status"], facts["result"]) == ("request_finished", 500, None)
    assert "returned a Provisioned" in str(facts["error"])


@pytest.mark.rule("R-CAT-8")
def test_request_finished_reports_304(broker: Broker, platform: Platform) -> None:
    with listening(broker, "request_finished") as sent:
        response = platform.get("/v2/catalog", headers={"If-None-Match": "*"})
    assert response.status_code == 304
    assert sent[0][1]["status"] == 304


# Finished operations


@pytest.mark.parametrize(
    ("operation", "name", "result"),
    [
        ("provision", "provisioned", Provisioned(dashboard_url="https://db.example.org")),
        ("update", "updated", Updated(dashboard_url="https://db.example.org")),
        ("deprovision", "deprovisioned", Deprovisioned()),
        ("bind", "bound", Binding(credentials={"uri": "x"})),
        ("unbind", "unbound", Unbound()),
    ],
)
def test_completion_signal_is_sent_once(
    operation: str, name: str, result: object, broker: Broker, platform: Platform, recorder: Recorder
) -> None:
    """The signal carries the request and the result."""
    recorder.answers[operation] = result
    with listening(broker, *ALL) as sent:
        assert send(platform, operation) in (200, 201)
    assert [signal_name for signal_name, _ in sent] == ["request_started", name, "request_finished"]
    facts = sent[1][1]
    assert 0 <= facts.pop("seconds") < 60
    assert facts == {
        "request": recorder.request,
        "result": result,
        "operation": Operation(operation),
        "operation_id": None,
    }
    assert facts["request"] is recorder.request


@pytest.mark.parametrize(
    ("operation", "name", "result"),
    [
        ("provision", "provisioned", Provisioned()),
        ("update", "updated", Updated()),
        ("deprovision", "deprovisioned", Deprovisioned()),
        ("unbind", "unbound", Unbound()),
    ],
)
def test_none_result_is_signaled_as_success(
    operation: str, name: str, result: object, broker: Broker, platform: Platform
) -> None:
    """Receivers get the plain result object instead of None."""
    with listening(broker, name) as sent:
        send(platform, operation)
    assert sent[0][1]["result"] == result


@pytest.mark.rule("R-PROV-3", "R-BIND-1")
@pytest.mark.parametrize(
    ("operation", "result"),
    [("provision", Provisioned(exists=True)), ("bind", Binding(exists=True))],
)
def test_existing_resource_sends_no_completion_signal(
    operation: str, result: object, broker: Broker, platform: Platform, recorder: Recorder
) -> None:
    recorder.answers[operation] = result
    with listening(broker, *DONE, *GOING_ON) as sent:
        assert send(platform, operation) == 200
    assert not sent


@pytest.mark.parametrize("operation", ["provision", "update", "deprovision", "bind", "unbind"])
@pytest.mark.parametrize("error", [QuotaExceeded(), LookupError("x"), BrokerError()])
def test_failed_operation_sends_no_completion_signal(
    operation: str, error: Exception, broker: Broker, platform: Platform, recorder: Recorder
) -> None:
    recorder.answers[operation] = error
    with listening(broker, *DONE, *GOING_ON) as sent:
        assert send(platform, operation) >= 400
    assert not sent


@pytest.mark.parametrize("operation", ["provision", "update", "deprovision", "bind", "unbind"])
def test_invalid_result_sends_no_completion_signal(
    operation: str, broker: Broker, platform: Platform, recorder: Recorder
) -> None:
    recorder.answers[operation] = "done"
    with listening(broker, *DONE, *GOING_ON) as sent:
        assert send(platform, operation) == 500
    assert not sent


@pytest.mark.parametrize("operation", ["get_instance", "get_binding", "catalog"])
def test_fetch_sends_only_request_signals(operation: str, broker: Broker, platform: Platform) -> None:
    with listening(broker, *ALL) as sent:
        assert send(platform, operation) == 200
    assert [name for name, _ in sent] == ["request_started", "request_finished"]


# Operations in progress


@pytest.mark.parametrize("operation", ["provision", "update", "deprovision", "bind", "unbind"])
def test_operation_started_is_sent_for_accepted(
    operation: str, broker: Broker, platform: Platform, recorder: Recorder
) -> None:
    recorder.answers[operation] = Accepted(operation="job")
    with listening(broker, *DONE, *GOING_ON) as sent:
        assert send(platform, operation, **asynchronously(operation)) == 202
    ((name, facts),) = sent
    assert name == "operation_started"
    assert facts["request"] is recorder.request
    assert facts["result"] is recorder.answers[operation]
    assert facts["operation"] is Operation(operation)


@pytest.mark.parametrize("operation", ["last_operation", "last_binding_operation"])
@pytest.mark.parametrize(
    ("result", "names"),
    [
        (LastOperation.in_progress("half"), ["operation_progressed"]),
        (LastOperation.failed("no disk"), ["operation_failed"]),
        (LastOperation.succeeded(), []),
    ],
)
def test_poll_sends_progress_and_failure_signals(
    operation: str,
    result: LastOperation,
    names: list[str],
    broker: Broker,
    platform: Platform,
    recorder: Recorder,
) -> None:
    """A poll with the state `succeeded` sends no signal."""
    recorder.answers[operation] = result
    with listening(broker, *DONE, *GOING_ON) as sent:
        assert send(platform, operation) == 200
    assert [name for name, _ in sent] == names
    for _, facts in sent:
        assert facts["request"] is recorder.request
        assert facts["result"] is result
        assert facts["operation"] is Operation(operation)


# Receivers


@pytest.mark.parametrize("name", ["provisioned", "request_finished"])
def test_receiver_exception_is_logged_and_isolated(
    name: str,
    broker: Broker,
    platform: Platform,
    recorder: Recorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The response and the other receivers are not affected."""

    def fail(broker: object, **facts: Any) -> None:
        raise RuntimeError("the metrics are down")

    with (
        listening(broker, name) as before,
        signal(name).connected_to(fail, sender=broker),
        listening(broker, name) as after,
    ):
        response = platform.put(INSTANCE, PROVISION)
    assert response.status_code == 201
    assert response.json == {}
    assert len(before) == len(after) == 1
    assert "the metrics are down" in caplog.text
    assert caplog.records[0].name.startswith("brokerkit")


def test_receiver_with_wrong_signature_is_logged(
    broker: Broker, platform: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    """The response is not affected."""

    def too_little(broker: object) -> None: ...

    with signals.provisioned.connected_to(too_little, sender=broker):
        assert send(platform, "provision") == 201
    assert "too_little" in caplog.text


def test_receiver_is_limited_to_its_sender(recorder: Recorder) -> None:
    """A receiver connected to one broker is not called for another broker."""
    one, other = make_broker(recorder), make_broker(recorder)
    app = make_app(one)
    app.register_blueprint(other.blueprint, url_prefix="/other")
    senders: list[object] = []

    @signals.provisioned.connect_via(one)
    def receive(broker: object, **facts: Any) -> None:
        senders.append(broker)

    platform = Platform(app)
    assert platform.put(f"/other{INSTANCE}", PROVISION).status_code == 201
    assert senders == []
    assert platform.put(INSTANCE, PROVISION).status_code == 201
    assert senders == [one]


def test_receiver_without_sender_gets_each_broker(recorder: Recorder) -> None:
    """A receiver connected without a sender receives the broker as its first argument."""
    one, other = make_broker(recorder), make_broker(recorder)
    app = make_app(one)
    app.register_blueprint(other.blueprint, url_prefix="/other")
    senders: list[object] = []

    def receive(broker: object, **facts: Any) -> None:
        senders.append(broker)

    with signals.provisioned.connected_to(receive):
        platform = Platform(app)
        platform.put(f"/other{INSTANCE}", PROVISION)
        platform.put(INSTANCE, PROVISION)
    assert senders == [other, one]


def test_muted_signal_is_not_sent(broker: Broker, platform: Platform) -> None:
    with listening(broker, "provisioned") as sent:
        with signals.provisioned.muted():
            assert send(platform, "provision") == 201
        assert not sent
        assert send(platform, "provision") == 201
    assert len(sent) == 1


def test_every_signal_is_tested() -> None:
    """Every signal of the module is covered here or in the tests of the stateful signals."""
    known = {*ALL, *OF_A_STORE}  # those are in lifecycle/test_signal_rules.py
    assert {name for name, value in vars(signals).items() if isinstance(value, Signal)} == known


# Secrets


SECRETS = {
    "provision": Provisioned(dashboard_url="https://db.example.org"),
    "update": Updated(),
    "bind": Binding(
        credentials={"password": SECRET},
        syslog_drain_url=f"syslog://u:{SECRET}@example.org",
        route_service_url=f"https://u:{SECRET}@example.org",
        volume_mounts=[
            VolumeMount(
                driver="nfs",
                container_dir="/data",
                mode="rw",
                device=VolumeDevice(volume_id="v1", mount_config={"password": SECRET}),
            )
        ],
    ),
    "get_instance": InstanceDetails(parameters={"password": SECRET}),
    "get_binding": Binding(credentials={"password": SECRET}, parameters={"password": SECRET}),
    "catalog": None,
}


@pytest.mark.parametrize("operation", SECRETS)
def test_request_and_result_repr_contain_no_secret(operation: str, recorder: Recorder) -> None:
    offering = make_offering(
        requires=["syslog_drain", "route_forwarding", "volume_mount"],
        dashboard_client=DashboardClient(
            id="c", secret=f"{SECRET}-client", redirect_uri="https://db.example.org"
        ),
    )
    broker = make_broker(recorder, catalog=Catalog([offering]))
    recorder.answers[operation] = SECRETS[operation]
    with listening(broker, *ALL) as sent:
        assert send(Platform(make_app(broker)), operation) in (200, 201)
    assert sent
    assert SECRET not in repr(sent)
    assert SECRET not in str(sent)
    assert "***" in repr(sent)


def test_parameter_refusal_signal_contains_no_value(
    broker: Broker, platform: Platform, recorder: Recorder
) -> None:
    """The signal names the refused parameters but contains no value."""
    with listening(broker, *ALL) as sent:
        response = platform.put(
            INSTANCE, {**PROVISION, "parameters": {"size": SECRET, "password": "short-1"}}
        )
    assert response.status_code == 400
    assert "parameters.size" in repr(sent)
    assert SECRET not in repr(sent)
    assert "short-1" not in repr(sent)


def test_request_repr_is_short(platform: Platform, recorder: Recorder) -> None:
    """The repr names the offering and the plan without their contents."""
    platform.put(INSTANCE, PROVISION)
    assert "offering='db', plan='small'" in repr(recorder.request)
    assert len(repr(recorder.request)) < 700


def test_async_receiver_is_logged_with_advice(
    broker: Broker, platform: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    """The log advises to connect a plain function; the response is not affected."""

    async def count(sender: object, **facts: object) -> None: ...

    with provisioned.connected_to(count, sender=broker):
        assert platform.put(INSTANCE, PROVISION).status_code == 201
    assert "connect a plain function" in caplog.text


def test_receiver_base_exception_is_logged(
    broker: Broker, platform: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    """A BaseException raised by a receiver does not affect the response."""

    class Cancelled(BaseException): ...

    def fail(sender: object, **facts: object) -> None:
        raise Cancelled

    with provisioned.connected_to(fail, sender=broker):
        assert platform.put(INSTANCE, PROVISION).status_code == 201
    assert "Cancelled" in caplog.text


def test_receiver_system_exit_propagates(broker: Broker, platform: Platform) -> None:
    def stop(sender: object, **facts: object) -> None:
        raise SystemExit

    with provisioned.connected_to(stop, sender=broker), pytest.raises(SystemExit):
        platform.put(INSTANCE, PROVISION)
