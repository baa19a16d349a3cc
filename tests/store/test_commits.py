"""Tests of group commits on SQLite, and of writes that must not be lost."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from sqlalchemy.engine.interfaces import DBAPIConnection

from brokerkit._internal.clock import SYSTEM_CLOCK
from brokerkit.requests import Operation
from brokerkit.store.commits import GroupCommitter, Write
from brokerkit.store.errors import StoreUnavailable
from brokerkit.store.models import (
    Change,
    InstanceAttributes,
    Mode,
    NewOperation,
    Progress,
    State,
)
from brokerkit.store.retry import persist
from brokerkit.store.store import Store

from ..support.stateful import until


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path / 'broker.db'}")
    store.open()
    yield store
    store.close()


class FakeTransition:
    """A fake transition that records whether it shares a transaction."""

    def __init__(self, outcome: bool | BaseException = True) -> None:
        self.outcome = outcome
        self.transactions: list[str] = []
        self.started = Event()
        self.may_end = Event()
        self.may_end.set()

    def _run(self, transaction: str) -> bool:
        self.transactions.append(transaction)
        self.started.set()
        self.may_end.wait(30)
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome

    def run(self, _: DBAPIConnection, __: object) -> bool:
        return self._run("own")

    def run_within(self, _: DBAPIConnection, __: object) -> bool:
        return self._run("shared")


def write(transition: Any) -> list[Write]:
    return [Write(transition, {})]


def run_concurrently(committer: GroupCommitter, *transitions: FakeTransition) -> list[Any]:
    """Run transitions while another one is being committed, and return their results or errors."""
    first = FakeTransition()
    first.may_end.clear()

    def attempt(transition: FakeTransition) -> Any:
        try:
            return committer.run(write(transition))
        except Exception as error:  # noqa: BLE001 - returned as the result
            return error

    with ThreadPoolExecutor(len(transitions) + 1) as pool:
        pool.submit(attempt, first)
        assert first.started.wait(30)
        waiting = [pool.submit(attempt, transition) for transition in transitions]
        until(lambda: len(committer._waiting) == len(transitions))
        first.may_end.set()
        return [future.result(30) for future in waiting]


def test_single_write_uses_own_transaction(store: Store) -> None:
    transition = FakeTransition()
    assert GroupCommitter(store.database).run(write(transition)) == [True]
    assert transition.transactions == ["own"]


def test_waiting_writes_share_one_commit(store: Store) -> None:
    transitions = [FakeTransition(), FakeTransition(outcome=False), FakeTransition()]
    assert run_concurrently(GroupCommitter(store.database), *transitions) == [[True], [False], [True]]
    assert [transition.transactions for transition in transitions] == [["shared"]] * 3


def test_failing_write_does_not_fail_others(store: Store) -> None:
    """Only the write that caused the error gets it. The other one is committed."""
    good, bad = FakeTransition(), FakeTransition(ValueError("too big"))
    result, error = run_concurrently(GroupCommitter(store.database), good, bad)
    assert result == [True]
    assert isinstance(error, ValueError)


def test_unavailable_database_fails_all_waiting_writes(store: Store) -> None:
    """Each thread gets its own exception object."""
    transitions = [FakeTransition(), FakeTransition(StoreUnavailable())]
    errors = run_concurrently(GroupCommitter(store.database), *transitions)
    assert all(isinstance(error, StoreUnavailable) for error in errors)
    assert errors[0] is not errors[1], "two threads share one exception object"


def test_interrupted_commit_does_not_block_later_writes(store: Store) -> None:
    """After SystemExit in one commit, the next write succeeds."""
    committer = GroupCommitter(store.database)
    with pytest.raises(SystemExit):
        committer.run(write(FakeTransition(SystemExit())))
    good = FakeTransition()
    assert committer.run(write(good)) == [True], "the later write was not committed"


# Writes that must not be lost


def claim(store: Store) -> NewOperation:
    new = NewOperation(
        id=SYSTEM_CLOCK.new_id(),
        kind=Operation.PROVISION,
        mode=Mode.INLINE,
        instance_id="i1",
        binding_id=None,
        service_id="s",
        plan_id="p",
        deadline=60,
        request={},
    )
    assert store.claim_new_instance(new, InstanceAttributes(instance_id="i1"))
    return new


def test_write_is_retried_until_store_returns(store: Store) -> None:
    attempt, tries = claim(store).attempt(), 0

    def end() -> bool:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise StoreUnavailable
        return store.end(attempt, Progress.SUCCEEDED, None, Change(state=State.READY))

    assert persist(store, attempt, end, Event(), leads_to=Progress.SUCCEEDED)
    assert tries == 3


def test_commit_with_lost_response_counts_as_success(store: Store) -> None:
    """If the first write was committed before the error, the retry reports success."""
    attempt, tries = claim(store).attempt(), 0

    def end() -> bool:
        nonlocal tries
        tries += 1
        written = store.end(attempt, Progress.SUCCEEDED, None, Change(state=State.READY))
        if tries == 1:
            raise StoreUnavailable
        return written

    assert persist(store, attempt, end, Event(), leads_to=Progress.SUCCEEDED)
    assert tries == 2


def test_retried_write_of_lost_attempt_fails(store: Store) -> None:
    """An attempt that was ended by another writer is not reported as successful."""
    attempt, tries = claim(store).attempt(), 0

    def end() -> bool:
        nonlocal tries
        tries += 1
        if tries == 1:
            assert store.end(attempt, Progress.FAILED, None, Change(state=State.FAILED))
            raise StoreUnavailable
        return store.end(attempt, Progress.SUCCEEDED, None, Change(state=State.READY))

    assert not persist(store, attempt, end, Event(), leads_to=Progress.SUCCEEDED)


@pytest.mark.parametrize("limit", ["patience", "grace"])
def test_write_raises_when_store_stays_unavailable(store: Store, limit: str) -> None:
    """The write is retried until the patience has ended, or during a shutdown until the grace has ended."""
    stopping, tries = Event(), 0
    stopping.set()

    def end() -> bool:
        nonlocal tries
        tries += 1
        raise StoreUnavailable

    attempt = claim(store).attempt()
    limits: dict[str, Any] = {limit: 0.1}
    with pytest.raises(StoreUnavailable):
        persist(store, attempt, end, stopping, leads_to=Progress.SUCCEEDED, **limits)
    assert tries > 1
