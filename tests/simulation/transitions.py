"""Transitions of a store, and the situations in which two of them can run concurrently.

A situation is a content of the store that transitions of brokers lead to. An action is one transition with
the records that its caller read in the situation, as a request, an attempt or a scheduler reads them.
"""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

from sqlalchemy import select

from brokerkit.lifecycle.policy import Decision, ResourceStatus, decide, resource_status
from brokerkit.requests import Operation
from brokerkit.results import Binding
from brokerkit.store import Store
from brokerkit.store.models import (
    Attempt,
    BindingAttributes,
    BindingResult,
    Change,
    InstanceAttributes,
    InstanceResult,
    Mode,
    NewOperation,
    OperationRecord,
    Outcome,
    Progress,
    Snapshot,
    State,
)
from brokerkit.store.places import Place, binding_place, instance_place, operation_place
from brokerkit.store.tables import bindings, instances, operations

Action = Callable[[Store], bool]
"""A transition, which returns whether it was applied."""

Content = tuple[tuple[tuple[str, str], ...], ...]
"""All rows of a store, comparable: decrypted, and with times in relation to the current time."""

DEADLINE = 600.0
_TICK = 10
"""Times are compared by multiples of this number of seconds. All durations here are far from its half."""

_EXPIRED = 40.0
"""The seconds after which a lease has expired."""

_TIMES = ("lease_until", "wake_at", "deadline", "due_at", "created_at", "updated_at")
_TABLES = (instances.name, bindings.name, operations.name)
_RESTORE = "; ".join(
    [
        *(f"DELETE FROM {name}" for name in reversed(_TABLES)),
        *(f"INSERT INTO {name} OVERRIDING SYSTEM VALUE TABLE saved_{name}" for name in _TABLES),
    ]
)
_NOW = "extract(epoch FROM clock_timestamp())::double precision"
_FOREIGN = "other"
"""The id of the binding that no operation of a situation is about."""


class Scene:
    """A store with one instance, whose content is built by transitions.

    Args:
        store: The store, which must be open.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    def clear(self) -> None:
        """Empty the store."""
        with self.store.database.engine.connect() as connection:
            for table in (bindings, instances, operations):
                connection.execute(table.delete())

    def pass_time(self, seconds: float) -> None:
        """Move all times of the store into the past."""
        with self.store.database.engine.connect() as connection:
            for table in (bindings, instances, operations):
                shifted = {name: table.c[name] - seconds for name in _TIMES if name in table.c}
                connection.execute(table.update().values(shifted))

    def snapshot(self, binding: str | None = None) -> Snapshot:
        """Read the instance, and one of its bindings."""
        return self.store.find("i", binding)

    def operation(self, operation_id: str) -> OperationRecord:
        """Read an operation."""
        result = self.store.find_operation(operation_id)
        assert result is not None, "the situation has the operation"
        return result[0]

    def claim(
        self,
        operation_id: str,
        kind: Operation,
        mode: Mode,
        binding: str | None = None,
        *,
        follows: str | None = None,
    ) -> None:
        """Claim an operation, which must be possible."""
        assert claim(self.snapshot(binding), operation_id, kind, mode, binding, follows)(self.store)

    def begin(self, operation_id: str) -> None:
        """Begin an attempt."""
        assert self.store.begin(operation_id) is not None

    def end(self, operation_id: str, state: Progress = Progress.SUCCEEDED) -> None:
        """End an operation with its attempt."""
        assert end(self.operation(operation_id), state)(self.store)

    def abandon(self, operation_id: str) -> None:
        """Mark an operation as failed without its attempt."""
        assert abandon(self.operation(operation_id))(self.store)

    def save(self) -> None:
        """Save the content, for :meth:`restore`."""
        with self.store.database.engine.connect() as connection:
            for name in _TABLES:
                connection.exec_driver_sql(f"DROP TABLE IF EXISTS saved_{name}")
                connection.exec_driver_sql(f"CREATE TABLE saved_{name} AS TABLE {name}")

    def restore(self) -> None:
        """Restore the saved content."""
        with self.store.database.writing() as connection:
            connection.cursor().execute(_RESTORE)

    def content(self) -> Content:
        """Return all rows, comparable."""
        content = []
        with self.store.database.reading() as connection:
            cursor = connection.cursor()
            for table in _TABLES:
                cursor.execute(f"SELECT {_NOW} AS now, * FROM {table} ORDER BY id")
                names = [column[0] for column in cursor.description or ()]
                content += [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        return tuple(self._comparable(values) for values in content)

    def _comparable(self, values: dict[str, Any]) -> tuple[tuple[str, str], ...]:
        """Return a row with decrypted values and with times in relation to the current time."""
        now = values.pop("now")
        for name in _TIMES:
            if values.get(name) is not None:
                values[name] = _TICK * round((values[name] - now) / _TICK)
        for name in ("sequence", "request"):
            values.pop(name, None)
        for name in ("outcome", "attributes", "result"):
            if values.get(name):
                values[name] = self.store.encryptor.decrypt(values[name], dict, _place(values, name))
        return tuple((name, repr(value)) for name, value in values.items())


def _place(values: Mapping[str, Any], column: Any) -> Place:
    if "kind" in values:
        return operation_place(values["id"], values["instance_id"], values["binding_id"], column)
    if "instance_id" in values:
        return binding_place(values["instance_id"], values["id"], column)
    return instance_place(values["id"], column)


def faults(content: Content) -> list[str]:
    """Return descriptions of what no store may contain."""
    rows = [{name: literal_eval(value) for name, value in row} for row in content]
    of_operations = [row for row in rows if "kind" in row]
    running = [row for row in of_operations if row["lease_until"] is not None]
    overlaps = [
        f"attempts of {one['id']!r} and {other['id']!r} overlap"
        for one, other in combinations(running, 2)
        if None in (one["binding_id"], other["binding_id"]) or one["binding_id"] == other["binding_id"]
    ]
    expected = sum(
        row["binding_id"] is not None and (row["state"] == "in progress" or row["lease_until"] is not None)
        for row in of_operations
    )
    return overlaps + [
        f"busy_bindings is {row['busy_bindings']}, not {expected}"
        for row in rows
        if row.get("busy_bindings", expected) != expected
    ]


# Actions


def claim(
    snapshot: Snapshot,
    operation_id: str,
    kind: Operation,
    mode: Mode,
    binding: str | None = None,
    follows: str | None = None,
) -> Action:
    """Return the claim of an operation by a request that read a snapshot."""
    new = NewOperation(
        id=operation_id,
        kind=kind,
        mode=mode,
        instance_id="i",
        binding_id=binding,
        service_id="offering",
        plan_id="plan",
        deadline=DEADLINE,
        request={},
        follows=follows,
    )

    def apply(store: Store) -> bool:
        if kind is Operation.PROVISION:
            return store.claim_new_instance(new, InstanceAttributes(instance_id="i"))
        if snapshot.instance is None:
            return False
        if binding is None:
            return store.claim_instance(new, snapshot.instance)
        if kind is Operation.BIND:
            attributes = BindingAttributes(binding_id=binding, plan_id="plan")
            return store.claim_new_binding(new, snapshot.instance, attributes)
        return snapshot.binding is not None and store.claim_binding(new, snapshot.instance, snapshot.binding)

    return apply


def end(operation: OperationRecord, state: Progress) -> Action:
    """Return the end of an attempt."""
    attempt, has_failed = Attempt.of(operation), state is Progress.FAILED
    if operation.kind in (Operation.PROVISION, Operation.BIND):
        new_state = State.FAILED if has_failed else State.READY
    elif operation.kind is Operation.UPDATE or has_failed:
        new_state = State.READY
    else:
        new_state = State.DELETED
    result = None if has_failed or new_state is State.DELETED else _result(operation, "ended")
    return lambda store: store.end(attempt, state, Outcome(), Change(state=new_state, result=result))


def abandon(operation: OperationRecord) -> Action:
    """Return the end of an operation without its attempt."""
    change = _failure(operation)
    return lambda store: store.abandon(operation, Outcome(description="late"), change)


def _failure(operation: OperationRecord) -> Change:
    is_creation = operation.kind in (Operation.PROVISION, Operation.BIND)
    return Change(state=State.FAILED if is_creation else None)


def _result(operation: OperationRecord, token: str) -> InstanceResult | BindingResult:
    if operation.binding_key is None:
        return InstanceResult(data={"token": token})
    return BindingResult(binding=Binding(credentials={"token": token}), data={"token": token})


def actions(scene: Scene, prefix: str = "") -> Mapping[str, Action]:
    """Return all actions of brokers that have just read a scene, by name.

    Args:
        scene: The scene.
        prefix: The beginning of the ids of new operations.
    """
    by_name = dict(_claims(scene, prefix))
    for (operation_id,) in scene.store.read(select(operations.c.id).order_by(operations.c.id)):
        operation = scene.operation(operation_id)
        for name, action in _of_operation(scene, operation).items():
            by_name[f"{name} {operation_id}"] = action
    by_name["wake misdated"] = lambda store: store.wake_misdated()
    return by_name


def _claims(scene: Scene, prefix: str) -> Iterator[tuple[str, Action]]:
    """Yield the claims of requests that the rules table allows."""
    for kind in Operation:
        if kind not in _BEFORE:
            continue
        for binding in ("a", _FOREIGN) if kind in (Operation.BIND, Operation.UNBIND) else (None,):
            snapshot = scene.snapshot(binding)
            # A provision is claimed without a snapshot.
            if kind is not Operation.PROVISION and decide(kind, snapshot) is not Decision.CALL_HANDLER:
                continue
            subject = snapshot.instance if binding is None else snapshot.binding
            last = subject.operation if subject is not None else None
            name = f"claim {kind.value}" if binding is None else f"claim {kind.value} of {binding}"
            for mode in (Mode.INLINE, Mode.BACKGROUND):
                full_name = f"{name}, {mode.name.lower()}"
                yield full_name, claim(snapshot, prefix + full_name, kind, mode, binding)
            if last is not None and last.may_be_running and kind in (Operation.DEPROVISION, Operation.UNBIND):
                full_name = f"{name}, as a follower"
                yield full_name, claim(snapshot, prefix + full_name, kind, Mode.BACKGROUND, binding, last.id)
    snapshot = scene.snapshot("a")
    predecessor = snapshot.binding
    if (
        predecessor is not None
        and resource_status(predecessor) is ResourceStatus.READY
        and decide(Operation.BIND, scene.snapshot("successor")) is Decision.CALL_HANDLER
    ):
        yield "claim bind of a successor", _claim_successor(snapshot, predecessor, prefix)


def _claim_successor(snapshot: Snapshot, predecessor: Any, prefix: str) -> Action:
    new = NewOperation(
        id=f"{prefix}-successor",
        kind=Operation.BIND,
        mode=Mode.INLINE,
        instance_id="i",
        binding_id="successor",
        service_id="offering",
        plan_id="plan",
        deadline=DEADLINE,
        request={},
    )
    attributes = BindingAttributes(binding_id="successor", plan_id="plan", predecessor="a")
    instance = snapshot.instance
    assert instance is not None, "the caller checked it"
    return lambda store: store.claim_new_binding(new, instance, attributes, predecessor)


def _of_operation(scene: Scene, operation: OperationRecord) -> Mapping[str, Action]:
    attempt = Attempt.of(operation)
    own = scene.store.find_by_key(operation.instance_key, operation.binding_key)
    late, progress = Outcome(description="late"), Outcome(description="half")
    created = State.CREATING if operation.kind in (Operation.PROVISION, Operation.BIND) else None
    by_name: dict[str, Action] = {
        "begin": lambda store: store.begin(operation.id) is not None,
        "enqueue": lambda store: store.mark_enqueued(operation.id),
        "requeue": lambda store: store.requeue(operation.id, 70.0),
        "retry": lambda store: store.retry_failed(operation, own, DEADLINE, created),
    }
    if (
        operation.attempt > 0 or operation.follows is None
    ):  # an operation that waits for another is never late
        by_name["abandon"] = abandon(operation)
    if operation.attempt == 0:
        return by_name
    return by_name | {
        "succeed": end(operation, Progress.SUCCEEDED),
        "fail": end(operation, Progress.FAILED),
        "expire": lambda store: store.expire(operation, late, _failure(operation)),
        "withdraw": lambda store: operation.attempt == 1 and store.withdraw(attempt, None),
        "accept": lambda store: store.accept(
            attempt, Outcome(accepted="outside"), {}, _result(operation, "accepted")
        ),
        "record progress": lambda store: store.record_progress(attempt, progress),
        "record poll": lambda store: store.record_poll(attempt, progress),
        "postpone": lambda store: store.postpone(attempt, 50.0, None),
        "release": lambda store: store.release(attempt, _result(operation, "released")),
        "renew": lambda store: not store.renew([attempt]),
        "challenge": lambda store: bool(store.challenge_leases([operation])),
        "reclaim": lambda store: bool(store.reclaim([operation])),
        "release lost": lambda store: store.release_lost(operation),
    }


# Situations

_BACKGROUND, _INLINE = Mode.BACKGROUND, Mode.INLINE


class Situation(NamedTuple):
    """A content of the store.

    Args:
        name: The name.
        build: Builds the content in an empty store.
    """

    name: str
    build: Callable[[Scene], object]


def _absent(scene: Scene) -> None:
    pass


def _ready(scene: Scene) -> None:
    scene.claim("o1", Operation.PROVISION, _INLINE)
    scene.end("o1")


def _deleted(scene: Scene) -> None:
    _ready(scene)
    scene.claim("o2", Operation.DEPROVISION, _INLINE)
    scene.end("o2")


def _bound(scene: Scene) -> None:
    _ready(scene)
    scene.claim("o2", Operation.BIND, _INLINE, "a")
    scene.end("o2")


_BEFORE: dict[Operation, tuple[Callable[[Scene], None], str | None]] = {
    Operation.PROVISION: (_absent, None),
    Operation.UPDATE: (_ready, None),
    Operation.DEPROVISION: (_ready, None),
    Operation.BIND: (_ready, "a"),
    Operation.UNBIND: (_bound, "a"),
}


def _work(kind: Operation, phase: str, scene: Scene) -> None:
    """Bring an operation of a kind into a phase of its work."""
    before, binding = _BEFORE[kind]
    before(scene)
    mode = _INLINE if phase.startswith("inline") else _BACKGROUND
    scene.claim("work", kind, mode, binding)
    deletion = Operation.DEPROVISION if binding is None else Operation.UNBIND
    store = scene.store
    if phase == "accepted":
        attempt = scene.store.begin("work")
        assert attempt is not None
        assert store.accept(Attempt.of(attempt), Outcome(accepted="outside"), {}, None)
    elif phase == "enqueued":
        assert store.mark_enqueued("work")
    elif phase == "postponed":
        scene.begin("work")
        assert store.postpone(Attempt.of(scene.operation("work")), 0.0, None)
    elif mode is _BACKGROUND and phase != "queued":
        scene.begin("work")
    if phase == "failed":
        scene.end("work", Progress.FAILED)
    if "abandoned" in phase:
        scene.abandon("work")
    if "followed" in phase:
        scene.claim("follower", deletion, _BACKGROUND, binding, follows="work")
    if "late" in phase:
        scene.pass_time(DEADLINE + 10)
        store.renew([Attempt.of(scene.operation("work"))])
    if "expired" in phase or "challenged" in phase:
        scene.pass_time(_EXPIRED)
    if "challenged" in phase:
        assert store.challenge_leases([scene.operation("work")])
        scene.pass_time(store.grace + 10)


PHASES = (
    "inline",
    "inline, expired",
    "inline, challenged",
    "queued",
    "enqueued",
    "postponed",
    "running",
    "running, late",
    "running, expired",
    "running, challenged",
    "accepted",
    "failed",
    "abandoned",
    "abandoned, challenged",
    "abandoned, followed",
    "abandoned, followed, challenged",
    "inline, abandoned",
    "inline, abandoned, followed",
)
"""What an operation can be in the middle of. A following operation is a deletion of the same resource."""


SITUATIONS = (
    Situation("absent", _absent),
    Situation("ready", _ready),
    Situation("deleted", _deleted),
    Situation("bound", _bound),
    *(
        Situation(f"{kind.value}: {phase}", partial(_work, kind, phase))
        for kind in _BEFORE
        for phase in PHASES
    ),
)
"""All situations: an instance or binding at rest, and each operation in each phase of its work."""


def keys_of_rows(scene: Scene) -> list[tuple[str, Mapping[str, str]]]:
    """Return the table and the key of each row that a transition may lock."""
    store = scene.store
    rows: list[tuple[str, Mapping[str, str]]] = [
        ("brokerkit_operations", {"id": row[0]}) for row in store.read(select(operations.c.id))
    ]
    rows += [("brokerkit_instances", {"id": row[0]}) for row in store.read(select(instances.c.id))]
    rows += [
        ("brokerkit_bindings", {"instance_id": row[0], "id": row[1]})
        for row in store.read(select(bindings.c.instance_id, bindings.c.id))
    ]
    return rows
