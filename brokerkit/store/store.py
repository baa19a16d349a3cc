"""The store: what a broker remembers, in SQLite or PostgreSQL.

Reads give records. Each write is a transition: one transaction that happens only if the store still is as its
caller saw it, so that any number of threads, processes and machines may race. Times are the database's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from msgspec.structs import replace
from sqlalchemy import URL, Select, select

from ..stats import StoreStats
from . import rows, schema
from .bind_params import claim_params, encrypt_params, end_params, fence_params, result_params, state_params
from .commits import AutoCommitter, GroupCommitter, Write
from .database import FAULTS, Database, reason
from .encryption import KEY_COMMAND, Encryptor, KeyFile
from .errors import StoreError, StoreUnavailable
from .key_check import open_encryptor
from .keys import resource_key
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
from .statements.compiled import statements_for
from .statements.expressions import PerResource, clock
from .transitions import Parameters, Query, Transition

_NO_OUTCOME = Outcome()
_SHORT = 2048


class Store:
    """What a broker remembers.

    Args:
        url: An SQLAlchemy URL, such as ``"sqlite:///broker.db"`` or
            ``"postgresql+psycopg://user:password@host/database"``. ``"sqlite://"`` is in memory, for tests.
        encryption_keys: Fernet keys, the newest first. Required on PostgreSQL; on SQLite, where none are
            given, one is made in a file beside the database.
        lease: For how many seconds a process that no longer says so is taken to be alive; 30, unless this
            or the URL says another number (``"sqlite:///broker.db?lease=10"``).
        engine_options: For SQLAlchemy's `create_engine`. On PostgreSQL a process has ``pool_size=5`` and
            ``max_overflow=5`` connections, ten at most, unless told.

    Raises:
        StoreError: The URL, a key or the lease cannot be used.
    """

    def __init__(
        self,
        url: str | URL,
        *,
        encryption_keys: Sequence[str | bytes] | None = None,
        lease: float | None = None,
        **engine_options: Any,
    ) -> None:
        self.database = Database(url, engine_options)
        told = self.database.settings.get("lease", DEFAULT_LEASE) if lease is None else lease
        self._lease = Lease(told)
        self.lease = self._lease.seconds
        self._keys = encryption_keys
        if encryption_keys is not None:
            Encryptor(encryption_keys)  # tells at once what is no key
        elif not self.database.is_sqlite:
            raise StoreError(
                f"a store on {self.database} needs encryption_keys, the same on every machine; keep them"
                f" where you keep other secrets. This makes one: {KEY_COMMAND}"
            )
        self._encryptor: Encryptor | None = None
        self._outcomes = lru_cache(256)(self._open_outcome)
        self._sql = statements_for(self.database.engine.dialect)
        self._commits = (GroupCommitter if self.database.is_sqlite else AutoCommitter)(self.database)

    def __repr__(self) -> str:
        return f"Store({str(self.database)!r})"

    # Opening

    def open(self) -> None:
        """Make the tables where there are none, and make sure that they and the keys are the right ones.

        Raises:
            StoreError: They are not, or the database cannot be reached.
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
        except (*FAULTS, StoreUnavailable) as error:
            raise StoreError(f"{self!r} cannot be opened: {_why(error)}") from error
        self.database.dispose()  # a server that forks after this must not share connections with its children

    def upgrade(self) -> tuple[str | None, str]:
        """Bring the tables to the version that this brokerkit works with.

        Returns:
            The version before (None if there were no tables), and the one now.

        Raises:
            StoreError: The database cannot be reached or changed.
        """
        try:
            return schema.upgrade(self.database.engine)
        except FAULTS as error:
            raise StoreError(f"{self!r} cannot be upgraded: {reason(error)}") from error

    @property
    def exists(self) -> bool:
        """Was it ever opened? To ask makes nothing.

        Raises:
            StoreError: The database cannot be reached.
        """
        try:
            return self.version is not None
        except StoreUnavailable as error:
            raise StoreError(f"{self!r} cannot be opened: {_why(error)}") from error

    @property
    def version(self) -> str | None:
        """The version that its tables have; None if it was never opened. To ask makes nothing.

        Raises:
            StoreUnavailable: The database cannot be reached.
        """
        if self.database.is_sqlite and not (self.database.is_in_memory or self.database.path.exists()):
            return None
        try:
            with self.database.engine.connect() as connection:
                return schema.version_of(connection)
        except FAULTS as error:
            raise StoreUnavailable from error

    def close(self) -> None:
        """Close the connections. What was in memory is gone, and opened anew it is empty."""
        self.database.close()
        if self.database.is_in_memory:
            self._encryptor = None

    @property
    def encryptor(self) -> Encryptor:
        """What seals and opens; there once the store is open."""
        assert self._encryptor is not None, "the store is not open"
        return self._encryptor

    @property
    def key_file(self) -> KeyFile | None:
        """Where its keys are, if they were not given."""
        if self._keys is not None or self.database.is_in_memory:
            return None
        return KeyFile(self.database.path)

    # Reading

    def find(self, instance_id: str, binding_id: str | None = None) -> Snapshot:
        """What is remembered of an instance, and of a binding of it."""
        return self.find_by_key(
            resource_key(instance_id), None if binding_id is None else resource_key(binding_id)
        )

    def find_by_key(self, instance_key: str, binding_key: str | None = None) -> Snapshot:
        """As :meth:`find`, by the keys of a record."""
        if binding_key is None:
            row = self._row(self._sql.reads.instance, {"i_id": instance_key})
            return Snapshot() if row is None else rows.known_instance(row, self.encryptor)
        row = self._row(self._sql.reads.binding, {"i_id": instance_key, "b_id": binding_key})
        return Snapshot() if row is None else rows.known_binding(row, self.encryptor)

    def find_operation(self, operation_id: str) -> tuple[OperationRecord, float] | None:
        """An operation by its id, with the time now."""
        if "\0" in operation_id:  # which no id has, and PostgreSQL cannot ask for
            return None
        row = self._row(self._sql.reads.operation, {"o_id": operation_id})
        return None if row is None else rows.operation_now(row)

    def last_operation_of_binding(
        self, instance_id: str, binding_id: str
    ) -> tuple[OperationRecord, float] | None:
        """The last operation on a binding, also on one that is gone."""
        keys = {"i_id": resource_key(instance_id), "b_id": resource_key(binding_id)}
        row = self._row(self._sql.reads.last_of_binding, keys)
        return None if row is None else rows.operation_now(row)

    def bindings_of(self, instance_key: str) -> list[BindingRecord]:
        """The bindings of an instance, the oldest first, without their operations."""
        with self.database.reading() as connection:
            found = self._sql.reads.bindings_of.run(connection, {"i_id": instance_key}).fetchall()
        return [rows.binding(row, self.encryptor) for row in found]

    def outcome_of(self, operation: OperationRecord) -> Outcome:
        """What is told of an operation. Polls ask for the same again and again: short ones are kept open."""
        sealed = operation.outcome
        if not sealed:
            return _NO_OUTCOME
        return self._opened(sealed) if len(sealed) < _SHORT else self.encryptor.decrypt(sealed, Outcome)

    def _open_outcome(self, sealed: bytes) -> tuple[Outcome, bool]:
        outcome = self.encryptor.decrypt(sealed, Outcome)
        return outcome, outcome.result is None

    def _opened(self, sealed: bytes) -> Outcome:
        outcome, can_be_shared = self._outcomes(sealed)
        return outcome if can_be_shared else self.encryptor.decrypt(sealed, Outcome)

    def due(self, limit: int) -> tuple[list[OperationRecord], float, float | None]:
        """What must be looked at.

        Returns:
            So many operations at most; the time now; in how many seconds the next is due, if there is one.
        """
        with self.database.reading() as connection:
            found = self._sql.sweeps.due.run(connection, {"limit": limit}).fetchall()
            (wait,) = self._sql.sweeps.next_due.run(connection, {}).fetchone() or (None,)
        return [rows.operation(row) for row in found], found[0][-1] if found else 0.0, wait

    def read(self, statement: Select[Any]) -> list[rows.Row]:
        """What a statement gives that is put together for this once, as operators' are."""
        query = Query(self.database.engine.dialect, statement)
        with self.database.reading() as connection:
            return list(query.run(connection, {}).fetchall())

    def now(self) -> float:
        """The time, in seconds since 1970 by the database's clock."""
        ((moment,),) = self.read(select(clock(self.database.engine.dialect)))
        return float(moment)

    def stats(self) -> StoreStats:
        """Count what it holds. It reads every instance and binding, so it is not for every request.

        Raises:
            StoreError: It cannot be opened.
            StoreUnavailable: The database is away.
        """
        self.open()
        with self.database.reading() as connection:
            return rows.store_stats(self._sql.census.count.run(connection, {}).fetchall())

    # Claims

    def claim_new_instance(self, new: NewOperation, attributes: InstanceAttributes) -> bool:
        """Begin a provision, if there is no such instance."""
        return self._happens(
            self._sql.claims.new_instance,
            {**self._begins(new), "i_attributes": self.encryptor.encrypt(attributes)},
        )

    def claim_instance(self, new: NewOperation, instance: InstanceRecord) -> bool:
        """Begin an update or deprovision, if the instance is as it was seen, and no binding of it is busy."""
        return self._happens(
            self._sql.claims.instance, {**self._begins(new), "i_revision": instance.revision}
        )

    def claim_new_binding(
        self, new: NewOperation, instance: InstanceRecord, attributes: BindingAttributes
    ) -> bool:
        """Begin a bind, if the instance is as it was seen, and there is no such binding."""
        return self._happens(
            self._sql.claims.new_binding,
            {
                **self._begins(new),
                "i_revision": instance.revision,
                "b_attributes": self.encryptor.encrypt(attributes),
            },
        )

    def claim_binding(self, new: NewOperation, instance: InstanceRecord, binding: BindingRecord) -> bool:
        """Begin an unbind, if the instance and the binding are as they were seen."""
        return self._happens(
            self._sql.claims.binding,
            {**self._begins(new), "i_revision": instance.revision, "b_revision": binding.revision},
        )

    def _begins(self, new: NewOperation) -> dict[str, Any]:
        return claim_params(new, self._lease.term, self.encryptor)

    # Ends

    def end(self, attempt: Attempt, state: Progress, outcome: Outcome | None, change: Change) -> bool:
        """The attempt is through, and its operation over."""
        ends = self._sql.ends
        how = ends.gone if change.state is State.DELETED else ends.done
        return self._ends(how, attempt, state, outcome, change)

    def abandon(self, attempt: Attempt, outcome: Outcome, change: Change) -> bool:
        """The operation failed, its attempt can still write nothing but :meth:`release`."""
        return self._ends(self._sql.ends.abandoned, attempt, Progress.FAILED, outcome, change)

    def expire(self, attempt: Attempt, outcome: Outcome, change: Change) -> bool:
        """The operation failed, if who ran it was called out and did not say that it lives."""
        return self._ends(self._sql.ends.expired, attempt, Progress.FAILED, outcome, change)

    def withdraw(self, attempt: Attempt, previous: str | None) -> bool:
        """The handler refused: all is as it was before.

        Args:
            attempt: The attempt, the only one.
            previous: The operation that the instance or binding had before.
        """
        how = self._sql.ends.withdrawn[attempt.kind]
        return self._happens(how, {**fence_params(attempt), "o_previous": previous})

    def accept(
        self,
        attempt: Attempt,
        outcome: Outcome,
        request: object,
        result: InstanceResult | BindingResult | None,
    ) -> bool:
        """The work goes on elsewhere, and its handler will be polled."""
        how = self._sql.ends.accepted.on(attempt.binding_key)
        parameters = {
            **fence_params(attempt),
            "o_outcome": self.encryptor.encrypt(outcome),
            "o_request": self.encryptor.encrypt(request),
            **result_params(result, self.encryptor),
        }
        return self._happens(how, parameters)

    def _ends(
        self, how: PerResource, attempt: Attempt, state: Progress, outcome: Outcome | None, change: Change
    ) -> bool:
        parameters = end_params(attempt, state, outcome, change, self.encryptor)
        return self._happens(how.on(attempt.binding_key), parameters)

    # Attempts

    def begin(
        self, operation_id: str, is_served: Callable[[OperationRecord], bool] = lambda _: True
    ) -> OperationRecord | None:
        """Begin the next attempt of a background operation, if it is due and nobody else has it.

        Args:
            operation_id: Which.
            is_served: Can this process do it? If not, it is left to others.
        """
        found = self.find_operation(operation_id)
        if found is None or not is_served(found[0]):
            return None
        seen, now = found
        # By the number that was seen, so that none is ever given twice.
        numbers = {"o_id": seen.id, "o_attempt": seen.attempt, "lease": self._lease.term}
        if not self._happens(self._sql.attempts.begin, numbers):
            return None
        return replace(seen, attempt=seen.attempt + 1, lease_until=now + self._lease.term, updated_at=now)

    def mark_enqueued(self, operation_id: str, ahead: float = 0.0) -> bool:
        """A background operation is put into a queue, from which whoever comes to it begins it.

        It is not due for anybody who looks until it must be taken for lost: one lease, or as long as it has
        waited already, up to twenty.

        Args:
            operation_id: Which.
            ahead: So many seconds before it is due, at most.

        Returns:
            Whether the caller is to do that, and nobody else.
        """
        limits = {"least": self.lease, "longest": self._lease.longest_in_queue, "ahead": ahead}
        return self._happens(self._sql.attempts.hand_on, {"o_id": operation_id, **limits})

    def requeue(self, operation_id: str, after: float) -> bool:
        """It could not be put into the queue; somebody tries that again in so many seconds."""
        return self._happens(self._sql.attempts.take_back, {"o_id": operation_id, "after": after})

    def record_progress(self, attempt: Attempt, outcome: Outcome) -> bool:
        """The attempt got further."""
        return self._happens(
            self._sql.attempts.tell, {**fence_params(attempt), "o_outcome": self.encryptor.encrypt(outcome)}
        )

    def postpone(self, attempt: Attempt, after: float, outcome: Outcome | None) -> bool:
        """The attempt is over, and the next one begins in so many seconds."""
        return self._happens(
            self._sql.attempts.postpone,
            {**fence_params(attempt), "after": after, "o_outcome": encrypt_params(outcome, self.encryptor)},
        )

    def release(self, attempt: Attempt, result: InstanceResult | BindingResult | None) -> bool:
        """An attempt of an operation that was given up is through; what follows can begin.

        Args:
            attempt: The attempt.
            result: What it made all the same, for who deletes it.
        """
        how = self._sql.attempts.leave.on(attempt.binding_key)
        return self._happens(how, {**fence_params(attempt), **result_params(result, self.encryptor)})

    def renew(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        """Say of attempts that they live.

        Returns:
            Those that somebody else has taken over.
        """
        how, term = self._sql.attempts.renew, self._lease.term
        writes = [Write(how, {**fence_params(attempt), "lease": term}) for attempt in attempts]
        renewed = self._commits.run(writes)
        return [attempt for attempt, lives in zip(attempts, renewed, strict=True) if not lives]

    def challenge_lease(self, operation_id: str) -> bool:
        """Give who may run an operation, or the one that it follows, time to say that it lives.

        Where the database was away, or hung, nobody could; so that a lease has ended shows nothing by itself.

        Returns:
            Whether there is somebody to wait for; then it is due again later.
        """
        return self._happens(self._sql.sweeps.call_out, {"o_id": operation_id, "grace": self._lease.grace})

    def retry_failed(
        self, operation: OperationRecord, known: Snapshot, deadline: float, state: State | None
    ) -> bool:
        """Begin a background operation that failed once more, if nothing has happened since."""
        how = self._sql.attempts.repeat.on(operation.binding_key)
        return self._happens(
            how,
            {
                **fence_params(Attempt.of(operation)),
                "o_deadline": deadline,
                "i_revision": known.instance.revision if known.instance else None,
                "i_busy": known.instance.busy_bindings if known.instance else None,
                **state_params(state),
            },
        )

    # Connections

    def _happens(self, transition: Transition, parameters: Parameters) -> bool:
        (happened,) = self._commits.run([Write(transition, parameters)])
        return happened

    def _row(self, query: Query, parameters: Parameters) -> Any:
        with self.database.reading() as connection:
            return query.run(connection, parameters).fetchone()


def _why(error: Exception) -> str:
    cause = error.__cause__ if isinstance(error, StoreUnavailable) else error
    return reason(cause) if isinstance(cause, Exception) else str(error)
