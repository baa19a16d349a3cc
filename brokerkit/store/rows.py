"""Conversion of rows to records. The columns are in the order of `statements.reads`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from ..requests import Operation
from ..stats import Count, InProgress, StoreStats
from . import tables
from .encryption import Encryptor
from .errors import StoreError
from .models import (
    BindingAttributes,
    BindingRecord,
    BindingResult,
    InstanceAttributes,
    InstanceRecord,
    InstanceResult,
    Mode,
    OperationRecord,
    Progress,
    Snapshot,
    State,
)
from .places import binding_place, instance_place
from .statements.stats import BINDINGS, INSTANCES, OPERATIONS

Row: TypeAlias = Sequence[Any]

_INSTANCE_ENDS = len(tables.instances.c)
_LAST_ENDS = _INSTANCE_ENDS + len(tables.operations.c)
_BINDING_ENDS = _LAST_ENDS + len(tables.bindings.c)
_NO_INSTANCE_RESULT, _NO_BINDING_RESULT = InstanceResult(), BindingResult()


def instance_snapshot(row: Row, encryptor: Encryptor) -> Snapshot:
    """Build the snapshot of an instance."""
    return Snapshot(instance(row, encryptor), None, row[-1])


def binding_snapshot(row: Row, encryptor: Encryptor) -> Snapshot:
    """Build the snapshot of an instance and of one of its bindings, if the binding exists."""
    exists = row[_LAST_ENDS] is not None
    record = binding_behind_instance(row, encryptor) if exists else None
    return Snapshot(instance(row, encryptor), record, row[-1])


def binding_behind_instance(row: Row, encryptor: Encryptor) -> BindingRecord:
    """Build a binding with its last operation, from a row that begins with the instance."""
    return binding(row[_LAST_ENDS:_BINDING_ENDS], encryptor, row[_BINDING_ENDS:-1])


def instance(row: Row, encryptor: Encryptor) -> InstanceRecord:
    """Build an instance with its last operation, from the beginning of a row."""
    own, last = row[:_INSTANCE_ENDS], row[_INSTANCE_ENDS:_LAST_ENDS]
    key, revision, state, service_id, plan_id, busy, last_id, attributes, result, created, updated = own
    return InstanceRecord(
        key=key,
        revision=revision,
        state=State(state),
        service_id=service_id,
        plan_id=plan_id,
        busy_bindings=busy,
        attributes=(
            encryptor.decrypt(attributes, InstanceAttributes, instance_place(key, "attributes"))
            if attributes
            else InstanceAttributes(instance_id=key)  # only the key of a deleted instance is kept
        ),
        result=(
            encryptor.decrypt(result, InstanceResult, instance_place(key, "result"))
            if result
            else _NO_INSTANCE_RESULT
        ),
        created_at=created,
        updated_at=updated,
        operation_id=last_id,
        operation=_last_operation(last, key) if last[0] is not None else None,
    )


def binding(row: Row, encryptor: Encryptor, last: Row = ()) -> BindingRecord:
    """Build a binding. Its last operation is None if `last` is empty."""
    instance_key, key, revision, state, last_id, attributes, result, created, updated = row
    return BindingRecord(
        instance_key=instance_key,
        key=key,
        revision=revision,
        state=State(state),
        attributes=encryptor.decrypt(
            attributes, BindingAttributes, binding_place(instance_key, key, "attributes")
        ),
        result=(
            encryptor.decrypt(result, BindingResult, binding_place(instance_key, key, "result"))
            if result
            else _NO_BINDING_RESULT
        ),
        created_at=created,
        updated_at=updated,
        operation_id=last_id,
        operation=_last_operation(last, instance_key, key) if last and last[0] is not None else None,
    )


def _last_operation(row: Row, instance_key: str, binding_key: str | None = None) -> OperationRecord:
    """Build the last operation of an instance or binding.

    Raises:
        StoreError: It is an operation on another instance or binding, so the row was changed.
    """
    last = operation(row)
    if (last.instance_key, last.binding_key) != (instance_key, binding_key):
        place = (
            instance_place(instance_key, "operation")
            if binding_key is None
            else binding_place(instance_key, binding_key, "operation")
        )
        raise StoreError(
            f"the {place} names the operation {last.id}, which does not belong there; find out who changed"
            " the database, and restore the row from a backup"
        )
    return last


def operation(row: Row) -> OperationRecord:
    """Build an operation."""
    return OperationRecord(
        id=row[0],
        instance_key=row[1],
        binding_key=row[2],
        kind=Operation(row[3]),
        mode=Mode(row[4]),
        state=Progress(row[5]),
        service_id=row[6],
        plan_id=row[7],
        attempt=row[8],
        attempts_before=row[9],
        lease_until=row[10],
        wake_at=row[11],
        deadline=row[12],
        follows=row[13],
        created_at=row[14],
        updated_at=row[15],
        request=row[16],
        outcome=row[17],
        due_at=row[18],
        sequence=row[19],
        handovers=row[20],
        followed_by=row[21],
        renewals=row[22],
    )


def operation_now(row: Row) -> tuple[OperationRecord, float]:
    """Build an operation, and return it with the database's current time."""
    return operation(row), row[-1]


def store_stats(counts: Sequence[Row]) -> StoreStats:
    """Build the counts of a store, from the columns in `statements.stats`."""
    by_subject: dict[str, list[Row]] = {INSTANCES: [], BINDINGS: [], OPERATIONS: []}
    for subject, *row in counts:
        by_subject[subject].append(row)
    return StoreStats(
        instances=tuple(map(_count, by_subject[INSTANCES])),
        bindings=tuple(map(_count, by_subject[BINDINGS])),
        operations=tuple(map(_in_progress, by_subject[OPERATIONS])),
    )


def _count(row: Row) -> Count:
    state, service_id, plan_id, count, _ = row
    return Count(offering_id=service_id, plan_id=plan_id, state=state, count=count)


def _in_progress(row: Row) -> InProgress:
    kind, service_id, plan_id, count, oldest = row
    return InProgress(
        operation=Operation(kind),
        offering_id=service_id,
        plan_id=plan_id,
        count=count,
        oldest=max(0.0, oldest),
    )
