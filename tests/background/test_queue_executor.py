"""Due operations are enqueued by one of several processes, and started by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from brokerkit import Operation
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

from ..support.stateful import KEY, until

LEASE = 1.0


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    opened = Store(store_url, encryption_keys=[KEY], lease=LEASE)
    opened.open()
    yield opened
    opened.close()


def new_operation(operation_id: str, **more: Any) -> NewOperation:
    return NewOperation(
        id=operation_id,
        kind=Operation.PROVISION,
        mode=Mode.BACKGROUND,
        instance_id=more.pop("instance_id", f"i of {operation_id}"),
        binding_id=None,
        service_id="db-id",
        plan_id="small-id",
        deadline=more.pop("deadline", 600.0),
        request={},
        **more,
    )


def claim(store: Store, operation_id: str = "o1", **more: Any) -> None:
    new = new_operation(operation_id, **more)
    assert store.claim_new_instance(new, InstanceAttributes(instance_id=new.instance_id))


def stored(store: Store, operation_id: str = "o1") -> OperationRecord:
    record = store.find_operation(operation_id)
    assert record is not None
    return record[0]


def is_due(store: Store) -> bool:
    return bool(store.due_running(10) or store.due_waiting(10))


def test_due_operation_is_enqueued_and_claimed_once(store: Store) -> None:
    """Of several processes one enqueues a due operation and one starts it."""
    claim(store)
    assert [store.mark_enqueued("o1") for _ in range(3)] == [True, False, False]
    assert not is_due(store)
    assert store.begin("o1") is not None
    assert store.begin("o1") is None
    assert stored(store).due_at is None


def test_unstarted_message_is_enqueued_again_with_backoff(store: Store) -> None:
    """A message counts as lost after one lease, then after a growing wait.

    A late message still starts the operation.
    """
    claim(store)
    due_at = stored(store).wake_at
    assert store.mark_enqueued("o1")
    record = stored(store)
    assert record.due_at == due_at
    assert record.wake_at is not None
    assert record.wake_at >= record.updated_at + LEASE
    until(lambda: is_due(store))
    assert store.mark_enqueued("o1")
    again = stored(store)
    assert (again.due_at, again.attempt) == (due_at, 0)
    assert again.wake_at is not None
    assert again.wake_at >= record.wake_at + LEASE
    assert store.begin("o1") is not None, "by the first message or the second"


def test_requeued_operation_is_due_again(store: Store) -> None:
    claim(store)
    assert store.mark_enqueued("o1")
    assert store.requeue("o1", 0.0)
    assert is_due(store)
    assert store.mark_enqueued("o1")


def test_started_operation_cannot_be_requeued(store: Store) -> None:
    claim(store)
    assert store.mark_enqueued("o1")
    begun = store.begin("o1")
    assert not store.requeue("o1", 0.0)
    assert begun is not None
    assert store.record_progress(Attempt.of(begun), Outcome(description="goes on"))


def test_early_message_cannot_start_operation(store: Store) -> None:
    """An operation may be enqueued before its time within the executor's delay.

    It starts only when it is due.
    """
    claim(store)
    begun = store.begin("o1")
    assert begun is not None
    assert store.postpone(Attempt.of(begun), 60.0, None)
    assert not store.mark_enqueued("o1", 30.0)
    assert store.mark_enqueued("o1", 60.0)
    assert store.begin("o1") is None
    assert store.requeue("o1", 0.0)
    assert not is_due(store), "it is due in a minute all the same"


def test_enqueued_operation_wakes_at_its_deadline(store: Store) -> None:
    claim(store, deadline=LEASE / 3)
    assert store.mark_enqueued("o1")
    assert stored(store).wake_at == stored(store).deadline


def test_running_operation_is_not_enqueued(store: Store) -> None:
    """An expired lease must be challenged and reclaimed before the operation is enqueued again.

    The former attempt then cannot renew it.
    """
    claim(store)
    begun = store.begin("o1")
    assert begun is not None
    until(lambda: is_due(store))
    assert not store.mark_enqueued("o1"), "its lease has expired, but was not challenged"
    expired = stored(store)
    assert store.challenge_leases([expired]) == [expired]
    assert store.challenge_leases([expired]) == [], "another process has challenged it"
    until(lambda: is_due(store))
    assert not store.mark_enqueued("o1")
    assert store.reclaim([expired]) == [expired]
    assert store.mark_enqueued("o1")
    assert store.renew([Attempt.of(begun)]) == [Attempt.of(begun)], "the former attempt lost its lease"
    assert store.begin("o1") is not None


@pytest.mark.rule("R-DEL-3")
def test_follower_waits_for_running_predecessor(store: Store) -> None:
    """An operation that follows another is enqueued when the predecessor's lease is released or lost."""
    claim(store, "o1")
    first = store.begin("o1")
    assert first is not None
    assert store.abandon(stored(store, "o1"), Outcome(), UNCHANGED)
    instance = store.find("i of o1").instance
    assert instance is not None
    follower = new_operation("o2", instance_id="i of o1", follows="o1")
    assert store.claim_instance(follower, instance)
    until(lambda: is_due(store))
    assert [record.id for record, _ in store.due_running(10)] == ["o1"]
    assert not store.mark_enqueued("o2")
    assert store.begin("o2") is None
    assert store.release_lost(stored(store, "o1"))
    assert store.mark_enqueued("o2")
    assert store.begin("o2") is not None


@pytest.mark.parametrize("state", [Progress.SUCCEEDED, Progress.FAILED])
def test_ended_operation_is_not_enqueued(store: Store, state: Progress) -> None:
    claim(store)
    assert store.mark_enqueued("o1")
    begun = store.begin("o1")
    assert begun is not None
    assert store.end(Attempt.of(begun), state, None, UNCHANGED)
    assert not store.mark_enqueued("o1")
    assert not store.requeue("o1", 0.0)


def test_unknown_operation_is_not_enqueued(store: Store) -> None:
    assert not store.mark_enqueued("o1")
    assert not store.requeue("o1", 0.0)
