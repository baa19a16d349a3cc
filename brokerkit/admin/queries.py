"""Queries and changes that only operators need: lists, retries, purges and schema upgrades."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any, TypeAlias, TypeVar

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
from ..store.models import BindingRecord, InstanceRecord, Mode, OperationRecord, Progress, Snapshot, State
from ..store.resource_keys import resource_key
from ..store.schema import NEWEST
from ..store.statements.reads import select_bindings, select_instances, select_operations
from ..store.store import Store
from ..store.tables import bindings, instances, operations
from ..store.transitions import Query

_BATCH = 500
"""The number of rows that are deleted in one transaction, which keeps locks short."""


InstanceRow: TypeAlias = tuple[InstanceRecord, int]
"""An instance and the number of its bindings in any state."""

BindingRow: TypeAlias = tuple[InstanceRecord, BindingRecord]
"""An instance and one of its bindings."""

_T = TypeVar("_T")
Readable: TypeAlias = _T | StoreError
"""A row of a list, or the error that names an unreadable row."""


class CommandRefused(Exception):
    """A command that cannot be executed. The message is the reason."""


class PurgeResult(Struct, frozen=True):
    """The number of deleted rows. In a dry run, the number that would be deleted."""

    instances: int
    operations: int


# Lists, each from one read, the newest rows first


def list_instances(
    store: Store, limit: int, *, deleted: bool = False
) -> tuple[list[Readable[InstanceRow]], bool]:
    """Return instances, and whether there are more.

    Args:
        store: The store.
        limit: The maximum number of instances.
        deleted: Whether to include deleted instances. Defaults to False.
    """
    conditions = [] if deleted else [instances.c.state != State.DELETED.value]
    return _instances(store, limit, *conditions)


def list_bindings(
    store: Store, limit: int, instance_key: str | None = None
) -> tuple[list[Readable[BindingRow]], bool]:
    """Return bindings of one instance or of all, and whether there are more.

    Args:
        store: The store.
        limit: The maximum number of bindings.
        instance_key: The key of the instance. Defaults to all instances.
    """
    conditions = [] if instance_key is None else [bindings.c.instance_id == instance_key]
    return _bindings(store, limit, *conditions)


def list_operations(
    store: Store,
    limit: int,
    *,
    state: Progress | None = None,
    instance_key: str | None = None,
    binding_key: str | None = None,
) -> tuple[list[tuple[OperationRecord, float]], bool]:
    """Return operations, each with the current time, and whether there are more.

    Args:
        store: The store.
        limit: The maximum number of operations.
        state: The state to filter by. Defaults to all states.
        instance_key: The key of an instance. Operations on its bindings are included. Defaults to all
            instances.
        binding_key: The key of a binding. Defaults to all bindings.
    """
    statement = select_operations(store.database.engine.dialect)
    statement = statement.order_by(operations.c.created_at.desc(), operations.c.id.desc())
    if state is not None:
        statement = statement.where(operations.c.state == state.value)
    if instance_key is not None:
        statement = statement.where(operations.c.instance_id == instance_key)
    if binding_key is not None:
        statement = statement.where(operations.c.binding_id == binding_key)
    result, is_truncated = _select(store, statement, limit)
    return [rows.operation_now(row) for row in result], is_truncated


def find_instance(store: Store, resource_id: str) -> InstanceRow | None:
    """Return an instance by its id, or by the shortened or escaped id that a list shows."""
    keys = matching_keys(resource_id)
    result, _ = _instances(store, _BATCH, or_(*(instances.c.id == key for key in keys)))
    by_key = {instance.key: (instance, count) for instance, count in map(_require_readable, result)}
    return next((by_key[key] for key in keys if key in by_key), None)


def find_bindings(store: Store, resource_id: str) -> list[BindingRow]:
    """Return the bindings with an id. Several instances can have a binding with the same id."""
    result, _ = _bindings(store, _BATCH, or_(*(bindings.c.id == key for key in matching_keys(resource_id))))
    return list(map(_require_readable, result))


def find_deleted_bindings(store: Store, resource_id: str) -> list[tuple[str, str]]:
    """Return the instance keys and binding keys of deleted bindings, from their operations."""
    keys = or_(*(operations.c.binding_id == key for key in matching_keys(resource_id)))
    has_binding = exists(
        select(bindings.c.id).where(
            bindings.c.instance_id == operations.c.instance_id, bindings.c.id == operations.c.binding_id
        )
    )
    statement = select(operations.c.instance_id, operations.c.binding_id).where(keys, ~has_binding).distinct()
    return [(row[0], row[1]) for row in _select(store, statement, _BATCH)[0]]


def _instances(
    store: Store, limit: int, *conditions: ColumnElement[bool]
) -> tuple[list[Readable[InstanceRow]], bool]:
    of_instance = bindings.c.instance_id == instances.c.id
    count = select(func.count()).select_from(bindings).where(of_instance).scalar_subquery()
    statement = select_instances(store.database.engine.dialect).add_columns(count).where(*conditions)
    statement = statement.order_by(instances.c.created_at.desc(), instances.c.id.desc())
    result, is_truncated = _select(store, statement, limit)

    def read(row: rows.Row) -> InstanceRow:
        return rows.instance(row, store.encryptor), row[-1]

    return [_or_error(read, row) for row in result], is_truncated


def _bindings(
    store: Store, limit: int, *conditions: ColumnElement[bool]
) -> tuple[list[Readable[BindingRow]], bool]:
    statement = select_bindings(store.database.engine.dialect).where(*conditions)
    statement = statement.order_by(bindings.c.created_at.desc(), bindings.c.instance_id, bindings.c.id)
    result, is_truncated = _select(store, statement, limit)

    def read(row: rows.Row) -> BindingRow:
        return rows.instance(row, store.encryptor), rows.binding_behind_instance(row, store.encryptor)

    return [_or_error(read, row) for row in result], is_truncated


def _or_error(read: Callable[[rows.Row], _T], row: rows.Row) -> Readable[_T]:
    try:
        return read(row)
    except StoreError as error:
        return error


def _require_readable(row: Readable[_T]) -> _T:
    if isinstance(row, StoreError):
        raise row
    return row


def _select(store: Store, statement: Select[Any], limit: int) -> tuple[list[Any], bool]:
    result = store.read(statement.limit(limit + 1))
    return result[:limit], len(result) > limit


def matching_keys(resource_id: str) -> Collection[str]:
    """Return the keys that an id from a list can represent: the plain, unescaped or shortened id."""
    unescaped = _ESCAPED.sub(lambda match: chr(int(match[1][1:], 16)), resource_id)
    return dict.fromkeys((resource_key(resource_id), resource_key(unescaped), resource_id.replace("\0", "")))


_ESCAPED = re.compile(r"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U000[0-9a-f]{5}|U0010[0-9a-f]{4})")


# Retries


def retry_operation(store: Store, catalog: Catalog, operation_id: str) -> OperationRecord:
    """Retry a failed background operation.

    Returns:
        The operation. A running process of the broker starts it.

    Raises:
        CommandRefused: The operation does not exist, or cannot be retried.
    """
    result = store.find_operation(operation_id)
    if result is None:
        raise CommandRefused("there is no such operation")
    operation, _ = result
    snapshot = store.find_by_key(operation.instance_key, operation.binding_key)
    reason = retry_obstacle(operation, snapshot)
    if reason is not None:
        raise CommandRefused(reason)
    _, plan = resolve_plan(catalog, operation.service_id, operation.plan_id)
    deadline = float(plan.maximum_polling_duration or DEFAULT_DEADLINE)
    is_creation = operation.kind in (Operation.PROVISION, Operation.BIND)
    if not store.retry_failed(operation, snapshot, deadline, State.CREATING if is_creation else None):
        raise CommandRefused("it was changed concurrently; check it with flask broker show, and try again")
    result = store.find_operation(operation_id)
    return result[0] if result else operation


def retry_obstacle(operation: OperationRecord, snapshot: Snapshot) -> str | None:
    """Return the reason why an operation cannot be retried, or None if a retry is possible."""
    of_binding = operation.binding_key is not None
    resource = "binding" if of_binding else "instance"
    subject: InstanceRecord | BindingRecord | None = snapshot.binding if of_binding else snapshot.instance
    instance = snapshot.instance
    if operation.state is not Progress.FAILED:
        has_succeeded = operation.state is Progress.SUCCEEDED
        return "it succeeded" if has_succeeded else "it is still in progress"
    if operation.mode is not Mode.BACKGROUND:
        return (
            "it did not run in a background handler; let the platform repeat the request, or delete the"
            " resource"
        )
    if instance is None or subject is None or resource_status(subject) is ResourceStatus.ABSENT:
        return f"its {resource} was deleted"
    if subject.operation is None or subject.operation.id != operation.id:
        last = f", {subject.operation.kind} ({subject.operation.id})" if subject.operation else ""
        return f"its {resource} has had another operation since{last}"
    if operation.may_be_running:
        return _RUNNING.format("its last attempt")
    if not of_binding:
        busy = "a binding of its instance is being created or deleted; wait until that has finished"
        return busy if instance.busy_bindings else None
    status = resource_status(instance)
    allowed = (
        (ResourceStatus.READY,)
        if operation.kind is Operation.BIND
        else (ResourceStatus.READY, ResourceStatus.FAILED)
    )
    if status not in allowed:
        return f"its instance is {status.value}"
    if instance.operation is not None and instance.operation.may_be_running:
        return _RUNNING.format("an attempt on its instance")
    return None


_RUNNING = (
    "{} may still be running; wait until it has finished. If its process is dead, a running process of the"
    " broker notices that within a lease"
)


# Purges


def purge_records(store: Store, older_than: float, *, dry_run: bool = False) -> PurgeResult:
    """Delete the old records of deleted instances and of finished operations.

    Operations are kept if they are in progress, have a running attempt, or are the last operation of an
    existing resource. All operations of an instance are kept while one of them is in progress.

    Args:
        store: The store.
        older_than: The minimum age in seconds, since the deletion or the end.
        dry_run: Whether to only count the records. Defaults to False.
    """
    now = store.now()
    old = _old_instances(now - older_than)
    ended = _old_operations(now - older_than)
    if dry_run:
        return PurgeResult(_count(store, instances, old), _count(store, operations, ended))
    return PurgeResult(_delete(store, instances, old), _delete(store, operations, ended))


def _old_instances(before: float) -> ColumnElement[bool]:
    return and_(
        instances.c.state == State.DELETED.value,
        instances.c.updated_at < before,
        ~_is_busy(instances.c.id),
    )


def _old_operations(before: float) -> ColumnElement[bool]:
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
        operations.c.lease_until.is_(None),
        ~last_of_instance,
        ~last_of_binding,
        # If the handler refuses a running operation, its predecessor becomes the last operation again.
        ~_is_busy(operations.c.instance_id),
    )


def _is_busy(instance_key: ColumnElement[str]) -> ColumnElement[bool]:
    busy = operations.alias("busy")
    return exists(
        select(busy.c.id).where(
            busy.c.instance_id == instance_key,
            or_(busy.c.state == Progress.IN_PROGRESS.value, busy.c.lease_until.is_not(None)),
        )
    )


def _count(store: Store, table: Table, condition: ColumnElement[bool]) -> int:
    return int(store.read(select(func.count()).select_from(table).where(condition))[0][0])


def _delete(store: Store, table: Table, condition: ColumnElement[bool]) -> int:
    # Repeat the condition, because a row can change before it is locked.
    batch = select(table.c.id).where(condition).limit(_BATCH)
    statement = delete(table).where(table.c.id.in_(batch), condition)
    query = Query(store.database.engine.dialect, statement)
    deleted = 0
    while True:
        with store.database.writing() as connection:
            count = query.run(connection, {}).rowcount
        deleted += count
        if count < _BATCH:
            return deleted


# Upgrades


def upgrade_schema(store: Store) -> tuple[str | None, str]:
    """Upgrade a store as :meth:`Store.upgrade` does, and reject an unknown version.

    Raises:
        StoreError: The database cannot be reached or changed, or its version is later than this package's.
    """
    from alembic.util import CommandError

    try:
        before, after = store.upgrade()
    except CommandError as error:
        raise StoreError(f"{store!r} cannot be upgraded: {error}") from error
    if after != NEWEST:
        store.open()  # raises the error for an unknown version
    return before, after
