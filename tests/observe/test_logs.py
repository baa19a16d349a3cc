"""The records of `log_lifecycle`: one for each event, with its fields and without secrets."""

from __future__ import annotations

import gc
import io
import json
import logging
import re
import weakref
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from brokerkit import (
    Accepted,
    Binding,
    Broker,
    BrokerError,
    LastOperation,
    Provisioned,
    QuotaExceeded,
    Retry,
)
from brokerkit.observe.logs import ContextFilter, json_handler, log_lifecycle
from brokerkit.testing import serve as serve_over_http
from brokerkit.testing.step_executor import step_by_step

from ..server.test_signals import DONE, asynchronously, send
from ..support.broker import (
    BINDING,
    DELETE_QUERY,
    IDS,
    INSTANCE,
    PROVISION,
    Platform,
    Recorder,
    basic,
    make_app,
    make_broker,
    make_offering,
)
from ..support.stateful import CAN_POLL, Serve, poll_until_done, quick_offering, until
from .captured_logs import Log, fields_of
from .conftest import HEADERS, SECRET_OF_A_USER, WHO, ask

WHAT = {"instance_id": "i1", "offering": "db", "plan": "small"}
SECONDS = re.compile(r"\d+\.\d{3} s")


@pytest.fixture
def log(broker: Broker) -> Log:
    """The records of `broker`."""
    created = Log()
    log_lifecycle(broker, created.logger)
    return created


def timeless(messages: list[str]) -> list[str]:
    return [SECONDS.sub("… s", message) for message in messages]


# Requests


@pytest.mark.parametrize(
    ("operation", "line"),
    [
        ("catalog", "Request finished: catalog returned 200 in … s"),
        ("provision", "Request finished: provision of i1 (db, small) returned 201 in … s"),
        ("update", "Request finished: update of i1 (db, small) returned 200 in … s"),
        ("deprovision", "Request finished: deprovision of i1 (db, small) returned 200 in … s"),
        ("bind", "Request finished: bind of i1/b1 (db, small) returned 201 in … s"),
        ("unbind", "Request finished: unbind of i1/b1 (db, small) returned 200 in … s"),
        ("get_instance", "Request finished: get_instance of i1 returned 200 in … s"),
        ("get_binding", "Request finished: get_binding of i1/b1 returned 200 in … s"),
        ("last_operation", "Request finished: last_operation of i1 returned 200 in … s"),
        ("last_binding_operation", "Request finished: last_binding_operation of i1/b1 returned 200 in … s"),
    ],
)
def test_request_is_logged_with_fields(operation: str, line: str, platform: Platform, log: Log) -> None:
    status = send(platform, operation, headers=HEADERS)
    record = log.records[-1]
    assert timeless([record.getMessage()]) == [line]
    assert (record.levelname, record.name) == ("INFO", "test")
    fields = fields_of(record)
    assert 0 < fields.pop("seconds") < 60
    expected = {"event": "request finished", "operation": operation, "status": status, **WHO}
    if "(db, small)" in line:
        expected |= WHAT
    elif operation != "catalog":
        expected["instance_id"] = "i1"
    if "b1" in line:
        expected["binding_id"] = "b1"
    assert fields == expected


@pytest.mark.parametrize(
    ("answer", "level", "status", "text"),
    [
        (QuotaExceeded("Used up"), "INFO", 400, "Used up"),
        (BrokerError("Away", status=503), "ERROR", 503, "Away"),
        (LookupError("hunter2"), "ERROR", 500, "LookupError"),
        (QuotaExceeded("password=hunter2 is\nwrong"), "INFO", 400, "password=*** is\\x0awrong"),
        (QuotaExceeded("x" * 1000), "INFO", 400, "x" * 500 + "…"),
    ],
    ids=["refused", "away", "broken", "secret", "long"],
)
def test_failed_request_logs_safe_error_text(
    platform: Platform, recorder: Recorder, log: Log, answer: Exception, level: str, status: int, text: str
) -> None:
    """A deliberate error logs its masked, truncated description. An unexpected error logs only its type."""
    recorder.answers["provision"] = answer
    assert send(platform, "provision") == status
    (record,) = log.records
    assert record.levelname == level
    assert timeless(log.messages) == [
        f"Request finished: provision of i1 (db, small) returned {status} in … s: {text}"
    ]
    assert (log.fields["status"], log.fields["error"]) == (status, text)
    assert record.exc_info is None


def test_unknown_path_is_logged(platform: Platform, log: Log) -> None:
    platform.get("/v2/nothing")
    assert timeless(log.messages) == [
        "Request finished: unknown endpoint returned 404 in … s: This path is not part of the API."
    ]


def test_failed_authentication_logs_warning(platform: Platform, log: Log) -> None:
    """The warning comes in addition to the line for the finished request."""
    platform.put(INSTANCE, PROVISION, headers={"Authorization": basic("platform", "hunter2")})
    failed, answered = log.records
    assert (failed.levelname, answered.levelname) == ("WARNING", "INFO")
    assert failed.getMessage() == f"Authentication failed: PUT {INSTANCE} from 127.0.0.1"
    assert fields_of(failed) == {
        "event": "authentication failed",
        "operation": "provision",
        "instance_id": "i1",
        "method": "PUT",
        "path": INSTANCE,
        "remote_addr": "127.0.0.1",
    }


# Events


@pytest.mark.parametrize("event", DONE)
def test_completed_change_is_logged(event: str, platform: Platform, log: Log) -> None:
    operation = dict(zip(DONE, CHANGING_IN_ORDER, strict=True))[event]
    send(platform, operation, headers=HEADERS)
    record = log.records[0]
    about = "i1/b1" if "bind" in operation else "i1"
    assert timeless([record.getMessage()]) == [f"{event.capitalize()} {about} (db, small) after … s"]
    fields = fields_of(record)
    fields.pop("binding_id", None)
    assert fields.pop("seconds") >= 0
    assert fields == {"event": event, "operation": operation, **WHAT, **WHO}


CHANGING_IN_ORDER = ("provision", "update", "deprovision", "bind", "unbind")


def test_polled_operation_is_logged(platform: Platform, recorder: Recorder, log: Log) -> None:
    """Start, progress and failure of a polled operation are logged with the escaped description."""
    recorder.answers["provision"] = Accepted()
    send(platform, "provision", **asynchronously("provision"))
    for answer in (LastOperation.in_progress("Half\nof it"), LastOperation.failed("No room")):
        recorder.answers["last_operation"] = answer
        send(platform, "last_operation")
    assert [(record.levelname, SECONDS.sub("… s", record.getMessage())) for record in log.records] == [
        ("INFO", "Operation started: provision of i1 (db, small) after … s"),
        ("INFO", "Request finished: provision of i1 (db, small) returned 202 in … s"),
        ("INFO", "Operation progressed: last_operation of i1 after … s: Half\\x0aof it"),
        ("INFO", "Request finished: last_operation of i1 returned 200 in … s"),
        ("WARNING", "Operation failed: last_operation of i1 after … s: No room"),
        ("INFO", "Request finished: last_operation of i1 returned 200 in … s"),
    ]
    assert fields_of(log.records[2])["description"] == "Half\\x0aof it"
    assert fields_of(log.records[4])["error"] == "No room"


def in_the_background(serve: Serve, recorder: Recorder, answer: Any) -> tuple[Log, list[tuple[str, str]]]:
    """Run an operation in the background and return its log records."""
    recorder.answers["provision"] = answer
    platform = serve(recorder, background=["provision"])
    log = Log()
    log_lifecycle(serve.brokers[-1], log.logger)
    platform.put(INSTANCE, PROVISION, query=CAN_POLL, headers=HEADERS)
    poll_until_done(platform, INSTANCE)
    until(
        lambda: sum("attempt finished" in fields_of(record)["event"] for record in log.records) == tries(log)
    )
    lines = [
        (record.levelname, timeless([record.getMessage()])[0].replace("provision of i1 (db, small)", "…"))
        for record in log.records
        if record.__dict__["event"] not in ("request finished", "operation started")
    ]
    return log, lines


def tries(log: Log) -> int:
    return max(int(fields_of(record).get("attempt", 1)) for record in list(log.records))


def test_background_operation_is_logged_by_attempt(serve: Serve, recorder: Recorder) -> None:
    """Every attempt, progress report, retry and success is logged with one operation id."""

    def work(request: Any) -> Generator[str, None, Provisioned]:
        yield "Making it"
        if request.attempt == 1:
            raise Retry(after=0.01, description="Waiting") from ConnectionError("hunter2")
        return Provisioned()

    log, lines = in_the_background(serve, recorder, work)
    assert lines == [
        ("INFO", "Attempt 1 started: …"),
        ("INFO", "Operation progressed: … after … s: Making it"),
        ("INFO", "Operation progressed: … after … s: Waiting"),
        ("INFO", "Attempt 1 retried: … in … s: ConnectionError"),
        ("INFO", "Attempt 2 started: …"),
        ("INFO", "Operation progressed: … after … s: Making it"),
        ("INFO", "Provisioned i1 (db, small) after … s"),
        ("INFO", "Attempt 2 succeeded: … in … s"),
    ]
    events = [record for record in log.records if "attempt" in fields_of(record)]
    assert len({fields_of(record)["operation_id"] for record in events}) == 1
    assert [fields_of(record)["attempt"] for record in events] == [1, 1, 1, 1, 2, 2, 2, 2]
    for record in events:
        assert (WHAT | WHO | {"operation": "provision"}).items() <= fields_of(record).items()
    ends = [fields_of(record) for record in events if record.__dict__["event"] == "attempt finished"]
    assert [(end["end"], end.get("error")) for end in ends] == [
        ("retried", "ConnectionError"),
        ("succeeded", None),
    ]


@pytest.mark.parametrize(
    ("error", "level", "text"),
    [(QuotaExceeded("Used up"), "INFO", "Used up"), (LookupError("hunter2"), "ERROR", "LookupError")],
    ids=["refused", "broken"],
)
def test_failed_background_operation_is_logged(
    serve: Serve, recorder: Recorder, error: Exception, level: str, text: str
) -> None:
    log, lines = in_the_background(serve, recorder, error)
    _, failed, ended = lines
    assert failed[0] == "WARNING"
    assert failed[1].startswith("Operation failed: … after … s: ")
    assert ended == (level, f"Attempt 1 failed: … in … s: {text}")
    assert "hunter2" not in str(log.messages)


def test_interrupted_attempt_is_logged_as_error(
    serve: Serve, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault in the broker interrupts the attempt before its result can be stored."""

    def fail(*arguments: object) -> None:
        raise RuntimeError("inside")

    platform = serve(recorder, background=["provision"])
    (broker,) = serve.brokers
    log = Log()
    log_lifecycle(broker, log.logger)
    with step_by_step(broker) as work:
        platform.put(INSTANCE, PROVISION, query=CAN_POLL)
        running = broker._runtime
        assert running is not None
        monkeypatch.setattr(running.store, "end", fail)
        work.run_pending()
        monkeypatch.undo()
    assert (log.records[-1].levelname, fields_of(log.records[-1])["end"]) == ("ERROR", "interrupted")


def test_expired_operation_is_logged_without_attempt(serve: Serve, recorder: Recorder) -> None:
    """The operation is ended outside any attempt, so the record has no attempt field."""
    recorder.answers["provision"] = Retry(after=3600)
    platform = serve(recorder, quick_offering(), background=["provision"], lease=3.0)
    log = Log()
    log_lifecycle(serve.brokers[-1], log.logger)
    platform.put(INSTANCE, PROVISION, query=CAN_POLL)
    poll_until_done(platform, INSTANCE)
    failed = until(
        lambda: [record for record in log.records if record.__dict__["event"] == "operation failed"]
    )
    assert [record.levelname for record in failed] == ["WARNING"]
    assert "attempt" not in fields_of(failed[0])


# Configuration


def test_default_logger_is_brokerkit_events(
    broker: Broker, platform: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "brokerkit")
    log_lifecycle(broker)
    send(platform, "catalog")
    assert [record.name for record in caplog.records] == ["brokerkit.events"]


def test_disabled_level_writes_no_records(platform: Platform, recorder: Recorder, log: Log) -> None:
    log.logger.setLevel("ERROR")
    recorder.answers["provision"] = Accepted()
    send(platform, "provision", **asynchronously("provision"))
    send(platform, "bind")
    send(platform, "catalog", headers={"Authorization": None})
    assert not log.records
    recorder.answers["provision"] = LookupError()
    send(platform, "provision")
    assert len(log.records) == 1


def test_disabled_level_writes_no_attempt_records(serve: Serve, recorder: Recorder) -> None:
    platform = serve(recorder, background=["provision"])
    log = Log()
    log.logger.setLevel("ERROR")
    log_lifecycle(serve.brokers[-1], log.logger)
    platform.put(INSTANCE, PROVISION, query=CAN_POLL)
    poll_until_done(platform, INSTANCE)
    serve.stop()
    assert not log.records


def test_repeated_log_lifecycle_replaces_fields(broker: Broker, platform: Platform, log: Log) -> None:
    """A second call with the same logger adds no duplicate lines and applies the new fields."""
    other = Log()
    log_lifecycle(broker, other.logger)
    log_lifecycle(broker, log.logger, fields=["parameters"])
    log_lifecycle(broker, log.logger, fields=["credentials"])
    send(platform, "bind")
    assert len(log.records) == len(other.records) == 2
    assert fields_of(log.records[0])["credentials"] == {"uri": "***"}
    assert not {"parameters", "credentials"} & fields_of(other.records[0]).keys()


def test_application_record_fields_do_not_conflict(
    platform: Platform, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log record factory with the same field names does not prevent the lines."""

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = logging.LogRecord(*args, **kwargs)
        record.__dict__ |= {"correlation_id": "the app's", "tenant": "t1"}
        return record

    monkeypatch.setattr(logging, "_logRecordFactory", factory)
    send(platform, "catalog", headers=HEADERS)
    fields = log.fields
    assert (fields["correlation_id"], fields["tenant"]) == ("vcap-1", "t1")


def test_records_of_other_brokers_are_excluded(recorder: Recorder, log: Log) -> None:
    send(Platform(make_app(make_broker(recorder))), "catalog")
    assert not log.records


def test_logged_broker_can_be_garbage_collected() -> None:
    broker = make_broker(Recorder())
    log_lifecycle(broker, Log().logger)
    gone = weakref.ref(broker)
    del broker
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("unknown", [["body"], "parameter"], ids=["list", "text"])
def test_unknown_field_is_rejected(broker: Broker, unknown: Any) -> None:
    with pytest.raises(ValueError, match=r"unknown fields: .*; allowed are 'credentials' and 'parameters'"):
        log_lifecycle(broker, fields=unknown)


def test_log_lifecycle_requires_broker_and_logger(broker: Broker) -> None:
    with pytest.raises(TypeError, match="give the Broker"):
        log_lifecycle(broker.blueprint)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"a str is not a logger; give one, such as logging\.getLogger"):
        log_lifecycle(broker, "events")  # type: ignore[arg-type]


# Secrets


@pytest.mark.parametrize(
    ("parameters", "shown"),
    [
        ({"size": 3, "tags": ["a", {"b": None}]}, {"size": "***", "tags": ["***", {"b": "***"}]}),
        ({"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}}, {"a": {"b": {"c": {"d": {"e": "***"}}}}}),
        ({"a\nb": True}, {"a\\x0ab": "***"}),
        ({"list": [1] * 200}, {"list": ["***"] * 99 + ["…"]}),
        ({"n" * 200: 1}, {"n" * 100 + "…": "***"}),
    ],
    ids=["nested", "deep", "name", "long", "long name"],
)
def test_secret_fields_show_only_their_shape(
    recorder: Recorder, parameters: dict[str, Any], shown: dict[str, Any]
) -> None:
    broker = make_broker(recorder, make_offering(plans=quick_offering().plans))
    log = Log()
    log_lifecycle(broker, log.logger, fields=("parameters",))
    Platform(make_app(broker)).put(INSTANCE, {**PROVISION, "parameters": parameters})
    for record in log.records:
        assert fields_of(record)["parameters"] == shown
        assert record.getMessage().endswith(f" parameters={json.dumps(shown, ensure_ascii=False)}")


def test_secret_shape_truncates_many_names(recorder: Recorder) -> None:
    broker = make_broker(recorder)
    recorder.answers["bind"] = Binding(credentials={f"n{number}": number for number in range(200)})
    log = Log()
    log_lifecycle(broker, log.logger, fields=("credentials",))
    send(Platform(make_app(broker)), "bind")
    shown = fields_of(log.records[0])["credentials"]
    assert len(shown) == 101
    assert shown["…"] == "…"


ISSUED = (
    *("param-s3cret", "nested-s3cret", "bad-s3cret", "data-s3cret", "cred-s3cret", "dash-s3cret"),
    *("trace-s3cret", "wrong-s3cret", SECRET_OF_A_USER, basic("platform", "s3cret"), "'s3cret'"),
    *(":s3cret", '"s3cret"'),
)


@contextmanager
def everything_logged() -> Iterator[tuple[io.StringIO, io.StringIO]]:
    """Capture the records of all loggers, as text with every field and as JSON."""
    plain, as_json = io.StringIO(), io.StringIO()
    handlers: list[logging.Handler] = [logging.StreamHandler(plain), json_handler(as_json)]
    handlers[0].addFilter(ContextFilter())
    handlers[0].setFormatter(Everything())
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.DEBUG)
    with ExitStack() as stack:
        stack.callback(root.setLevel, before)
        for handler in handlers:
            root.addHandler(handler)
            stack.callback(root.removeHandler, handler)
        yield plain, as_json


class Everything(logging.Formatter):
    """A formatter that writes all attributes of a record."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{super().format(record)} {vars(record)!r}"


@pytest.mark.integration
def test_logs_of_whole_lifecycle_contain_no_secrets(recorder: Recorder, serve: Serve) -> None:
    """No logger at any level logs a secret during refusals, failures, retries and successes."""

    def work(request: Any) -> Generator[str, None, Provisioned]:
        yield "Making it"
        if request.attempt == 1:
            raise Retry(after=0.01)
        return Provisioned(
            data={"password": "data-s3cret"}, dashboard_url="https://admin:dash-s3cret@db.example.org"
        )

    def bind(request: Any) -> Binding:
        if request.binding_id == "broken":
            raise LookupError("inside")
        return Binding(credentials={"uri": "db://cred-s3cret", "list": ["cred-s3cret"]})

    recorder.answers |= {"provision": work, "bind": bind}
    headers = {**HEADERS, "Tracestate": "vendor=trace-s3cret"}
    body = {**PROVISION, "parameters": {"size": 3, "password": "param-s3cret", "x": [{"y": "nested-s3cret"}]}}
    with everything_logged() as (plain, as_json):
        serve(recorder, background=["provision"])
        broker = serve.brokers[-1]
        log_lifecycle(broker, fields=("parameters", "credentials"))
        with serve_over_http(make_app(broker)) as url:

            def send(method: str, path: str, body: object = None, **more: str) -> int:
                return ask(url, method, path, body, **{**headers, **more}).status

            def through() -> bool:
                response = ask(url, "GET", f"{INSTANCE}/last_operation", **headers)
                return bool(response.body["state"] == "succeeded")

            refused = {**PROVISION, "parameters": {"size": "bad-s3cret", "password": "bad-s3cret"}}
            assert send("GET", "/v2/catalog", Authorization=basic("platform", "wrong-s3cret")) == 401
            assert send("GET", "/v2/catalog", Authorization="Bearer wrong-s3cret") == 401
            assert send("PUT", INSTANCE, refused) == 400
            assert send("PUT", f"{INSTANCE}?{CAN_POLL}", body) == 202
            until(through)
            assert (
                send("PATCH", INSTANCE, {**IDS, "parameters": {"size": 5, "password": "param-s3cret"}}) == 200
            )
            assert send("GET", INSTANCE) == 200
            assert send("PUT", BINDING, {**IDS, "parameters": {"password": "param-s3cret"}}) == 201
            assert send("PUT", f"{INSTANCE}/service_bindings/broken", IDS) == 500
            assert send("GET", BINDING) == 200
            assert send("DELETE", f"{BINDING}?{DELETE_QUERY}") == 200
            assert send("DELETE", f"{INSTANCE}?{DELETE_QUERY}") == 200
    for text in (plain.getvalue(), as_json.getvalue()):
        assert not [secret for secret in ISSUED if secret in text]
        assert "LookupError" in text
    lines = [json.loads(line) for line in as_json.getvalue().splitlines()]
    events = [line["event"] for line in lines if line["logger"] == "brokerkit.events"]
    assert {"provisioned", "updated", "bound", "unbound", "deprovisioned"} <= set(events)
    assert {"operation started", "attempt finished", "authentication failed"} <= set(events)
    progress = [line for line in lines if line.get("event") == "operation progressed"]
    assert len(progress) >= 2
    assert not [line for line in progress if "parameters" in line], (
        "progress records do not repeat the parameters"
    )
    assert [line["credentials"] for line in lines if line.get("event") == "bound"] == [
        {"uri": "***", "list": ["***"]}
    ]


# One line per record

FORGED = "i1\n2026-01-01 ERROR \x1b[31mforged\u2028\u202e%s {x}" + "x" * 500
SHOWN = '"i1\\\\x0a2026-01-01 ERROR \\\\x1b[31mforged\\\\u2028\\\\u202e%s {x}'


@pytest.mark.parametrize("authorized", [True, False])
def test_resource_id_cannot_forge_log_lines(platform: Platform, log: Log, authorized: bool) -> None:
    headers = HEADERS if authorized else {**HEADERS, "Authorization": None}
    path = "/v2/service_instances/" + "".join(f"%{byte:02x}" for byte in FORGED.encode())
    platform.put(path, PROVISION, headers=headers)
    last = log.messages[-1]
    assert f"provision of {SHOWN}" in last
    for record in log.records:
        assert record.getMessage().isprintable()
        assert len(record.getMessage()) < 800
        assert len(fields_of(record)["instance_id"]) < 160
        assert all(value.isprintable() for value in fields_of(record).values() if isinstance(value, str))


def test_header_values_cannot_forge_log_lines(platform: Platform, log: Log) -> None:
    send(platform, "catalog", headers={"X-Vcap-Request-Id": "a\x85b" + "c" * 200})
    assert log.fields["correlation_id"] == "a\\x85b" + "c" * 97 + "…"
