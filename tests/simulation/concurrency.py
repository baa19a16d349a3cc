"""Two transitions of a store on PostgreSQL in controlled order, compared with both serial orders.

A transition is one statement. PostgreSQL takes its snapshot when it begins. After a wait for a lock, it
checks the locked row again, but not the result of a subquery. So two concurrent transitions can have a result
that no serial order has. There are two ways in which a run controls the order:

- The first transition is complete, but not committed, when the second one begins.
- A third connection locks one row, so that both transitions wait in the middle of their work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from itertools import product
from threading import Event
from typing import NamedTuple

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy import make_url

from brokerkit.store import Store, StoreUnavailable
from brokerkit.store.commits import AutoCommitter, Write

from .transitions import SITUATIONS, Action, Content, Scene, Situation, actions, faults, keys_of_rows

KEY = "cGxlYXNlIGRvIG5vdCB1c2UgdGhpcyBrZXkgaGVyZSE="
_PATIENCE = 20.0
_LONGEST_USE = 2.0
_DEADLOCK = "deadlock"
_AGAIN = " (again)"
_OF_ATTEMPT = ("succeed", "fail", "release", "accept", "postpone", "withdraw", "renew")
"""The beginnings of the names of transitions whose refusal means that the attempt has lost its lease."""

Result = bool | str
"""Whether a transition was applied, or "deadlock"."""


class HoldingCommitter:
    """A committer that runs a transition, but waits before the commit while it holds.

    Args:
        store: The store.

    Attributes:
        is_holding: Whether it waits.
        applied: Set when a transition waits for its commit.
        may_commit: Lets the transition commit.
    """

    def __init__(self, store: Store) -> None:
        self._database = store.database
        self._auto = AutoCommitter(store.database)
        self.is_holding = False
        self.applied = Event()
        self.may_commit = Event()

    def run(self, writes: Sequence[Write]) -> list[bool]:
        """Run transitions as `Committer.run` describes."""
        if not self.is_holding:
            return self._auto.run(writes)
        with self._database.writing() as connection:
            cursor = connection.cursor()
            cursor.execute("BEGIN")
            results = [write.transition.run(connection, write.parameters) for write in writes]
            self.applied.set()
            self.may_commit.wait(_PATIENCE)
            cursor.execute("COMMIT")
        return results


class ControlledStore(Store):
    """A store on PostgreSQL with one connection, which has a name.

    Args:
        url: The URL of the database.
        name: The name of the connection.
    """

    def __init__(self, url: str, name: str) -> None:
        super().__init__(
            url,
            encryption_keys=[KEY],
            pool_size=1,
            max_overflow=0,
            connect_args={"application_name": name, "options": "-c deadlock_timeout=20ms"},
        )
        self._commits = self.committer = HoldingCommitter(self)


class Ending(NamedTuple):
    """The end of a run: the results of both transitions, and the content of the store."""

    first: Result
    second: Result
    content: Content


class Anomaly(NamedTuple):
    """A run whose end no serial order has."""

    situation: str
    first: str
    second: str
    order: str
    ending: Ending
    serial: Ending
    faults: Sequence[str]

    def __str__(self) -> str:
        lines = [f"{self.situation}: {self.first!r} beside {self.second!r}, {self.order}"]
        lines.append(f"  results: {self.ending.first}, {self.ending.second}")
        serial = self.serial
        lines.append(f"  one after the other: {serial.first}, {serial.second}")
        for title, one, other in (("concurrent", self.ending, serial), ("serial", serial, self.ending)):
            lines += [f"  only {title}: {_text(row)}" for row in one.content if row not in other.content]
        lines += [f"  {fault}" for fault in self.faults]
        return "\n".join(lines)


def _text(row: tuple[tuple[str, str], ...]) -> str:
    return ", ".join(f"{name}={value}" for name, value in row if value != "None")


class Laboratory:
    """Two connections, of which each runs a transition, and a third one that observes and locks.

    Args:
        url: The URL of an empty PostgreSQL database.
        store: Creates the store of a connection. Defaults to :class:`ControlledStore`.
    """

    def __init__(self, url: str, store: Callable[[str, str], ControlledStore] = ControlledStore) -> None:
        self._stores = (store(url, "first"), store(url, "second"))
        self._own = ControlledStore(url, "own")
        self.scene = Scene(self._own)
        libpq = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._observer = psycopg.connect(libpq, autocommit=True)
        self._locker = psycopg.connect(libpq)
        self._threads = (ThreadPoolExecutor(1), ThreadPoolExecutor(1))
        self._actions: Mapping[str, Action] = {}
        self._situation = SITUATIONS[0]
        self._built_at = 0.0
        self.runs = 0
        for opened in (self._own, *self._stores):
            opened.open()

    def close(self) -> None:
        """Close all connections."""
        for thread in self._threads:
            thread.shutdown()
        self._observer.close()
        self._locker.close()
        for store in (*self._stores, self._own):
            store.close()

    # Runs

    def serial(self, first: str, second: str) -> Ending:
        """Run two actions one after the other."""
        one, other = self._prepare(first, second)
        results = [self._call(number, action).result(_PATIENCE) for number, action in enumerate((one, other))]
        return Ending(results[0], results[1], self.scene.content())

    def alone(self, name: str) -> Ending:
        """Run one action alone."""
        (action,) = self._prepare(name)
        return Ending(self._call(0, action).result(_PATIENCE), False, self.scene.content())

    def uncommitted(self, first: str, second: str) -> Ending:
        """Run the second action while the first one is complete, but not committed."""
        one, other = self._prepare(first, second)
        committer = self._stores[0].committer
        committer.applied.clear()
        committer.may_commit.clear()
        committer.is_holding = True
        try:
            running = self._call(0, one)
            while not (running.done() or committer.applied.wait(0.001)):
                pass
            waiting = self._call(1, other)
            self._wait_for_lock("second", waiting)
        finally:
            committer.is_holding = False
            committer.may_commit.set()
        return Ending(running.result(_PATIENCE), waiting.result(_PATIENCE), self.scene.content())

    def locked(self, first: str, second: str, table: str, key: Mapping[str, str]) -> Ending:
        """Run both actions while another transaction has locked a row, which is then unlocked."""
        one, other = self._prepare(first, second)
        with self._lock(table, key):
            running = self._call(0, one)
            self._wait_for_lock("first", running)
            waiting = self._call(1, other)
            self._wait_for_lock("second", waiting)
        return Ending(running.result(_PATIENCE), waiting.result(_PATIENCE), self.scene.content())

    def _prepare(self, *names: str) -> list[Action]:
        """Restore the situation, and return actions. It is built again before its times are too old."""
        self.runs += 1
        if time.monotonic() > self._built_at + _LONGEST_USE:
            self.enter(self._situation)
        else:
            self.scene.restore()
        return [self._actions[name] for name in names]

    def enter(self, situation: Situation) -> list[str]:
        """Build a situation, and return the names of its actions."""
        self._situation = situation
        self.scene.clear()
        situation.build(self.scene)
        self.scene.save()
        self._built_at = time.monotonic()
        by_name = actions(self.scene)
        again = {f"{name}{_AGAIN}": action for name, action in actions(self.scene, "again: ").items()}
        self._actions = {**by_name, **again}
        return list(by_name)

    def _call(self, number: int, action: Action) -> Future[Result]:
        def call() -> Result:
            try:
                return action(self._stores[number])
            except StoreUnavailable as error:
                if isinstance(error.__cause__, psycopg.errors.DeadlockDetected):
                    return _DEADLOCK
                raise

        return self._threads[number].submit(call)

    def _wait_for_lock(self, name: str, running: Future[Result]) -> None:
        """Wait until a connection waits for a lock, or has finished."""
        ends = time.monotonic() + _PATIENCE
        while not running.done():
            query = "SELECT 1 FROM pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock'"
            if self._observer.execute(query, (name,)).fetchone():
                return
            assert time.monotonic() < ends, f"the {name} connection neither waits nor ends"

    @contextmanager
    def _lock(self, table: str, key: Mapping[str, str]) -> Iterator[None]:
        condition = SQL(" AND ").join(
            SQL("{} = {}").format(Identifier(name), value) for name, value in key.items()
        )
        query = SQL("SELECT 1 FROM {} WHERE {} FOR UPDATE").format(Identifier(table), condition)
        self._locker.execute(query)
        try:
            yield
        finally:
            self._locker.rollback()

    # Exploration

    def anomalies(self, situation: Situation, *, is_thorough: bool = False) -> Iterator[Anomaly]:
        """Run pairs of actions of a situation in controlled order.

        Args:
            situation: The situation.
            is_thorough: Whether to run pairs with each row locked too, and pairs of which only the first
                action is possible in the situation. Defaults to False.
        """
        names = self.enter(situation)
        rows = keys_of_rows(self.scene)
        endings = {name: self.alone(name) for name in names}
        possible = [name for name in names if endings[name].first]
        serial, find_faults = cache(self.serial), cache(faults)

        def explanations(first: str, name: str, second: str) -> Iterator[Ending]:
            """Yield the allowed endings of a pair, the cheapest first."""
            # A caller of other transitions reads again after a refusal.
            if not name.startswith(_OF_ATTEMPT):
                yield endings[first]
            if not first.startswith(_OF_ATTEMPT):
                yield _swapped(self.alone(second) if name == first else endings[name])
            yield serial(first, second)
            yield _swapped(serial(second, first))

        for first, name in product(possible, names if is_thorough else possible):
            second = f"{name}{_AGAIN}" if name == first else name
            ways = [("the first one uncommitted", partial(self.uncommitted, first, second))]
            if is_thorough and name in possible:
                ways += [
                    (f"a lock of {table} {dict(key)}", partial(self.locked, first, second, table, key))
                    for table, key in rows
                ]
            for order, way in ways:
                ending = way()
                wrong = find_faults(ending.content)
                if wrong or ending not in explanations(first, name, second):
                    yield Anomaly(situation.name, first, second, order, ending, serial(first, second), wrong)


def _swapped(ending: Ending) -> Ending:
    return Ending(ending.second, ending.first, ending.content)
