"""Processes: brokers that share one database in memory, with stores and executors of the simulation."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from flask import Flask

from brokerkit import Broker, Catalog, NoAuth, ServiceOffering, ServicePlan
from brokerkit.background.runtime import Runtime
from brokerkit.broker import runtime_of
from brokerkit.requests import Operation
from brokerkit.store.commits import Committer, Write
from brokerkit.store.errors import StoreUnavailable
from brokerkit.store.models import InstanceAttributes, Mode, NewOperation
from brokerkit.store.store import Position, Store
from brokerkit.store.transitions import Parameters, Query

from .actors import Actor
from .clock import VirtualClock, request_name
from .handlers import register

if TYPE_CHECKING:
    from .run import Simulation

KEY = "cGxlYXNlIGRvIG5vdCB1c2UgdGhpcyBrZXkgaGVyZSE="
DEADLINE = 60
LEASE = 30.0
UNSERVED = "unserved"
"""The id of a plan without handlers."""

GRACE = 10.0
"""The seconds that a process waits at its exit for running attempts."""

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

    grace = GRACE

    def __init__(self) -> None:
        self.process: Process | None = None
        self._attempts: list[Actor] = []
        self._run: Callable[[str], None] = lambda _: None
        self._waiting: set[str] = set()

    def start(self, run: Callable[[str], None]) -> None:
        """Implement `Executor.start`."""
        self._run = run
        self._waiting = set()
        self._attempts = []

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
        self._attempts = [actor for actor in self._attempts if not actor.is_finished]
        actor = run.stage.spawn(
            f"{name}@{process.name}", attempt, process=process, request=run.requests.get(name)
        )
        self._attempts.append(actor)

    def stop(self) -> None:
        """Implement `Executor.stop`. Wait for the running attempts as long as :attr:`grace`."""
        if self.process is None:
            return
        stage = self.process.run.stage
        ends = stage.now + self.grace
        while stage.now < ends and not all(actor.is_finished for actor in self._attempts):
            stage.sleep(0.5)


class Host:
    """A broker with its store and app, which is the code of one process at a time.

    Args:
        store: The store.
        background: The operations with background handlers.
        clock: The virtual clock.
    """

    def __init__(self, store: SimulatedStore, background: frozenset[str], clock: VirtualClock) -> None:
        self.executor = ActorExecutor()
        broker = Broker(catalog(), auth=NoAuth(), store=store, executor=self.executor)
        register(broker, background, clock)
        self.app = Flask("simulation")
        self.app.register_blueprint(broker.blueprint)
        runtime = runtime_of(broker)
        assert runtime is not None, "the broker has a store"
        self.runtime: Runtime = runtime


class Process:
    """A process of the broker in a run: its state, heartbeat and scheduler.

    Args:
        name: The name.
        run: The run.
        fleet: Has the brokers. After its death, a process continues with another one.

    Attributes:
        generation: The number of starts.
        pause: The duration of the last pause, in seconds.
    """

    def __init__(self, name: str, run: Simulation, fleet: Fleet) -> None:
        self.name = name
        self.run = run
        self.is_alive = False
        self.is_paused = False
        self.is_draining = False
        self.pause = 0.0
        self.generation = 0
        self._fleet = fleet
        self._is_exiting = False

    @property
    def accepts(self) -> bool:
        """Whether the process accepts requests."""
        return self.is_alive and not self.is_draining

    def start(self) -> None:
        """Start, as a server starts a worker process."""
        self.is_alive, self.is_paused, self.is_draining = True, False, False
        self._is_exiting = False
        self.generation += 1
        self.host = self._fleet.take()
        self.runtime = self.host.runtime
        self.host.executor.process = self
        self.runtime.ensure_started(threads=False)
        stage = self.run.stage
        stage.spawn(f"{self.name}/heartbeat", self._beat, process=self)
        self._scheduler = stage.spawn(f"{self.name}/scheduler", self._schedule, process=self)

    def _beat(self) -> None:
        stage, heartbeat = self.run.stage, self.runtime.heartbeat
        pause = LEASE / 4
        while True:
            stage.sleep(pause)
            pause = heartbeat.beat()

    def _schedule(self) -> None:
        """Check for due operations. `Scheduler.wake_in` has no effect, as if each check were late."""
        stage, scheduler = self.run.stage, self.runtime.scheduler
        while not self._is_exiting:
            stage.sleep(max(scheduler.check(), self.run.shortest_look))

    def terminate(self, patience: float) -> None:
        """Begin to exit, as a server does after SIGTERM.

        Args:
            patience: The number of seconds to wait for requests that are being served.
        """
        self.is_draining = True
        self.runtime.drain()
        self.run.stage.spawn(f"{self.name}/exit", lambda: self._exit(patience), process=self)

    def _exit(self, patience: float) -> None:
        stage = self.run.stage
        ends = stage.now + patience
        while stage.now < ends and any(self._is_serving(actor) for actor in stage.live):
            stage.sleep(0.5)
        self._is_exiting = True
        while not self._scheduler.is_finished:  # like the scheduler's thread, which is joined
            stage.sleep(0.5)
        self.runtime.shutdown()
        self.kill()

    def _is_serving(self, actor: Actor) -> bool:
        return actor.process is self and "@" not in actor.name and "/" not in actor.name

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

    def __init__(
        self,
        background: frozenset[str],
        store: Callable[[sqlite3.Connection, VirtualClock], SimulatedStore] = SimulatedStore,
    ) -> None:
        self.clock = VirtualClock()
        self.connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._background = background
        self._store = store
        self._idle: list[Host] = []
        self._used: list[Host] = []

    def take(self) -> Host:
        """Return a broker that no process of this run has used."""
        if self._idle:
            host = self._idle.pop()
        else:
            host = Host(self._store(self.connection, self.clock), self._background, self.clock)
        self._used.append(host)
        return host

    def fill(self, number: int) -> None:
        """Add operations that are due all the time, because no process has a handler for their plan."""
        for index in range(number):
            host = (self._idle or [self.take()])[-1]
            store = host.runtime.store
            store.open()
            instance = f"backlog-{index}"
            new = NewOperation(
                id=f"000000000000-{instance}",
                kind=Operation.PROVISION,
                mode=Mode.BACKGROUND,
                instance_id=instance,
                binding_id=None,
                service_id="offering",
                plan_id=UNSERVED,
                deadline=1e6,
                request={},
            )
            store.claim_new_instance(new, InstanceAttributes(instance_id=instance))

    def clear(self) -> None:
        """Take the brokers back after a run, and empty the database."""
        for host in self._used:
            host.executor.process = None
            host.runtime.stop()
        self._idle += reversed(self._used)
        self._used = []
        for table in _TABLES:
            self.connection.execute(f"DELETE FROM {table}")


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
