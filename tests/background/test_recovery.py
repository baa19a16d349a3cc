"""Operations of other processes are taken over neither too early nor too late."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from brokerkit import Provisioned, Retry
from brokerkit._internal.clock import Clock
from brokerkit.background.recovery import LeaseWatch
from brokerkit.requests import Operation
from brokerkit.store.models import (
    UNCHANGED,
    Attempt,
    InstanceAttributes,
    Mode,
    NewOperation,
    OperationRecord,
    Outcome,
    Progress,
)
from brokerkit.store.store import Store

from ..support.broker import BINDING, DELETE_QUERY, IDS, INSTANCE, PROVISION, Recorder
from ..support.stateful import (
    CAN_POLL,
    DELETE_AND_POLL,
    KEY,
    Gate,
    Serve,
    last_operation,
    poll_until_done,
    until,
)

HOUR = 3600.0


class SteppedClock(Clock):
    """A clock of the database that a test can set."""

    def __init__(self) -> None:
        self.offset = 0.0

    def time(self) -> float:
        return super().time() + self.offset


class ManualClock(Clock):
    """A monotonic clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class IdleExecutor:
    """An executor that never runs anything."""

    def start(self, run: Any) -> None: ...

    def submit(self, operation_id: str, delay: float = 0) -> None: ...

    def stop(self) -> None: ...


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Return the URL of a database on SQLite, which asks the clock of a test."""
    return f"sqlite:///{tmp_path / 'broker.db'}"


@pytest.fixture
def store(url: str) -> Store:
    store = Store(url, encryption_keys=[KEY], lease=1.0)
    store.open()
    return store


def opened(url: str, clock: Clock, lease: float = 1.0) -> Store:
    return Store(url, encryption_keys=[KEY], lease=lease, clock=clock)


def stored(store: Store, operation_id: str) -> OperationRecord:
    row = store.find_operation(operation_id)
    assert row is not None
    return row[0]


@pytest.mark.parametrize("is_cancelled", [False, True], ids=["current", "cancelled"])
@pytest.mark.parametrize("is_background", [False, True], ids=["synchronous", "background"])
def test_clock_step_forward_interrupts_nothing(
    url: str, clock: SteppedClock, is_cancelled: bool, is_background: bool
) -> None:
    """A living process renews its lease when it is challenged, also for an operation that was cancelled."""
    serve, recorder, gate = Serve(url), Recorder(), Gate(Provisioned())
    recorder.answers["provision"] = gate
    background = ["provision"] if is_background else []
    platform = serve(recorder, background=background, store=opened(url, clock, lease=2.0))
    other = serve(Recorder(), background=background, store=opened(url, clock, lease=2.0))
    responses = []
    sending = threading.Thread(
        target=lambda: responses.append(platform.put(INSTANCE, PROVISION, query=CAN_POLL))
    )
    sending.start()
    gate.wait_until_reached()
    other.get(f"{INSTANCE}/last_operation")  # this starts the other process
    store = opened(url, clock)
    store.open()
    snapshot = store.find("i1")
    assert snapshot.instance is not None and snapshot.instance.operation is not None  # noqa: PT018
    operation = snapshot.instance.operation
    if is_cancelled:
        assert platform.delete(INSTANCE, query=DELETE_AND_POLL).status_code == 202
    clock.offset = HOUR
    until(lambda: (stored(store, operation.id).lease_until or 0.0) > clock.time())
    assert [type(request).__name__ for request in recorder.requests].count("ProvisionRequest") == 1
    ended = "failed" if is_cancelled else "in progress"
    assert last_operation(platform, INSTANCE, operation.id)["state"] == ended
    gate.open()
    sending.join()
    until(lambda: stored(store, operation.id).lease_until is None)
    assert stored(store, operation.id).attempt == 1
    store.close()
    serve.stop()


def test_clock_set_back_delays_nothing(url: str, clock: SteppedClock) -> None:
    serve, recorder = Serve(url), Recorder()
    calls = []

    def retry_once(request: Any) -> Provisioned:
        calls.append(request)
        if len(calls) == 1:
            raise Retry(after=0.1)
        return Provisioned()

    recorder.answers["provision"] = retry_once
    platform = serve(recorder, background=["provision"], store=opened(url, clock))
    platform.get("/v2/catalog")
    runtime = serve.brokers[0]._runtime
    assert runtime is not None
    clock.offset = -HOUR
    # The write that the scheduler compares with happened an hour later than now.
    operation = platform.put(INSTANCE, PROVISION, query=CAN_POLL).json["operation"]
    until(lambda: calls)
    clock.offset = -2 * HOUR
    assert poll_until_done(platform, INSTANCE, operation)["state"] == "succeeded"
    serve.stop()


def test_backlog_does_not_hide_interrupted_request(store: Store, url: str) -> None:
    """More due operations than one look can read wait for an executor. A dead request behind them fails."""
    for number in range(1100):
        assert store.claim_new_instance(
            new_operation(f"b{number}", Mode.BACKGROUND), InstanceAttributes(instance_id=f"b{number}")
        )
    assert store.claim_new_instance(
        new_operation("dead", Mode.INLINE), InstanceAttributes(instance_id="dead")
    )
    late = new_operation("late", Mode.BACKGROUND, deadline=0.01)
    assert store.claim_new_instance(late, InstanceAttributes(instance_id="late"))
    serve = Serve(url)
    platform = serve(Recorder(), background=["provision"], lease=1.0, executor=IdleExecutor())
    platform.get(f"{INSTANCE}/last_operation")
    until(lambda: stored(store, "dead").state is Progress.FAILED)
    until(lambda: stored(store, "late").state is Progress.FAILED)
    serve.stop()
    store.close()


def new_operation(operation_id: str, mode: Mode, deadline: float = 600.0) -> NewOperation:
    return NewOperation(
        id=operation_id,
        kind=Operation.PROVISION,
        mode=mode,
        instance_id=operation_id,
        binding_id=None,
        service_id="db-id",
        plan_id="small-id",
        deadline=deadline,
        request={"instance_id": operation_id, "organization_guid": "o", "space_guid": "s"},
    )


# The watch of expired leases


@pytest.fixture
def manual() -> ManualClock:
    return ManualClock()


@pytest.fixture
def watch(manual: ManualClock) -> LeaseWatch:
    return LeaseWatch(manual, grace=10.0, recovery=30.0)


@pytest.fixture
def expired(store: Store) -> OperationRecord:
    """Return an operation with a running attempt."""
    new = new_operation("dead", Mode.INLINE)
    assert store.claim_new_instance(new, InstanceAttributes(instance_id="dead"))
    row = stored(store, "dead")
    store.close()
    return row


def advance(manual: ManualClock, watch: LeaseWatch, seconds: int) -> None:
    """Let time pass while the process reaches the database each second."""
    for _ in range(seconds):
        manual.now += 1.0
        watch.connected()


def test_challenged_lease_is_lost_after_grace(
    watch: LeaseWatch, manual: ManualClock, expired: OperationRecord
) -> None:
    watch.add(expired)
    advance(manual, watch, 9)
    assert (watch.take_lost(), watch.next()) == ([], 1.0)
    advance(manual, watch, 1)
    assert watch.take_lost() == [expired]
    assert (watch.take_lost(), watch.next()) == ([], None)


@pytest.mark.parametrize("outage", [1, 60])
def test_outage_during_grace_extends_it(
    watch: LeaseWatch, manual: ManualClock, expired: OperationRecord, outage: int
) -> None:
    """After an outage of any length, a living process gets time to renew its lease."""
    watch.add(expired)
    advance(manual, watch, 9)
    watch.disconnected()
    manual.now += outage
    watch.connected()
    assert watch.take_lost() == []
    advance(manual, watch, 29)
    assert watch.take_lost() == []
    advance(manual, watch, 1)
    assert watch.take_lost() == [expired]


def test_pause_during_grace_extends_it(
    watch: LeaseWatch, manual: ManualClock, expired: OperationRecord
) -> None:
    """A process that was paused cannot know whether the database was available meanwhile."""
    watch.add(expired)
    manual.now += 60
    watch.connected()
    assert watch.take_lost() == []
    advance(manual, watch, 10)
    assert watch.take_lost() == [expired]


# Concurrent retries, and the order of operations


def test_attempt_racing_with_retry_does_not_begin(store: Store) -> None:
    """An attempt would count for the operation as it was before the operator's retry. Another one begins."""
    new = new_operation("o1", Mode.BACKGROUND)
    assert store.claim_new_instance(new, InstanceAttributes(instance_id="o1"))
    begun = store.begin("o1")
    assert begun is not None
    assert store.postpone(Attempt.of(begun), 0.0, None)

    def retry_meanwhile(operation: OperationRecord) -> bool:
        assert store.abandon(operation, Outcome(), UNCHANGED)
        failed, snapshot = stored(store, "o1"), store.find("o1")
        return store.retry_failed(failed, snapshot, 600.0, None)

    assert store.begin("o1", retry_meanwhile) is None
    retried = store.begin("o1")
    assert retried is not None
    assert (retried.attempt, retried.tries) == (2, 1)
    store.close()


@pytest.mark.rule("R-LAST-5")
def test_last_operation_ignores_clocks(url: str, clock: SteppedClock) -> None:
    """The last operation of a deleted binding is the last that was claimed, also by a clock set back."""
    serve = Serve(url)
    platform = serve(Recorder(), store=opened(url, clock, lease=30.0))
    platform.put(INSTANCE, PROVISION)
    for _ in range(2):
        assert platform.put(BINDING, IDS).status_code == 201
        assert platform.delete(BINDING, query=DELETE_QUERY).status_code == 200
        clock.offset -= HOUR
    store = opened(url, clock)
    store.open()
    row = store.last_operation_of_binding("i1", "b1")
    assert row is not None
    assert (row[0].kind, row[0].sequence) == (Operation.UNBIND, 5)
    store.close()
    serve.stop()
