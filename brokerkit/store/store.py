"""The store: the state of a broker, in SQLite or PostgreSQL.

Reads return records. Each write is a transition: one transaction that is applied only if the store still has
the state that the caller read. So any number of threads, processes and machines can write concurrently. All
times are by the database's clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from math import inf
from typing import Any, NamedTuple

from msgspec.structs import replace
from sqlalchemy import URL, Select, select

from .._internal.clock import SYSTEM_CLOCK, Clock
from ..stats import StoreStats
from . import rows, schema
from .bind_params import (
    attempt_place,
    binding_fence,
    claim_params,
    end_params,
    fence_params,
    instance_fence,
    lease_params,
    outcome_param,
    predecessor_fence,
    result_params,
    state_params,
)
from .commits import AutoCommitter, Committer, GroupCommitter, Write
from .database import DATABASE_ERRORS, Database, driver_message
from .encryption import KEY_COMMAND, Encryptor, KeyFile
from .errors import StoreError, StoreUnavailable
from .key_check import is_key_check_bound, open_encryptor
from .lease import DEFAULT_LEASE, Lease
from .models import (
    Attempt,
    BindingAttributes,
    BindingRecord,
    BindingResult,
    Change,
    InstanceAttributes,
    InstanceRecord,
    InstanceResult,
    NewOperation,
    OperationRecord,
    Outcome,
    Progress,
    Snapshot,
    State,
)
from .places import Place, binding_place, instance_place, operation_place
from .resource_keys import resource_key
from .statements.compiled import statements_for
from .statements.expressions import PerResource, clock
from .transitions import Parameters, Query, Transition

_NO_OUTCOME = Outcome()
_CACHED_SIZE = 2048

_FORM_CHECK_INTERVAL = 60.0
"""The seconds after which a process notices that the keys of a store of an earlier version were rotated."""

CLOCK_TOLERANCE = 1.0
"""The seconds by which clocks differ normally, for example after a failover of the database."""


class Position(NamedTuple):
    """The position of a due operation in the order of their times. The default is before all of them."""

    wake_at: float = -inf
    operation_id: str = ""

    @classmethod
    def of(cls, operation: OperationRecord) -> Position:
        """Return the position of an operation."""
        return cls(operation.wake_at or 0.0, operation.id)


START = Position()


class Store:
    """A broker's database, with its encryption and leases.

    Args:
        url: An SQLAlchemy URL, such as ``"sqlite:///broker.db"`` or
            ``"postgresql+psycopg://user:password@host/database"``. ``"sqlite://"`` is in memory, for tests.
        encryption_keys: Fernet keys, the newest first. Required on PostgreSQL. Defaults to those of a key
            file beside the SQLite database, which is created when it is missing.
        lease: The number of seconds without a heartbeat after which a process counts as dead. Defaults to the
            URL's parameter (``"sqlite:///broker.db?lease=10"``), or else to 30.
        clock: The clock of this process. Defaults to the system's.
        engine_options: Arguments for SQLAlchemy's `create_engine`. On PostgreSQL they default to
            ``pool_size=5`` and ``max_overflow=5``, which is at most ten connections for a process.

    Raises:
        StoreError: The URL, a key or the lease is invalid.
    """

    def __init__(
        self,
        url: str | URL,
        *,
        encryption_keys: Sequence[str | bytes] | None = None,
        lease: float | None = None,
        clock: Clock = SYSTEM_CLOCK,
        **engine_options: Any,
    ) -> None:
        self.clock = clock
        self.database = Database(url, engine_options, clock)
        seconds = self.database.settings.get("lease", DEFAULT_LEASE) if lease is None else lease
        self._lease = Lease(seconds)
        self.lease = self._lease.seconds
        self._keys = encryption_keys
        if encryption_keys is not None:
            Encryptor(encryption_keys)  # rejects an invalid key now, and not when the store is opened
        elif not self.database.is_sqlite:
            raise StoreError(
                f"a store on {self.database} needs encryption_keys, the same on every machine; keep them with"
                f" your other secrets. To generate a key, run: {KEY_COMMAND}"
            )
        self._encryptor: Encryptor | None = None
        self._next_form_check = -inf
        self._outcomes = lru_cache(256)(self._decrypt_outcome)
        self._sql = statements_for(self.database.engine.dialect)
        committer = GroupCommitter if self.database.is_sqlite else AutoCommitter
        self._commits: Committer = committer(self.database)

    def __repr__(self) -> str:
        return f"Store({str(self.database)!r})"

    # Opening

    def open(self) -> None:
        """Create the tables in an empty database, and check the schema version and the keys.

        Raises:
            StoreError: A check failed, or the database cannot be reached.
        """
        if self._encryptor is not None:
            return
        self.database.check_folder()
        try:
            schema.require_newest(self.database.engine)
            self._encryptor = open_encryptor(self.database, self._keys)
        except StoreError:
            self.close()
            raise
        except (*DATABASE_ERRORS, StoreUnavailable) as error:
            raise StoreError(f"{self!r} cannot be opened: {_cause(error)}") from error
        self.database.dispose()  # a server that forks later must not share connections with its children

    def upgrade(self) -> tuple[str | None, str]:
        """Upgrade the tables to the schema version of this package.

        Returns:
            The version before (None if there were no tables), and the version after.

        Raises:
            StoreError: The database cannot be reached or changed.
        """
        try:
            return schema.upgrade(self.database.engine)
        except DATABASE_ERRORS as error:
            raise StoreError(f"{self!r} cannot be upgraded: {driver_message(error)}") from error

    @property
    def exists(self) -> bool:
        """Whether the tables exist. Reading this property creates nothing.

        Raises:
            StoreError: The database cannot be reached.
        """
        try:
            return self.version is not None
        except StoreUnavailable as error:
            raise StoreError(f"{self!r} cannot be opened: {_cause(error)}") from error

    @property
    def version(self) -> str | None:
        """The schema version of the tables, or None without tables. Reading this property creates nothing.

        Raises:
            StoreUnavailable: The database cannot be reached.
        """
        if self.database.is_sqlite and not (self.database.is_in_memory or self.database.path.exists()):
            return None
        try:
            with self.database.engine.connect() as connection:
                return schema.version_of(connection)
        except DATABASE_ERRORS as error:
            raise StoreUnavailable from error

    def close(self) -> None:
        """Close the connections. A store in memory loses its content."""
        self.database.close()
        if self.database.is_in_memory:
            self._encryptor = None

    @property
    def encryptor(self) -> Encryptor:
        """The encryptor of the open store."""
        encryptor = self._encryptor
        assert encryptor is not None, "the store is not open"
        if encryptor.accepts_unbound and self.clock.monotonic() >= self._next_form_check:
            self._next_form_check = self.clock.monotonic() + _FORM_CHECK_INTERVAL
            with suppress(StoreUnavailable):
                encryptor.accepts_unbound = not is_key_check_bound(self.database)
        return encryptor

    @property
    def key_file(self) -> KeyFile | None:
        """The key file of a SQLite database, or None if keys were given or the database is in memory."""
        if self._keys is not None or self.database.is_in_memory:
            return None
        return KeyFile(self.database.path)

    # Reading

    def find(self, instance_id: str, binding_id: str | None = None) -> Snapshot:
        """Return the snapshot of an instance, and of one of its bindings."""
        return self.find_by_key(
            resource_key(instance_id), None if binding_id is None else resource_key(binding_id)
        )

    def find_by_key(self, instance_key: str, binding_key: str | None = None) -> Snapshot:
        """Return a snapshot like :meth:`find`, but by the keys of an instance and a binding."""
        if binding_key is None:
            row = self._row(self._sql.reads.instance, {"i_id": instance_key})
            return Snapshot() if row is None else rows.instance_snapshot(row, self.encryptor)
        row = self._row(self._sql.reads.binding, {"i_id": instance_key, "b_id": binding_key})
        return Snapshot() if row is None else rows.binding_snapshot(row, self.encryptor)

    def find_operation(self, operation_id: str) -> tuple[OperationRecord, float] | None:
        """Return an operation by its id, with the database's current time, or None."""
        if "\0" in operation_id:  # no id contains NUL, and PostgreSQL rejects NUL in a parameter
            return None
        row = self._row(self._sql.reads.operation, {"o_id": operation_id})
        return None if row is None else rows.operation_now(row)

    def last_operation_of_binding(
        self, instance_id: str, binding_id: str
    ) -> tuple[OperationRecord, float] | None:
        """Return the last operation on a binding and the current time, or None, even if it was deleted."""
        keys = {"i_id": resource_key(instance_id), "b_id": resource_key(binding_id)}
        row = self._row(self._sql.reads.last_of_binding, keys)
        return None if row is None else rows.operation_now(row)

    def bindings_of(self, instance_key: str) -> list[BindingRecord]:
        """Return the bindings of an instance, the oldest first, without their operations."""
        with self.database.reading() as connection:
            result = self._sql.reads.bindings_of.run(connection, {"i_id": instance_key}).fetchall()
        return [rows.binding(row, self.encryptor) for row in result]

    def quiet_bindings(self, instance_key: str, quiet: float, limit: int) -> list[Snapshot]:
        """Return bindings whose operation is polled, but has not changed for a number of seconds, in order.

        Args:
            instance_key: The key of the instance.
            quiet: The minimum number of seconds since the last change.
            limit: The maximum number of bindings.
        """
        parameters = {"i_id": instance_key, "quiet": quiet, "limit": limit}
        with self.database.reading() as connection:
            result = self._sql.reads.quiet_bindings.run(connection, parameters).fetchall()
        return [rows.binding_snapshot(row, self.encryptor) for row in result]

    def outcome_of(self, operation: OperationRecord) -> Outcome:
        """Return the outcome of an operation. Short outcomes are cached for repeated polls."""
        token = operation.outcome
        if not token:
            return _NO_OUTCOME
        place = operation_place(operation.id, operation.instance_key, operation.binding_key, "outcome")
        if len(token) < _CACHED_SIZE:
            outcome = self._outcomes(token, place)
            if outcome.result is None:  # a handler can change the values in a result
                return outcome
        return self._decrypt_outcome(token, place)

    def _decrypt_outcome(self, token: bytes, place: Place) -> Outcome:
        return self.encryptor.decrypt(token, Outcome, place)

    def request_of(self, operation: OperationRecord) -> dict[str, Any]:
        """Return the document that was stored with the request of an operation."""
        place = operation_place(operation.id, operation.instance_key, operation.binding_key, "request")
        return self.encryptor.decrypt(operation.request, dict, place)

    def due_running(self, limit: int, after: Position = START) -> list[tuple[OperationRecord, float]]:
        """Return operations with a running attempt whose lease has expired, or whose deadline has passed.

        Args:
            limit: The maximum number of operations.
            after: The position of the last operation of the previous page. Defaults to the first page.

        Returns:
            At most `limit` operations, each with the current time.
        """
        return self._page(self._sql.due.running, limit, after)

    def due_waiting(self, limit: int, after: Position = START) -> list[tuple[OperationRecord, float]]:
        """Return operations without a running attempt that are due, like :meth:`due_running`.

        Their next attempt may begin, or their deadline has passed.
        """
        return self._page(self._sql.due.waiting, limit, after)

    def _page(self, query: Query, limit: int, after: Position) -> list[tuple[OperationRecord, float]]:
        parameters = {"limit": limit, "after": after.wake_at, "after_id": after.operation_id}
        with self.database.reading() as connection:
            result = query.run(connection, parameters).fetchall()
        return [rows.operation_now(row) for row in result]

    def next_due(self) -> tuple[float | None, float]:
        """Return the seconds until the next operation is due, or None without one, and the current time."""
        wait, now = self._row(self._sql.due.next_due, {})
        return wait, now

    def read(self, statement: Select[Any]) -> list[rows.Row]:
        """Run a statement that is not precompiled, such as an operator's query, and return its rows."""
        query = Query(self.database.engine.dialect, statement)
        with self.database.reading() as connection:
            return list(query.run(connection, {}).fetchall())

    def now(self) -> float:
        """Return the time in seconds since 1970, by the database's clock."""
        ((now,),) = self.read(select(clock(self.database.engine.dialect)))
        return float(now)

    def stats(self) -> StoreStats:
        """Count the instances, bindings and running operations.

        This reads every instance and binding, so do not call it for each request.

        Raises:
            StoreError: The store cannot be opened.
            StoreUnavailable: The database cannot be reached.
        """
        self.open()
        with self.database.reading() as connection:
            return rows.store_stats(self._sql.stats.count.run(connection, {}).fetchall())

    # Claims

    def claim_new_instance(self, new: NewOperation, attributes: InstanceAttributes) -> bool:
        """Claim a provision, if the instance does not exist."""
        parameters = self._claim_params(new)
        place = instance_place(parameters["i_id"], "attributes")
        return self._apply(
            self._sql.claims.new_instance,
            {**parameters, "i_attributes": self.encryptor.encrypt(attributes, place)},
        )

    def claim_instance(self, new: NewOperation, instance: InstanceRecord) -> bool:
        """Claim an update or deprovision, if the instance is unchanged and none of its bindings is busy."""
        claims = self._sql.claims
        transition = claims.instance if new.follows is None else claims.instance_after_attempt
        return self._apply(transition, {**self._claim_params(new), **instance_fence(instance)})

    def claim_new_binding(
        self,
        new: NewOperation,
        instance: InstanceRecord,
        attributes: BindingAttributes,
        predecessor: BindingRecord | None = None,
    ) -> bool:
        """Claim a bind, if the binding does not exist, and the instance and the predecessor are unchanged."""
        parameters = {**self._claim_params(new), **instance_fence(instance)}
        place = binding_place(parameters["i_id"], parameters["b_id"], "attributes")
        parameters["b_attributes"] = self.encryptor.encrypt(attributes, place)
        if predecessor is None:
            return self._apply(self._sql.claims.new_binding, parameters)
        return self._apply(self._sql.claims.successor, {**parameters, **predecessor_fence(predecessor)})

    def claim_binding(self, new: NewOperation, instance: InstanceRecord, binding: BindingRecord) -> bool:
        """Claim an unbind, if the instance and the binding are unchanged."""
        claims = self._sql.claims
        transition = claims.binding if new.follows is None else claims.binding_after_attempt
        fences = {**instance_fence(instance), **binding_fence(binding)}
        return self._apply(transition, {**self._claim_params(new), **fences})

    def _claim_params(self, new: NewOperation) -> dict[str, Any]:
        return claim_params(new, self._lease.term, self.encryptor)

    # Ends

    def end(self, attempt: Attempt, state: Progress, outcome: Outcome | None, change: Change) -> bool:
        """End an operation together with its attempt, if the attempt is still current.

        Args:
            attempt: The attempt.
            state: The final state of the operation.
            outcome: The outcome to store. None keeps the stored one.
            change: The change of the instance or binding.
        """
        ends = self._sql.ends
        transition = ends.deleted if change.state is State.DELETED else ends.done
        return self._end(transition, attempt, state, outcome, change)

    def abandon(self, operation: OperationRecord, outcome: Outcome, change: Change) -> bool:
        """Mark an operation as failed, without its attempt.

        A running attempt continues. It keeps its lease and its instance busy until it can :meth:`release`
        itself, or until its lease is lost.
        """
        ends = self._sql.ends
        transition = ends.abandoned if operation.may_be_running else ends.cancelled
        return self._end(transition, Attempt.of(operation), Progress.FAILED, outcome, change)

    def expire(self, operation: OperationRecord, outcome: Outcome, change: Change) -> bool:
        """Mark an operation as failed whose attempt is lost, if its lease is unchanged."""
        parameters = {
            **end_params(Attempt.of(operation), Progress.FAILED, outcome, change, self.encryptor),
            **lease_params(operation),
        }
        return self._apply(self._sql.ends.expired.for_binding(operation.binding_key), parameters)

    def withdraw(self, attempt: Attempt, previous: str | None) -> bool:
        """Undo the claim after the handler refused the request.

        Args:
            attempt: The attempt, which must be the only one.
            previous: The id of the last operation that the instance or binding had before. None if there was
                none.
        """
        transition = self._sql.ends.withdrawn[attempt.kind]
        return self._apply(transition, {**fence_params(attempt), "o_previous": previous})

    def accept(
        self,
        attempt: Attempt,
        outcome: Outcome,
        request: object,
        result: InstanceResult | BindingResult | None,
    ) -> bool:
        """Record that the operation continues outside of the broker, and that a handler polls it.

        Args:
            attempt: The attempt.
            outcome: The operation string and the progress.
            request: The stored part of the request.
            result: The values that the handler returned. None keeps the stored ones.
        """
        transition = self._sql.ends.accepted.for_binding(attempt.binding_key)
        parameters = {
            **fence_params(attempt),
            "o_outcome": outcome_param(outcome, attempt, self.encryptor),
            "o_request": self.encryptor.encrypt(request, attempt_place(attempt, "request")),
            **result_params(result, attempt, self.encryptor),
        }
        return self._apply(transition, parameters)

    def _end(
        self,
        transition: PerResource,
        attempt: Attempt,
        state: Progress,
        outcome: Outcome | None,
        change: Change,
    ) -> bool:
        parameters = end_params(attempt, state, outcome, change, self.encryptor)
        return self._apply(transition.for_binding(attempt.binding_key), parameters)

    # Attempts

    def begin(
        self, operation_id: str, is_served: Callable[[OperationRecord], bool] = lambda _: True
    ) -> OperationRecord | None:
        """Begin the next attempt of a background operation, if it is due and no other process runs it.

        Args:
            operation_id: The id of the operation.
            is_served: Returns whether this process has a handler for the operation. If not, another process
                must begin the attempt. Defaults to a function that returns True.

        Returns:
            The operation with its new attempt, or None.
        """
        result = self.find_operation(operation_id)
        if result is None or not is_served(result[0]):
            return None
        operation, now = result
        # Fence with the attempt number from the read, so that no number is used twice.
        parameters = {
            "o_id": operation.id,
            "o_attempt": operation.attempt,
            "o_attempts_before": operation.attempts_before,
            "lease": self._lease.term,
        }
        if not self._apply(self._sql.attempts.begin, parameters):
            return None
        return replace(
            operation, attempt=operation.attempt + 1, lease_until=now + self._lease.term, updated_at=now
        )

    def mark_enqueued(self, operation_id: str, early: float = 0.0) -> bool:
        """Claim the right to put a background operation into an executor's queue.

        The operation is due again when its queue entry counts as lost. That is after as long as the operation
        has waited already, but after one lease at least, and twenty leases at most.

        Args:
            operation_id: The id of the operation.
            early: The maximum number of seconds before the operation is due. Defaults to 0.

        Returns:
            Whether the caller must enqueue the operation. No other process does so.
        """
        limits = {"least": self.lease, "longest": self._lease.longest_in_queue, "early": early}
        return self._apply(self._sql.attempts.mark_enqueued, {"o_id": operation_id, **limits})

    def requeue(self, operation_id: str, after: float) -> bool:
        """Record that the operation could not be enqueued. It is enqueued again after `after` seconds."""
        return self._apply(self._sql.attempts.requeue, {"o_id": operation_id, "after": after})

    def record_progress(self, attempt: Attempt, outcome: Outcome) -> bool:
        """Store the progress of a running attempt, if the attempt is still current and has its lease."""
        return self._record(self._sql.attempts.record_progress, attempt, outcome)

    def record_poll(self, attempt: Attempt, outcome: Outcome) -> bool:
        """Store the progress of an operation that a handler polls, if the operation is in progress."""
        return self._record(self._sql.attempts.record_poll, attempt, outcome)

    def _record(self, transition: Transition, attempt: Attempt, outcome: Outcome) -> bool:
        parameters = {**fence_params(attempt), "o_outcome": outcome_param(outcome, attempt, self.encryptor)}
        return self._apply(transition, parameters)

    def postpone(
        self, attempt: Attempt, after: float, outcome: Outcome | None, *, handover: bool = False
    ) -> bool:
        """End the attempt, and schedule the next one.

        Args:
            attempt: The attempt.
            after: The delay until the next attempt, in seconds.
            outcome: The progress to store. None keeps the stored one.
            handover: Whether the attempt does not count for `max_attempts`, because its handler did not run
                or did not end by itself. Defaults to False.
        """
        return self._apply(
            self._sql.attempts.postpone,
            {
                **fence_params(attempt),
                "after": after,
                "o_outcome": outcome_param(outcome, attempt, self.encryptor),
                "o_handovers": int(handover),
            },
        )

    def release(self, attempt: Attempt, result: InstanceResult | BindingResult | None) -> bool:
        """End the attempt of an operation that has failed without it, so that its follower can begin.

        Args:
            attempt: The attempt.
            result: The values that the handler returned, for the handler that deletes the resource.
        """
        return self._release(self._sql.attempts.release, attempt, result)

    def _release(
        self, kind: PerResource, attempt: Attempt, result: object, lease: Parameters | None = None
    ) -> bool:
        """Release an attempt, again if another process claimed a follower meanwhile."""
        transition, followed_by = kind.for_binding(attempt.binding_key), None
        parameters = {
            **fence_params(attempt),
            **result_params(result, attempt, self.encryptor),
            **(lease or {}),
        }
        while not self._apply(transition, {**parameters, "o_followed_by": followed_by}):
            row = self.find_operation(attempt.operation_id)
            if row is None or row[0].followed_by == followed_by:
                return False
            followed_by = row[0].followed_by
        return True

    def renew(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        """Renew the leases of running attempts.

        Returns:
            The attempts that were lost to another process.
        """
        transition, term = self._sql.attempts.renew, self._lease.term
        writes = [Write(transition, {**fence_params(attempt), "lease": term}) for attempt in attempts]
        renewed = self._commits.run(writes)
        return [attempt for attempt, is_renewed in zip(attempts, renewed, strict=True) if not is_renewed]

    @property
    def grace(self) -> float:
        """The number of seconds that an attempt has to renew its lease after a challenge."""
        return self._lease.grace

    def challenge_leases(self, expired: Sequence[OperationRecord]) -> list[OperationRecord]:
        """Give attempts time to renew their expired leases.

        A lease can expire because the database was unavailable or its clock was set forward. So an expired
        lease alone does not prove that the process is dead.

        Returns:
            The operations whose leases this call challenged. They are due again after the grace period. The
            other attempts have renewed their leases or have ended, or another process challenged them.
        """
        return self._apply_each(self._sql.attempts.challenge, expired, {"grace": self._lease.grace})

    def reclaim(self, lost: Sequence[OperationRecord]) -> list[OperationRecord]:
        """Take background operations from their lost attempts, so that the next ones can begin.

        The caller must have challenged the leases, and must have waited for the grace period.

        Returns:
            The operations whose leases were unchanged. They are now due.
        """
        return self._apply_each(self._sql.attempts.reclaim, lost, {})

    def _apply_each(
        self, transition: Transition, subjects: Sequence[OperationRecord], parameters: Parameters
    ) -> list[OperationRecord]:
        """Apply a transition to each operation with an unchanged lease. Return the changed ones."""
        writes = [Write(transition, {**lease_params(operation), **parameters}) for operation in subjects]
        applied = self._commits.run(writes) if writes else []
        return [operation for operation, changed in zip(subjects, applied, strict=True) if changed]

    def release_lost(self, operation: OperationRecord) -> bool:
        """Do the same as :meth:`release`, for an attempt that is lost."""
        attempt = Attempt.of(operation)
        return self._release(self._sql.attempts.release_lost, attempt, None, lease_params(operation))

    def wake_misdated(self) -> bool:
        """Make operations due that wait longer than they ever should, because the clock was set back.

        Returns:
            Whether there were such operations.
        """
        limits = {"lease": self.lease, "longest_in_queue": self._lease.longest_in_queue}
        return self._apply(self._sql.due.wake_misdated, {**limits, "tolerance": CLOCK_TOLERANCE})

    def retry_failed(
        self, operation: OperationRecord, snapshot: Snapshot, deadline: float, state: State | None
    ) -> bool:
        """Start a failed background operation again, if its instance and binding have not changed.

        Args:
            operation: The operation.
            snapshot: The instance and binding that the caller read.
            deadline: The number of seconds until the operation fails automatically.
            state: The new state of the instance or binding. None keeps the state.
        """
        transition = self._sql.attempts.retry_failed.for_binding(operation.binding_key)
        return self._apply(
            transition,
            {
                **fence_params(Attempt.of(operation)),
                "o_deadline": deadline,
                "i_revision": snapshot.instance.revision if snapshot.instance else None,
                "i_busy": snapshot.instance.busy_bindings if snapshot.instance else None,
                **state_params(state),
            },
        )

    # Connections

    def _apply(self, transition: Transition, parameters: Parameters) -> bool:
        (applied,) = self._commits.run([Write(transition, parameters)])
        return applied

    def _row(self, query: Query, parameters: Parameters) -> Any:
        with self.database.reading() as connection:
            return query.run(connection, parameters).fetchone()


def _cause(error: Exception) -> str:
    cause = error.__cause__ if isinstance(error, StoreUnavailable) else error
    return driver_message(cause) if isinstance(cause, Exception) else str(error)
