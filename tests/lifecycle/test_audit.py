"""Every change that was accepted is in the audit trail, and `audited` tells the same, however it went."""

from __future__ import annotations

import json
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from flask import has_app_context

from brokerkit import (
    Accepted,
    Binding,
    BindingDoesNotExist,
    Broker,
    InstanceDoesNotExist,
    LastOperation,
    Operation,
    OriginatingIdentity,
    Provisioned,
    QuotaExceeded,
    Retry,
    signals,
)
from brokerkit.audit import AuditRecord
from brokerkit.background.heartbeat import Heartbeat
from brokerkit.server import inline as at_once
from brokerkit.store.errors import StoreUnavailable
from brokerkit.store.store import Store
from brokerkit.testing.time_travel import advance_time

from ..admin.test_commands import json_of, output_of
from ..support.broker import BINDING, DELETE_QUERY, IDS, INSTANCE, PROVISION, Recorder
from ..support.stateful import (
    CAN_POLL,
    CHANGING,
    DELETE_AND_POLL,
    Answer,
    Gate,
    Platform,
    Serve,
    last_operation,
    poll_until_done,
    until,
)

UPDATE = {**IDS, "parameters": {"size": 5}}
HEADERS: dict[str, str | None] = {
    "X-Broker-API-Originating-Identity": "cloudfoundry eyJ1c2VyX2lkIjoidTEifQ==",  # {"user_id":"u1"}
    "X-Broker-API-Request-Identity": "request 1",
    "X-Vcap-Request-Id": "wish 1",
}
Row = dict[str, Any]


class Trail:
    """The records that the signal sent, for a comparison with the stored ones."""

    def __init__(self) -> None:
        self.heard: list[AuditRecord] = []
        self._without_app = 0

    def receive(self, sender: object, record: AuditRecord, **extra: Any) -> None:
        self._without_app += not has_app_context()
        self.heard.append(record)

    def agreed(self, platform: Platform, *expected: str) -> list[Row]:
        """Return the audit trail, oldest first, when the signal has sent exactly the expected records.

        Args:
            platform: The platform of the broker.
            expected: The states of each change, such as ``"provision: in progress, succeeded"``.
        """
        number = sum(states.count(",") + 1 for states in expected)
        until(lambda: len(self.heard) >= number)
        rows = self.shown(platform)
        states: dict[str, list[str]] = defaultdict(list)
        for record in self.heard:
            states[record.operation_id].append(record.state)
        assert [
            f"{row['operation']}: {', '.join(states.pop(row['operation_id'], []))}" for row in rows
        ] == list(expected)
        assert not states
        assert not self._without_app
        last = {record.operation_id: record for record in self.heard}
        for row in rows:
            assert_same(msgspec.to_builtins(last[row["operation_id"]]), row)
        return rows

    def shown(self, platform: Platform) -> list[Row]:
        rows: list[Row] = json_of(platform.app, "audit", "--limit", "1000")
        return rows[::-1]


def assert_same(sent: Row, shown: Row) -> None:
    """All but the times, which are by two clocks."""
    times = ("asked_at", "ended_at")
    assert {**sent, **dict.fromkeys(times)} == {**shown, **dict.fromkeys(times)}
    for name in times:
        if sent[name] is None:
            assert shown[name] is None
        else:
            apart = datetime.fromisoformat(sent[name]) - datetime.fromisoformat(shown[name])
            assert abs(apart.total_seconds()) < 15
    if shown["ended_at"] is not None:
        assert shown["ended_at"] >= shown["asked_at"]


@pytest.fixture
def trail() -> Iterator[Trail]:
    trail = Trail()
    with signals.audited.connected_to(trail.receive):
        yield trail


def running_of(broker: Broker) -> Any:
    return broker._runtime


# Synchronous handlers


@pytest.mark.rule("R-REQ-3", "R-REQ-4", "R-REQ-5")
def test_synchronous_lifecycle_writes_five_audit_records(platform: Platform, trail: Trail) -> None:
    """Repeated requests add no records.

    Each record has the request's identities and the stored previous plan.
    """
    for _ in range(2):  # a repeat is nothing new
        platform.put(INSTANCE, PROVISION, headers=HEADERS)
        platform.patch(
            INSTANCE, {**UPDATE, "plan_id": "large-id", "previous_values": {"plan_id": "nonsense"}}
        )
        platform.put(BINDING, {**IDS, "app_guid": "app 1"})
    for path in (BINDING, INSTANCE) * 2:
        platform.delete(path, query=DELETE_QUERY)
    rows = trail.agreed(
        platform,
        "provision: succeeded",
        "update: succeeded",
        "bind: succeeded",
        "unbind: succeeded",
        "deprovision: succeeded",
    )
    provision, update, bind, _, _ = rows
    assert [row["attempt"] for row in rows] == [1] * 5
    assert provision | {"operation_id": "", "asked_at": "", "ended_at": ""} == {
        "operation_id": "",
        "operation": "provision",
        "instance_id": "i1",
        "binding_id": None,
        "offering": "db",
        "offering_id": "db-id",
        "plan": "small",
        "plan_id": "small-id",
        "previous_plan": None,
        "previous_plan_id": None,
        "organization_guid": "o1",
        "space_guid": "s1",
        "app_guid": None,
        "username": "platform",
        "originating_identity": {"platform": "cloudfoundry", "value": {"user_id": "u1"}},
        "request_identity": "request 1",
        "correlation_id": "wish 1",
        "state": "succeeded",
        "description": None,
        "attempt": 1,
        "asked_at": "",
        "ended_at": "",
    }
    assert (update["plan"], update["previous_plan"]) == ("large", "small"), "as the store knows"
    assert (bind["binding_id"], bind["app_guid"]) == ("b1", "app 1")


@pytest.mark.rule("R-REQ-8", "R-PROV-5")
def test_refused_requests_write_no_audit_record(platform: Platform, recorder: Recorder, trail: Trail) -> None:
    for operation in CHANGING:
        recorder.answers[operation] = QuotaExceeded()
    assert platform.put(INSTANCE, PROVISION).status_code == 400
    recorder.answers["provision"] = None
    platform.put(INSTANCE, PROVISION)
    assert platform.patch(INSTANCE, UPDATE).status_code == 400
    assert platform.put(BINDING, IDS).status_code == 400
    assert platform.delete(INSTANCE, query=DELETE_QUERY).status_code == 400
    assert platform.put(INSTANCE, {**PROVISION, "plan_id": "large-id"}).status_code == 409
    trail.agreed(platform, "provision: succeeded")


@pytest.mark.rule("R-ERR-1")
def test_failed_synchronous_operation_is_audited_once(
    platform: Platform, recorder: Recorder, trail: Trail
) -> None:
    """The record has the public description of the poll response and no internal error text."""
    recorder.answers["provision"] = ValueError("inside")
    assert platform.put(INSTANCE, PROVISION).status_code == 500
    (row,) = trail.agreed(platform, "provision: failed")
    assert row["description"] == last_operation(platform, INSTANCE)["description"]
    assert "inside" not in json.dumps(row)


def test_existing_instance_is_audited_as_succeeded(
    platform: Platform, recorder: Recorder, trail: Trail
) -> None:
    recorder.answers["provision"] = Provisioned(exists=True)
    platform.put(INSTANCE, PROVISION)
    trail.agreed(platform, "provision: succeeded")


# After the answer


@pytest.mark.parametrize("ends", [LastOperation.succeeded("All is up"), LastOperation.failed("No room")])
def test_accepted_operation_is_audited_twice(
    platform: Platform, recorder: Recorder, trail: Trail, ends: LastOperation
) -> None:
    """`audited` is sent at the start and when a poll finds the outcome.

    The stored record also shows progress.
    """
    recorder.answers["provision"] = Accepted(operation="job 7")
    recorder.answers["last_operation"] = LastOperation.in_progress("Half of it")
    platform.put(INSTANCE, PROVISION, query=CAN_POLL, headers=HEADERS)
    (row,) = trail.agreed(platform, "provision: in progress")
    assert row["ended_at"] is None
    last_operation(platform, INSTANCE)
    (row,) = trail.shown(platform)
    assert (row["state"], row["description"]) == ("in progress", "Half of it")
    recorder.answers["last_operation"] = ends
    for _ in range(2):
        last_operation(platform, INSTANCE)
    (row,) = trail.agreed(platform, f"provision: in progress, {ends.state}")
    assert (row["description"], row["correlation_id"]) == (ends.description, "wish 1")


def test_background_lifecycle_is_audited(serve: Serve, recorder: Recorder, trail: Trail) -> None:
    """Retried, failed and accepted operations are each one record with the number of attempts."""
    recorder.answers["provision"] = lambda request: Retry(after=0.01) if request.attempt < 3 else None
    recorder.answers["update"] = QuotaExceeded("Used up")
    recorder.answers["bind"] = Accepted()
    recorder.answers["last_binding_operation"] = LastOperation.succeeded(result=Binding(credentials={}))
    platform = serve(recorder, background=CHANGING)
    steps: list[tuple[str, Callable[[], Answer]]] = [
        (INSTANCE, lambda: platform.put(INSTANCE, PROVISION, query=CAN_POLL, headers=HEADERS)),
        (INSTANCE, lambda: platform.patch(INSTANCE, UPDATE, query=CAN_POLL)),
        (BINDING, lambda: platform.put(BINDING, IDS, query=CAN_POLL)),
        (BINDING, lambda: platform.delete(BINDING, query=DELETE_AND_POLL)),
        (INSTANCE, lambda: platform.delete(INSTANCE, query=DELETE_AND_POLL)),
    ]
    for path, send in steps:
        poll_until_done(platform, path, send().json["operation"])
    rows = trail.agreed(
        platform,
        "provision: in progress, succeeded",
        "update: in progress, failed",
        "bind: in progress, succeeded",
        "unbind: in progress, succeeded",
        "deprovision: in progress, succeeded",
    )
    assert [row["attempt"] for row in rows] == [3, 1, 1, 1, 1]
    assert rows[1]["description"] == "Used up"


@pytest.mark.parametrize("mode", ["synchronous", "accepted", "background"])
def test_delete_of_missing_resource_is_audited_succeeded(
    serve: Serve, recorder: Recorder, trail: Trail, mode: str
) -> None:
    platform = serve(recorder, background=["deprovision", "unbind"] if mode == "background" else [])
    platform.put(INSTANCE, PROVISION)
    platform.put(BINDING, IDS)
    for operation, gone in (("deprovision", InstanceDoesNotExist()), ("unbind", BindingDoesNotExist())):
        recorder.answers[operation] = Accepted() if mode == "accepted" else gone
    recorder.answers["last_operation"] = InstanceDoesNotExist()
    recorder.answers["last_binding_operation"] = BindingDoesNotExist()
    for path in (BINDING, INSTANCE):
        answer = platform.delete(path, query=DELETE_QUERY if mode == "synchronous" else DELETE_AND_POLL)
        if mode != "synchronous":
            poll_until_done(platform, path, answer.json["operation"])
    states = "succeeded" if mode == "synchronous" else "in progress, succeeded"
    trail.agreed(
        platform,
        "provision: succeeded",
        "bind: succeeded",
        f"unbind: {states}",
        f"deprovision: {states}",
    )


@pytest.mark.rule("R-DEL-3")
@pytest.mark.parametrize("mode", ["synchronous", "accepted", "background"])
def test_cancelled_operation_is_not_audited_as_failed(
    serve: Serve, recorder: Recorder, trail: Trail, mode: str
) -> None:
    """A creation that a DELETE cancelled has the state `cancelled`, not `failed`."""
    gate = Gate(Provisioned())
    recorder.answers["provision"] = Accepted() if mode == "accepted" else gate
    platform = serve(recorder, background=["provision"] if mode == "background" else [])
    asking = threading.Thread(target=lambda: platform.put(INSTANCE, PROVISION, query=CAN_POLL))
    asking.start()
    if mode == "accepted":
        asking.join()
    else:
        gate.wait_until_reached()
    platform.delete(INSTANCE, query=DELETE_AND_POLL)
    gate.open()
    asking.join()
    poll_until_done(platform, INSTANCE)
    deletion = "succeeded" if mode == "accepted" else "in progress, succeeded"
    making = "cancelled" if mode == "synchronous" else "in progress, cancelled"
    trail.agreed(platform, f"provision: {making}", f"deprovision: {deletion}")


@pytest.mark.parametrize("mode", ["accepted", "background"])
def test_expired_operation_is_audited_as_failed(
    serve: Serve, recorder: Recorder, trail: Trail, mode: str
) -> None:
    recorder.answers["provision"] = Accepted() if mode == "accepted" else Retry(after=3600)
    recorder.answers["last_operation"] = LastOperation.in_progress()
    platform = serve(recorder, background=["provision"] if mode == "background" else [], lease=1.0)
    platform.put(INSTANCE, PROVISION, query=CAN_POLL)
    until(lambda: mode == "accepted" or trail.shown(platform)[0]["attempt"] == 1)
    advance_time(running_of(serve.brokers[0]).store, 8 * 86400)
    trail.agreed(platform, "provision: in progress, failed")


@pytest.mark.parametrize("mode", ["synchronous", "background"])
def test_recovered_operation_is_audited_by_other_process(
    serve: Serve, recorder: Recorder, trail: Trail, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """The lost process neither sends a signal nor changes the record when it continues."""
    gate, other = Gate(Provisioned()), Recorder()
    recorder.answers["provision"] = gate
    background = ["provision"] if mode == "background" else []
    lost = serve(recorder, background=background, lease=1.0)
    with monkeypatch.context() as patches:
        patches.setattr(Heartbeat, "add", lambda *_: None)  # no lease is renewed
        asking = threading.Thread(target=lambda: lost.put(INSTANCE, PROVISION, query=CAN_POLL))
        asking.start()
        gate.wait_until_reached()
        running_of(serve.brokers[0]).scheduler.stop()
    platform = serve(other, background=background, lease=1.0)
    last_operation(platform, INSTANCE)
    states = "failed" if mode == "synchronous" else "in progress, succeeded"
    expected = f"provision: {states}"
    until(lambda: trail.shown(platform)[0]["ended_at"])
    (row,) = trail.agreed(platform, expected)
    assert row["attempt"] == (1 if mode == "synchronous" else 2)
    gate.open()
    asking.join()
    serve.stop()
    trail.agreed(serve(other), expected)


@pytest.mark.parametrize("is_written", [False, True], ids=["away", "its answer lost"])
@pytest.mark.parametrize("fails", [False, True], ids=["succeeded", "failed"])
def test_delayed_write_is_audited_after_outage(
    serve: Serve,
    recorder: Recorder,
    trail: Trail,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    is_written: bool,
    fails: bool,
) -> None:
    """The outcome is audited once when the store returns, even if the first commit had succeeded."""
    recorder.answers["provision"] = ValueError("inside") if fails else None
    platform = serve(recorder, lease=1.0)
    real, calls = Store.end, 0

    def end(*args: Any) -> bool:
        nonlocal calls
        calls += 1
        if calls == 1:
            if is_written:
                real(*args)
            raise StoreUnavailable
        return real(*args)

    monkeypatch.setattr(at_once, "_PATIENCE", 0.0)
    monkeypatch.setattr(Store, "end", end)
    assert platform.put(INSTANCE, PROVISION).status_code == (500 if fails else 503)
    trail.agreed(platform, f"provision: {'failed' if fails else 'succeeded'}")
    assert "lease was lost" not in caplog.text


def test_failure_recorded_elsewhere_is_audited_once(
    serve: Serve, recorder: Recorder, trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the process that wrote the failure sends `audited`."""
    recorder.answers["provision"] = ValueError("inside")
    platform = serve(recorder, lease=1.0)
    other = serve(recorder, lease=1.0)
    assert other.get(f"{INSTANCE}/last_operation").status_code == 404  # it has begun to look
    real, written = Store.end, threading.Event()

    def end(*args: Any) -> bool:
        if not trail.heard:
            raise StoreUnavailable
        written.set()
        return real(*args)

    monkeypatch.setattr(at_once, "_PATIENCE", 0.0)
    monkeypatch.setattr(Store, "end", end)
    monkeypatch.setattr(Heartbeat, "add", lambda *_: None)
    assert platform.put(INSTANCE, PROVISION).status_code == 500
    assert written.wait(15)
    serve.stop()
    (row,) = trail.agreed(serve(recorder), "provision: failed")
    assert "interrupted" in row["description"]


def test_retried_operation_stays_one_audit_record(serve: Serve, recorder: Recorder, trail: Trail) -> None:
    """The record has the new outcome and counts both attempts. The signal is sent for each end."""
    recorder.answers["provision"] = RuntimeError("no room")
    platform = serve(recorder, background=["provision"], lease=1.0)
    operation = platform.put(INSTANCE, PROVISION, query=CAN_POLL).json["operation"]
    poll_until_done(platform, INSTANCE, operation)
    (failed,) = trail.agreed(platform, "provision: in progress, failed")
    recorder.answers["provision"] = Provisioned()
    output_of(platform.app, "retry", operation)
    poll_until_done(platform, INSTANCE, operation)
    (row,) = trail.agreed(platform, "provision: in progress, failed, succeeded")
    assert (failed["attempt"], row["attempt"]) == (1, 2)
    assert row["asked_at"] == failed["asked_at"]
    assert row["ended_at"] > failed["ended_at"]


# Callers


def test_concurrent_clients_leave_consistent_audit_trail(
    serve: Serve, recorder: Recorder, trail: Trail
) -> None:
    """Each accepted change has one stored record and one matching final signal, and handlers ran once per
    record.
    """
    platforms = [serve(recorder), serve(recorder)]
    start = threading.Barrier(2)

    def live(platform: Platform) -> None:
        start.wait()
        for _ in range(6):
            platform.put(INSTANCE, PROVISION, query=CAN_POLL)
            platform.put(BINDING, IDS, query=CAN_POLL)
            platform.patch(INSTANCE, UPDATE, query=CAN_POLL)
            platform.delete(BINDING, query=DELETE_AND_POLL)
            platform.delete(INSTANCE, query=DELETE_AND_POLL)

    clients = [threading.Thread(target=live, args=[platform]) for platform in platforms]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    serve.stop()  # background work has finished
    platform = serve(recorder)
    last_operation(platform, INSTANCE)
    until(lambda: all(row["ended_at"] for row in trail.shown(platform)))
    rows = trail.shown(platform)
    until(lambda: {row["operation_id"] for row in rows} == {record.operation_id for record in trail.heard})
    ended: dict[str, list[AuditRecord]] = defaultdict(list)
    for record in trail.heard:
        if record.ended_at is not None:
            ended[record.operation_id].append(record)
    assert len(rows) >= 6
    for row in rows:
        (record,) = ended.pop(row["operation_id"])
        assert_same(msgspec.to_builtins(record), row)
    assert not ended
    names = [str(type(request).__name__) for request in recorder.requests]
    for name, operation in {"ProvisionRequest": "provision", "BindRequest": "bind"}.items():
        assert names.count(name) == sum(row["operation"] == operation for row in rows)


SECRETS = ("hunter2hunter2", "db://secret", "kept to itself", "s3cret")


@pytest.mark.parametrize("background", [False, True])
def test_audit_records_contain_no_secrets(
    serve: Serve, recorder: Recorder, trail: Trail, background: bool
) -> None:
    recorder.answers["provision"] = Provisioned(data={"password": "kept to itself"})
    recorder.answers["bind"] = Binding(credentials={"uri": "db://secret"}, data={"key": "kept to itself"})
    platform = serve(recorder, background=CHANGING if background else [])
    secret = {"parameters": {"password": "hunter2hunter2"}, "x": "hunter2hunter2"}
    answers: list[tuple[str, Callable[[], Answer]]] = [
        (INSTANCE, lambda: platform.put(INSTANCE, {**PROVISION, **secret}, query=CAN_POLL)),
        (INSTANCE, lambda: platform.patch(INSTANCE, {**IDS, **secret, **UPDATE}, query=CAN_POLL)),
        (BINDING, lambda: platform.put(BINDING, {**IDS, **secret}, query=CAN_POLL)),
    ]
    for path, send in answers:
        assert send().status_code in (200, 201, 202)
        if background:
            poll_until_done(platform, path)
    until(lambda: len(trail.heard) == (6 if background else 3))
    texts = [repr(trail.heard), *(msgspec.json.encode(record).decode() for record in trail.heard)]
    texts += [output_of(platform.app, "audit"), output_of(platform.app, "audit", "--json")]
    assert all("i1" in text for text in texts)
    assert not [(secret, text) for secret in SECRETS for text in texts if secret in text]


# Export as JSON


RECORD = AuditRecord(
    operation_id="0190",
    operation=Operation.BIND,
    instance_id="i1",
    binding_id="b1",
    offering="db",
    offering_id="db-id",
    plan="small",
    plan_id="small-id",
    username="platform",
    originating_identity=OriginatingIdentity("kubernetes", {"username": "jörg", "groups": ["a"]}),
    state="succeeded",
    asked_at=datetime(2026, 11, 1, 12, 0, 0, 500, tzinfo=UTC),
    ended_at=datetime(2026, 11, 1, 12, 0, 1, tzinfo=UTC),
)
LINE = (
    '{"operation_id":"0190","operation":"bind","instance_id":"i1","binding_id":"b1","offering":"db",'
    '"offering_id":"db-id","plan":"small","plan_id":"small-id","previous_plan":null,"previous_plan_id":null,'
    '"organization_guid":null,"space_guid":null,"app_guid":null,"username":"platform",'
    '"originating_identity":{"platform":"kubernetes","value":{"username":"jörg","groups":["a"]}},'
    '"request_identity":null,"correlation_id":null,"state":"succeeded","description":null,"attempt":1,'
    '"asked_at":"2026-11-01T12:00:00.000500Z","ended_at":"2026-11-01T12:00:01Z"}'
)


def test_audit_record_round_trips_as_json() -> None:
    assert msgspec.json.encode(RECORD).decode() == LINE
    assert msgspec.json.decode(LINE, type=AuditRecord) == RECORD


def test_audited_record_matches_audit_command(platform: Platform, caplog: pytest.LogCaptureFixture) -> None:
    audit = logging.getLogger("audit")

    def write(broker: object, record: AuditRecord, **extra: object) -> None:
        audit.info("%s", msgspec.json.encode(record).decode())

    with signals.audited.connected_to(write), caplog.at_level(logging.INFO, logger="audit"):
        platform.put(INSTANCE, PROVISION, headers=HEADERS)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "audit"]
    (row,) = json_of(platform.app, "audit")
    assert_same(json.loads(line), row)
    assert list(json.loads(line)) == list(row)
