"""On SQLite, writes that wait share a commit; what goes wrong with one is not the others' fault."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from sqlalchemy.engine.interfaces import DBAPIConnection

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
    new_operation_id,
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


class Recorded:
    """Stands for a transition; notes with how many others it shares a transaction."""

    def __init__(self, outcome: bool | BaseException = True) -> None:
        self.outcome = outcome
        self.ways: list[str] = []
        self.begun = Event()
        self.may_end = Event()
        self.may_end.set()

    def _happen(self, way: str) -> bool:
        self.ways.append(way)
        self.begun.set()
        self.may_end.wait(30)
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome

    def run(self, _: DBAPIConnection, __: object) -> bool:
        return self._happen("alone")

    def run_within(self, _: DBAPIConnection, __: object) -> bool:
        return self._happen("shared")


def write(transition: Any) -> list[Write]:
    return [Write(transition, {})]


def together(commits: GroupCommitter, *others: Recorded) -> list[Any]:
    """Have transitions wait while one is being committed; what became of them."""
    first = Recorded()
    first.may_end.clear()

    def attempt(transition: Recorded) -> Any:
        try:
            return commits.run(write(transition))
        except Exception as error:  # noqa: BLE001 - it is what became of it
            return error

    with ThreadPoolExecutor(len(others) + 1) as pool:
        pool.submit(attempt, first)
        assert first.begun.wait(30)
        waiting = [pool.submit(attempt, each) for each in others]
        until(lambda: len(commits._waiting) == len(others))
        first.may_end.set()
        return [each.result(30) for each in waiting]


def test_single_write_uses_own_transaction(store: Store) -> None:
    alone = Recorded()
    assert GroupCommitter(store.database).run(write(alone)) == [True]
    assert alone.ways == ["alone"]


def test_waiting_writes_share_one_commit(store: Store) -> None:
    some = [Recorded(), Recorded(outcome=False), Recorded()]
    assert together(GroupCommitter(store.database), *some) == [[True], [False], [True]]
    assert [each.ways for each in some] == [["shared"]] * 3


def test_failing_write_does_not_fail_others(store: Store) -> None:
    """Only the write that caused the error gets it. The other one is committed."""
    good, bad = Recorded(), Recorded(ValueError("too big"))
    happened, error = together(GroupCommitter(store.database), good, bad)
    assert happened == [True]
    assert isinstance(error, ValueError)


def test_unavailable_database_fails_all_waiting_writes(store: Store) -> None:
    """Each thread gets its own exception object."""
    some = [Recorded(), Recorded(StoreUnavailable())]
    errors = together(GroupCommitter(store.database), *some)
    assert all(isinstance(each, StoreUnavailable) for each in errors)
    assert errors[0] is not errors[1], "each thread adds to the traceback of its own"


def test_interrupted_commit_does_not_block_later_writes(store: Store) -> None:
    """After SystemExit in one commit, the next write succeeds."""
    commits = GroupCommitter(store.database)
    with pytest.raises(SystemExit):
        commits.run(write(Recorded(SystemExit())))
    good = Recorded()
    assert commits.run(write(good)) == [True], "and nobody waits for ever"


# What must not be lost


def claimed(store: Store) -> NewOperation:
    new = NewOperation(
        id=new_operation_id(),
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
    attempt, tries = claimed(store).attempt(), 0

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
    attempt, tries = claimed(store).attempt(), 0

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
    attempt, tries = claimed(store).attempt(), 0

    def end() -> bool:
        nonlocal tries
        tries += 1
        if tries == 1:
            assert store.end(attempt, Progress.FAILED, None, Change(state=State.FAILED))
            raise StoreUnavailable
        return store.end(attempt, Progress.SUCCEEDED, None, Change(state=State.READY))

    assert not persist(store, attempt, end, Event(), leads_to=Progress.SUCCEEDED)


@pytest.mark.parametrize("is_stopping", [True, False])
def test_write_raises_when_store_stays_unavailable(store: Store, is_stopping: bool) -> None:
    """StoreUnavailable is raised after the patience has ended or during shutdown."""
    stopping = Event()
    if is_stopping:
        stopping.set()

    def end() -> bool:
        raise StoreUnavailable

    attempt = claimed(store).attempt()
    with pytest.raises(StoreUnavailable):
        persist(store, attempt, end, stopping, leads_to=Progress.SUCCEEDED, patience=0.1)
