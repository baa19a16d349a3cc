"""Processes: brokers that share one database in memory, with stores and executors of the simulation."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from flask import Flask

from brokerkit import Broker, Catalog, NoAuth, ServiceOffering, ServicePlan
from brokerkit.background.runtime import Runtime
from brokerkit.broker import runtime_of
from brokerkit.store.commits import Committer, Write
from brokerkit.store.errors import StoreUnavailable
from brokerkit.store.store import Position, Store
from brokerkit.store.transitions import Parameters, Query

from .clock import VirtualClock, request_name
from .handlers import register
from .schedule import CHANGES

if TYPE_CHECKING:
    from .run import Simulation

KEY = "cGxlYXNlIGRvIG5vdCB1c2UgdGhpcyBrZXkgaGVyZSE="
DEADLINE = 60
LEASE = 30.0

_TABLES = ("brokerkit_bindings", "brokerkit_instances", "brokerkit_operations")


class BatonCommitter:
    """A committer with a point before and after each commit, where faults happen.

    Args:
        store: The store of the process.
        committer: Performs the commits.
    """

    def __init__(self, store: SimulatedStore, committer: Committer) -> None:
        self._store = store
        self._committer = committer

    def run(self, writes: Sequence[Write]) -> list[bool]:
        """Run transitions as `Committer.run` describes."""
        run = self._store.clock.simulation
        if run is None:
            return self._committer.run(writes)
        fault = run.before_store_call("write")
        results = self._committer.run(writes)
        run.after_commit()
        if fault == "lose":
            raise StoreUnavailable
        run.stage.point("committed")
        return results


class SimulatedStore(Store):
    """A store whose calls are points of the current actor.

    Args:
        connection: The connection that all processes share.
        clock: The virtual clock.
    """

    clock: VirtualClock

    def __init__(self, connection: sqlite3.Connection, clock: VirtualClock) -> None:
        super().__init__(
            "sqlite://", encryption_keys=[KEY], lease=LEASE, clock=clock, creator=lambda: connection
        )
        self._commits = BatonCommitter(self, self._commits)

    def _row(self, query: Query, parameters: Parameters) -> Any:
        self._before_read()
        return super()._row(query, parameters)

    def bindings_of(self, instance_key: str) -> Any:
        self._before_read()
        return super().bindings_of(instance_key)

    def _page(self, query: Query, limit: int, after: Position) -> Any:
        self._before_read()
        return super()._page(query, limit, after)

    def next_due(self) -> Any:
        self._before_read()
        return super().next_due()

    def read(self, statement: Any) -> Any:
        self._before_read()
        return super().read(statement)

    def _before_read(self) -> None:
        if self.clock.simulation is not None:
            self.clock.simulation.before_store_call("read")


class ActorExecutor:
    """An executor that runs each submitted operation in an actor, like the threads of `ThreadExecutor`."""

    def __init__(self) -> None:
        self.process: Process | None = None
        self._run: Callable[[str], None] = lambda _: None
        self._waiting: set[str] = set()

    def start(self, run: Callable[[str], None]) -> None:
        """Implement `Executor.start`."""
        self._run = run
        self._waiting = set()

    def submit(self, operation_id: str, delay: float = 0) -> None:
        """Implement `Executor.submit`. Delayed operations wait in the store."""
        process = self.process
        if delay > 0 or process is None or process.is_draining or operation_id in self._waiting:
            return
        self._waiting.add(operation_id)
        run, waiting = process.run, self._waiting

        def attempt() -> None:
            waiting.discard(operation_id)
            self._run(operation_id)

        name = request_name(operation_id)
        run.stage.spawn(f"{name}@{process.name}", attempt, process=process, request=run.requests.get(name))

    def stop(self) -> None:
        """Implement `Executor.stop`."""


class Process:
    """A process of the broker in a run: its state, heartbeat and scheduler.

    Args:
        name: The name.
        run: The run.
        app: The Flask app.
        runtime: The background work.
    """

    def __init__(self, name: str, run: Simulation, app: Flask, runtime: Runtime) -> None:
        self.name = name
        self.run = run
        self.app = app
        self.runtime = runtime
        self.is_alive = False
        self.is_paused = False
        self.is_draining = False
        self.generation = 0

    @property
    def accepts(self) -> bool:
        """Whether the process accepts requests."""
        return self.is_alive and not self.is_draining

    def start(self) -> None:
        """Start, as a new process would with its first request."""
        self.runtime.stop()
        self.is_alive, self.is_paused, self.is_draining = True, False, False
        self.generation += 1
        executor = self.runtime.executor
        assert isinstance(executor, ActorExecutor), "the processes of a simulation have its executor"
        executor.process = self
        self.runtime.ensure_started(threads=False)
        self.run.stage.spawn(f"{self.name}/heartbeat", self._beat, process=self)
        self.run.stage.spawn(f"{self.name}/scheduler", self._schedule, process=self)

    def _beat(self) -> None:
        stage, heartbeat = self.run.stage, self.runtime.heartbeat
        pause = LEASE / 4
        while True:
            stage.sleep(pause)
            pause = heartbeat.beat()

    def _schedule(self) -> None:
        stage, scheduler = self.run.stage, self.runtime.scheduler
        while True:
            stage.sleep(max(scheduler.check(), 0.5))

    def kill(self) -> None:
        """End without any cleanup."""
        self.is_alive = self.is_paused = False
        self.run.lose_process(self)
        for actor in self.run.stage.live:
            if actor.process is self:
                actor.is_killed = True


class Fleet:
    """Brokers with the same handlers and one database, which are used by many runs.

    Args:
        background: The operations with background handlers.
        store: Creates the store of a process. Defaults to :class:`SimulatedStore`.
    """

    SIZE = 3

    def __init__(
        self,
        background: frozenset[str],
        store: Callable[[sqlite3.Connection, VirtualClock], SimulatedStore] = SimulatedStore,
    ) -> None:
        self.clock = VirtualClock()
        self.connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self.stores: list[SimulatedStore] = []
        self.apps: list[Flask] = []
        self.runtimes: list[Runtime] = []
        for number in range(self.SIZE):
            made = store(self.connection, self.clock)
            broker = Broker(catalog(), auth=NoAuth(), store=made, executor=ActorExecutor())
            register(broker, background, self.clock)
            app = Flask(f"process-{number}")
            app.register_blueprint(broker.blueprint)
            runtime = runtime_of(broker)
            assert runtime is not None, "the broker has a store"
            self.stores.append(made)
            self.apps.append(app)
            self.runtimes.append(runtime)

    def clear(self) -> None:
        """Empty the database."""
        for table in _TABLES:
            self.connection.execute(f"DELETE FROM {table}")  # noqa: S608 - the names are constants


def catalog() -> Catalog:
    """Build a catalog with one plan."""
    return Catalog(
        [
            ServiceOffering(
                id="offering",
                name="offering",
                description="An offering",
                bindable=True,
                instances_retrievable=True,
                bindings_retrievable=True,
                plan_updateable=True,
                plans=[
                    ServicePlan(
                        id="plan", name="plan", description="A plan", maximum_polling_duration=DEADLINE
                    )
                ],
            )
        ]
    )


ALL = frozenset(CHANGES)
