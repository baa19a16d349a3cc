"""What only operators ask of a store: what is in it, to try again what failed, and to delete what is old."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, TypeAlias

from msgspec import Struct
from sqlalchemy import (
    ColumnElement,
    Select,
    Table,
    and_,
    delete,
    exists,
    func,
    or_,
    select,
)

from ..catalog.models import Catalog
from ..lifecycle.conversion import resolve_plan
from ..lifecycle.policy import DEFAULT_DEADLINE, ResourceStatus, resource_status
from ..requests import Operation
from ..store import rows
from ..store.errors import StoreError
from ..store.keys import resource_key
from ..store.models import BindingRecord, InstanceRecord, Mode, OperationRecord, Progress, Snapshot, State
from ..store.schema import NEWEST
from ..store.statements.reads import select_bindings, select_instances, select_operations
from ..store.store import Store
from ..store.tables import bindings, instances, operations
from ..store.transitions import Query

_BATCH = 500
"""How many rows are deleted at a time, so that nobody waits long for them."""


InstanceRow: TypeAlias = tuple[InstanceRecord, int]
"""An instance and how many bindings it has, in whatever state."""

BindingRow: TypeAlias = tuple[InstanceRecord, BindingRecord]
"""A binding behind its instance."""


class CommandRefused(Exception):
    """What an operator asked for makes no sense; the message says why."""


class PurgeResult(Struct, frozen=True):
    """How many were deleted, or would be."""

    instances: int
    operations: int


# What is in it: each list in one read, the newest first


def list_instances(store: Store, limit: int, *, deleted: bool = False) -> tuple[list[InstanceRow], bool]:
    """So many instances at most, and whether there are more.

    Args:
        store: The store.
        limit: How many.
        deleted: Also those that were deleted.
    """
    which = [] if deleted else [instances.c.state != State.DELETED.value]
    return _instances(store, limit, *which)


def list_bindings(store: Store, limit: int, instance_key: str | None = None) -> tuple[list[BindingRow], bool]:
    """So many bindings at most, of one instance or of all, and whether there are more."""
    which = [] if instance_key is None else [bindings.c.instance_id == instance_key]
    return _bindings(store, limit, *which)


def list_operations(
    store: Store,
    limit: int,
    *,
    state: Progress | None = None,
    instance_key: str | None = None,
    binding_key: str | None = None,
) -> tuple[list[tuple[OperationRecord, float]], bool]:
    """So many operations at most, each with the time now, and whether there are more.

    Args:
        store: The store.
        limit: How many.
        state: Only those that are in it.
        instance_key: Only those on this instance and its bindings.
        binding_key: Only those on bindings with this id.
    """
    statement = select_operations(store.database.engine.dialect)
    statement = statement.order_by(operations.c.created_at.desc(), operations.c.id.desc())
    if state is not None:
        statement = statement.where(operations.c.state == state.value)
    if instance_key is not None:
        statement = statement.where(operations.c.instance_id == instance_key)
    if binding_key is not None:
        statement = statement.where(operations.c.binding_id == binding_key)
    found, more = _some(store, statement, limit)
    return [rows.operation_now(row) for row in found], more


def find_instance(store: Store, told: str) -> InstanceRow | None:
    """An instance by its id, or by what a list shows for one that is too long to be kept."""
    keys = matching_keys(told)
    found, _ = _instances(store, _BATCH, or_(*(instances.c.id == key for key in keys)))
    by_key = {instance.key: (instance, number) for instance, number in found}
    return next((by_key[key] for key in keys if key in by_key), None)


def find_bindings(store: Store, told: str) -> list[BindingRow]:
    """The bindings with an id, which can be one for each instance."""
    return _bindings(store, _BATCH, or_(*(bindings.c.id == key for key in matching_keys(told))))[0]


def find_deleted_bindings(store: Store, told: str) -> list[tuple[str, str]]:
    """The keys of the instances and bindings with a binding's id that are known by their operations alone."""
    keys = or_(*(operations.c.binding_id == key for key in matching_keys(told)))
    there = exists(
        select(bindings.c.id).where(
            bindings.c.instance_id == operations.c.instance_id, bindings.c.id == operations.c.binding_id
        )
    )
    statement = select(operations.c.instance_id, operations.c.binding_id).where(keys, ~there).distinct()
    return [(row[0], row[1]) for row in _some(store, statement, _BATCH)[0]]


def _instances(store: Store, limit: int, *which: ColumnElement[bool]) -> tuple[list[InstanceRow], bool]:
    its_own = bindings.c.instance_id == instances.c.id
    number = select(func.count()).select_from(bindings).where(its_own).scalar_subquery()
    statement = select_instances(store.database.engine.dialect).add_columns(number).where(*which)
    statement = statement.order_by(instances.c.created_at.desc(), instances.c.id.desc())
    found, more = _some(store, statement, limit)
    return [(rows.instance(row, store.encryptor), row[-1]) for row in found], more


def _bindings(store: Store, limit: int, *which: ColumnElement[bool]) -> tuple[list[BindingRow], bool]:
    statement = select_bindings(store.database.engine.dialect).where(*which)
    statement = statement.order_by(bindings.c.created_at.desc(), bindings.c.instance_id, bindings.c.id)
    found, more = _some(store, statement, limit)
    vault = store.encryptor
    return [(rows.instance(row, vault), rows.binding_behind_instance(row, vault)) for row in found], more


def _some(store: Store, statement: Select[Any], limit: int) -> tuple[list[Any], bool]:
    found = store.read(statement.limit(limit + 1))
    return found[:limit], len(found) > limit


def matching_keys(told: str) -> Collection[str]:
    """What may stand for an id that a list shows: with signs escaped, or too long to be kept."""
    meant = _ESCAPED.sub(lambda match: chr(int(match[1][1:], 16)), told)
    return dict.fromkeys((resource_key(told), resource_key(meant), told.replace("\0", "")))


_ESCAPED = re.compile(r"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U000[0-9a-f]{5}|U0010[0-9a-f]{4})")


# Once more


def retry(store: Store, catalog: Catalog, operation_id: str) -> OperationRecord:
    """Begin a background operation that failed once more.

    Returns:
        The operation. Whichever process of the broker looks next takes it up.

    Raises:
        Refused: There is no such operation, or nothing to try again.
    """
    found = store.find_operation(operation_id)
    if found is None:
        raise CommandRefused("there is no such operation")
    operation, now = found
    known = store.find_by_key(operation.instance_key, operation.binding_key)
    reason = retry_obstacle(operation, known, now)
    if reason is not None:
        raise CommandRefused(reason)
    _, plan = resolve_plan(catalog, operation.service_id, operation.plan_id)
    deadline = float(plan.maximum_polling_duration or DEFAULT_DEADLINE)
    makes = operation.kind in (Operation.PROVISION, Operation.BIND)
    if not store.retry_failed(operation, known, deadline, State.CREATING if makes else None):
        raise CommandRefused("something else happened to it at this moment; look at it again")
    again = store.find_operation(operation_id)
    return again[0] if again else operation


def retry_obstacle(operation: OperationRecord, known: Snapshot, now: float) -> str | None:
    """Why an operation cannot be tried again; None if it can."""
    of_binding = operation.binding_key is not None
    what = "binding" if of_binding else "instance"
    subject: InstanceRecord | BindingRecord | None = known.binding if of_binding else known.instance
    instance = known.instance
    if operation.state is not Progress.FAILED:
        is_over = operation.state is Progress.SUCCEEDED
        return "it succeeded" if is_over else "it is in progress still"
    if operation.mode is not Mode.BACKGROUND:
        return (
            "no handler worked on it in the background; have the platform ask for it again, or delete what"
            " it left"
        )
    if instance is None or subject is None or resource_status(subject) is ResourceStatus.ABSENT:
        return f"its {what} was deleted"
    if subject.operation is None or subject.operation.id != operation.id:
        last = f", {subject.operation.kind} ({subject.operation.id})" if subject.operation else ""
        return f"its {what} has had another operation since{last}"
    if operation.is_running_at(now):
        return "its last attempt still runs; wait until that is through"
    if not of_binding:
        busy = "a binding of its instance is being made or deleted; wait until that is through"
        return busy if instance.busy_bindings else None
    standing_now = resource_status(instance)
    may = (
        (ResourceStatus.READY,)
        if operation.kind is Operation.BIND
        else (ResourceStatus.READY, ResourceStatus.FAILED)
    )
    if standing_now not in may:
        return f"its instance is {standing_now.value}"
    if instance.operation is not None and instance.operation.is_running_at(now):
        return "an attempt on its instance still runs; wait until that is through"
    return None


# What is old


def purge(store: Store, older_than: float, *, dry_run: bool = False) -> PurgeResult:
    """Delete the instances that were deleted, and the operations that ended, so many seconds ago.

    What is in progress stays, and so does what somebody may still work on, the last operation of whatever
    is there, and all operations of an instance of which one is in progress.
    """
    moment = store.now()
    old = _old_instances(moment - older_than, moment)
    over = _old_operations(moment - older_than, moment)
    if dry_run:
        return PurgeResult(_count(store, instances, old), _count(store, operations, over))
    return PurgeResult(_delete(store, instances, old), _delete(store, operations, over))


def _old_instances(before: float, now: float) -> ColumnElement[bool]:
    return and_(
        instances.c.state == State.DELETED.value,
        instances.c.updated_at < before,
        ~_is_busy(instances.c.id, now),
    )


def _old_operations(before: float, now: float) -> ColumnElement[bool]:
    last_of_instance = exists(
        select(instances.c.id).where(
            instances.c.id == operations.c.instance_id,
            instances.c.operation == operations.c.id,
            or_(instances.c.state != State.DELETED.value, instances.c.updated_at >= before),
        )
    )
    last_of_binding = exists(
        select(bindings.c.id).where(
            bindings.c.instance_id == operations.c.instance_id,
            bindings.c.id == operations.c.binding_id,
            bindings.c.operation == operations.c.id,
        )
    )
    return and_(
        operations.c.state != Progress.IN_PROGRESS.value,
        operations.c.updated_at < before,
        or_(operations.c.lease_until.is_(None), operations.c.lease_until < now),
        ~last_of_instance,
        ~last_of_binding,
        ~_is_busy(operations.c.instance_id, now),  # one that is withdrawn leaves the one before it the last
    )


def _is_busy(instance_key: ColumnElement[str], now: float) -> ColumnElement[bool]:
    busy = operations.alias("busy")
    return exists(
        select(busy.c.id).where(
            busy.c.instance_id == instance_key,
            or_(busy.c.state == Progress.IN_PROGRESS.value, busy.c.lease_until >= now),
        )
    )


def _count(store: Store, table: Table, which: ColumnElement[bool]) -> int:
    return int(store.read(select(func.count()).select_from(table).where(which))[0][0])


def _delete(store: Store, table: Table, which: ColumnElement[bool]) -> int:
    # The condition stands twice: a row may be another one by the time that it is locked.
    some = select(table.c.id).where(which).limit(_BATCH)
    statement = delete(table).where(table.c.id.in_(some), which)
    query = Query(store.database.engine.dialect, statement)
    deleted = 0
    while True:
        with store.database.writing() as connection:
            number = query.run(connection, {}).rowcount
        deleted += number
        if number < _BATCH:
            return deleted


# Another version


def upgrade(store: Store) -> tuple[str | None, str]:
    """As `Store.upgrade`, and refuse a version that nobody knows.

    Raises:
        StoreError: The database cannot be reached or changed, or its version is later than this package's.
    """
    from alembic.util import CommandError

    try:
        before, after = store.upgrade()
    except CommandError as error:
        raise StoreError(f"{store!r} cannot be upgraded: {error}") from error
    if after != NEWEST:
        store.open()  # says why not
    return before, after
