"""Lines that are logged while a request is answered or worked on say which one it is, and no others do."""

from __future__ import annotations

import contextvars
import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Request as HTTPRequest

from brokerkit import Accepted, Broker, LastOperation, Operation, Retry
from brokerkit._context import CURRENT_CALL, CallContext
from brokerkit.observe._trace_id import trace_id_of
from brokerkit.observe.logs import ContextFilter

from ..server.test_signals import send
from ..support.broker import INSTANCE, PROVISION, Platform, Recorder, make_app, make_broker
from ..support.celery_worker import CeleryWorker
from ..support.stateful import CAN_POLL, DELETE_AND_POLL, Serve, last_operation, poll_until_done, until
from ..support.stateful import Platform as StoredPlatform
from .captured_logs import Log, fields_of
from .celery_broker import REDIS, STORE, make
from .conftest import HEADERS, TRACE_ID, WHO

PROVISIONING = {"operation": "provision", "instance_id": "i1", "offering": "db", "plan": "small"} | WHO


@pytest.fixture
def mine() -> Log:
    """A logger that a handler writes to."""
    return Log(ContextFilter())


def test_record_in_handler_has_request_fields(platform: Platform, recorder: Recorder, mine: Log) -> None:
    recorder.answers["provision"] = lambda request: mine.logger.info("inside")
    send(platform, "provision", headers=HEADERS)
    assert mine.fields == PROVISIONING


def test_record_in_async_handler_has_request_fields(broker: Broker, mine: Log) -> None:
    async def provision(request: object) -> None:
        mine.logger.info("inside")

    broker.provision(plan="small")(provision)
    send(Platform(make_app(broker)), "provision", headers=HEADERS)
    assert mine.fields == PROVISIONING


def test_record_in_unbind_has_binding_id(platform: Platform, recorder: Recorder, mine: Log) -> None:
    recorder.answers["unbind"] = lambda request: mine.logger.info("inside")
    send(platform, "unbind")
    assert (mine.fields["operation"], mine.fields["binding_id"]) == ("unbind", "b1")


def test_record_before_authentication_omits_identity(recorder: Recorder, mine: Log) -> None:
    def auth(http: HTTPRequest) -> bool:
        mine.logger.info("inside")
        return True

    send(Platform(make_app(make_broker(recorder, auth=auth))), "provision", headers=HEADERS)
    assert mine.fields == {"operation": "provision", "instance_id": "i1"}


def test_record_in_stateful_broker_has_operation_id(serve: Serve, recorder: Recorder, mine: Log) -> None:
    """The operation id of the store is on records of the request and of a later poll."""
    recorder.answers["provision"] = lambda request: mine.logger.info("inside")
    recorder.answers["deprovision"] = Accepted()
    recorder.answers["last_operation"] = lambda request: (
        mine.logger.info("inside") or LastOperation.in_progress()  # type: ignore[func-returns-value]
    )
    platform = serve(recorder)
    platform.put(INSTANCE, PROVISION, headers=HEADERS)
    operation = platform.delete(INSTANCE, query=DELETE_AND_POLL).json["operation"]
    platform.get(f"{INSTANCE}/last_operation")
    created, polled = map(fields_of, mine.records)
    assert created.pop("operation_id") != operation
    assert created == PROVISIONING
    assert (polled["operation"], polled["operation_id"]) == ("last_operation", operation)


def test_record_in_background_handler_has_attempt(serve: Serve, recorder: Recorder, mine: Log) -> None:
    def work(request: Any) -> None:
        mine.logger.info("inside")
        if request.attempt == 1:
            raise Retry(after=0.01)

    recorder.answers["provision"] = work
    platform = serve(recorder, background=["provision"])
    operation = platform.put(INSTANCE, PROVISION, query=CAN_POLL, headers=HEADERS).json["operation"]
    poll_until_done(platform, INSTANCE)
    assert [fields_of(record) for record in mine.records] == [
        PROVISIONING | {"operation_id": operation, "attempt": attempt} for attempt in (1, 2)
    ]


def test_record_in_celery_worker_has_attempt(redis_url: str, store_url: str, tmp_path: Path) -> None:
    """Records and events in a Celery worker have the fields of the original request and the attempt."""
    _, broker, app = make(redis_url, store_url)
    platform = StoredPlatform(app)
    log = tmp_path / "worker.log"
    worker = CeleryWorker(
        "tests.observe.celery_broker:celery_app",
        "--pool=solo",
        log=log,
        **{REDIS: redis_url, STORE: store_url},
    )
    with worker:
        answer = platform.put(INSTANCE, PROVISION, query=CAN_POLL, headers=HEADERS)
        until(lambda: last_operation(platform, INSTANCE)["state"] == "succeeded", timeout=60)
    broker.close()
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    inside = [line for line in lines if line["logger"] == "mine"]
    expected = PROVISIONING | {"operation_id": answer.json["operation"]}
    assert [line["attempt"] for line in inside] == [1, 2]
    assert all(expected.items() <= line.items() for line in inside)
    events = [line for line in lines if line["logger"] == "brokerkit.events"]
    assert [(line["event"], line.get("end")) for line in events if "attempt" in line["event"]] == [
        ("attempt started", None),
        ("attempt finished", "retried"),
        ("attempt started", None),
        ("attempt finished", "succeeded"),
    ]
    assert all(expected.items() <= line.items() for line in events)
    assert [line for line in lines if "operation" not in line], "lines of Celery's own"


def test_concurrent_requests_keep_separate_log_fields(
    platform: Platform, recorder: Recorder, mine: Log
) -> None:
    meeting = threading.Barrier(2, timeout=15)

    def provision(request: Any) -> None:
        for _ in range(3):
            meeting.wait()
            mine.logger.info("%s", request.instance_id)

    recorder.answers["provision"] = provision
    paths = [f"/v2/service_instances/i{number}" for number in (1, 2)]
    with ThreadPoolExecutor(2) as both:
        assert [item.status_code for item in both.map(lambda path: platform.put(path, PROVISION), paths)] == [
            201,
            201,
        ]
    assert len(mine.records) == 6
    for record in mine.records:
        assert fields_of(record)["instance_id"] == record.getMessage()


def test_record_in_other_thread_has_no_fields(platform: Platform, recorder: Recorder, mine: Log) -> None:
    """A new thread has no request fields unless it runs in a copy of the request's context."""

    def provision(request: Any) -> None:
        copied = contextvars.copy_context()
        for target in (mine.logger.info, lambda text: copied.run(mine.logger.info, text)):
            thread = threading.Thread(target=target, args=("inside",))
            thread.start()
            thread.join(15)

    recorder.answers["provision"] = provision
    send(platform, "provision")
    mine.logger.info("after it")
    other, copied, after = map(fields_of, mine.records)
    assert (other, copied["instance_id"], after) == ({}, "i1", {})


def test_format_accepts_absent_fields(mine: Log) -> None:
    mine.logger.info("at no request")
    mine.setFormatter(logging.Formatter("%(instance_id)s %(trace_id)s %(attempt)s"))
    assert mine.format(mine.records[0]) == "None None None"


def test_record_extra_overrides_context_fields(platform: Platform, recorder: Recorder, mine: Log) -> None:
    recorder.answers["provision"] = lambda request: mine.logger.info("inside", extra={"plan": "B"})
    send(platform, "provision")
    assert (mine.fields["plan"], mine.fields["offering"]) == ("B", "db")


def test_log_context_raises_nothing_into_handler(mine: Log) -> None:
    """An unexpected context value leaves the record without fields and raises no error."""

    class Broken(CallContext):
        @property
        def request(self) -> Any:
            raise LookupError

        @request.setter
        def request(self, value: object) -> None: ...

    token = CURRENT_CALL.set(Broken(Operation.BIND))
    try:
        mine.logger.info("inside")
    finally:
        CURRENT_CALL.reset(token)
    assert mine.fields == {}


HALF = TRACE_ID[16:]
W3C = f"00-{TRACE_ID}-b7ad6b7169203331-01"


@pytest.mark.rule("R-REQ-5")
@pytest.mark.parametrize(
    ("trace_context", "trace_id"),
    [
        ({"traceparent": W3C, "b3": f"{'1' * 32}-{'2' * 16}"}, TRACE_ID),
        ({"traceparent": f"cc-{TRACE_ID}-b7ad6b7169203331-01-what comes later"}, TRACE_ID),
        ({"b3": f"{TRACE_ID}-{'2' * 16}-1-{'3' * 16}"}, TRACE_ID),
        ({"b3": f"{TRACE_ID.upper()}-{'2' * 16}"}, TRACE_ID),
        ({"b3": f"{HALF}-{'2' * 16}-d"}, "0" * 16 + HALF),
        ({"x-b3-traceid": HALF, "x-b3-spanid": "2" * 16}, "0" * 16 + HALF),
        ({"traceparent": "unreadable", "x-b3-traceid": TRACE_ID}, TRACE_ID),
        ({"b3": "0"}, None),
        ({"traceparent": f"ff-{TRACE_ID}-b7ad6b7169203331-01"}, None),
        ({"traceparent": W3C.replace(TRACE_ID, "0" * 32)}, None),
        ({"x-b3-traceid": "no\nline"}, None),
        ({"x-b3-traceid": TRACE_ID + "\n"}, None),
        ({}, None),
    ],
)
def test_trace_id_is_read_from_trace_headers(trace_context: dict[str, str], trace_id: str | None) -> None:
    """W3C and B3 headers give the 128-bit trace id, and malformed headers give none."""
    assert trace_id_of(trace_context) == trace_id
