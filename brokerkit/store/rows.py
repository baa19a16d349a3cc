"""Rows become records. Their columns are in the order of `statements.reads`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from ..requests import Operation
from ..stats import Count, InProgress, StoreStats
from . import tables
from .encryption import Encryptor
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
from .statements.stats import BINDINGS, INSTANCES, OPERATIONS

Row: TypeAlias = Sequence[Any]

_INSTANCE_ENDS = len(tables.instances.c)
_LAST_ENDS = _INSTANCE_ENDS + len(tables.operations.c)
_BINDING_ENDS = _LAST_ENDS + len(tables.bindings.c)
_NO_INSTANCE_RESULT, _NO_BINDING_RESULT = InstanceResult(), BindingResult()


def known_instance(row: Row, vault: Encryptor) -> Snapshot:
    """An instance, at a moment."""
    return Snapshot(instance(row, vault), None, row[-1])


def known_binding(row: Row, vault: Encryptor) -> Snapshot:
    """An instance and a binding of it, if there is one, at a moment."""
    there = row[_LAST_ENDS] is not None
    return Snapshot(instance(row, vault), binding_behind_instance(row, vault) if there else None, row[-1])


def binding_behind_instance(row: Row, vault: Encryptor) -> BindingRecord:
    """A binding with its last operation, where the row begins with its instance."""
    return binding(row[_LAST_ENDS:_BINDING_ENDS], vault, row[_BINDING_ENDS:-1])


def instance(row: Row, vault: Encryptor) -> InstanceRecord:
    """An instance with its last operation, with which the row begins."""
    own, last = row[:_INSTANCE_ENDS], row[_INSTANCE_ENDS:_LAST_ENDS]
    key, revision, state, service_id, plan_id, busy, _, attributes, result, created, updated = own
    return InstanceRecord(
        key=key,
        revision=revision,
        state=State(state),
        service_id=service_id,
        plan_id=plan_id,
        busy_bindings=busy,
        attributes=(
            vault.decrypt(attributes, InstanceAttributes)
            if attributes
            else InstanceAttributes(instance_id=key)  # it was deleted
        ),
        result=vault.decrypt(result, InstanceResult) if result else _NO_INSTANCE_RESULT,
        created_at=created,
        updated_at=updated,
        operation=operation(last) if last[0] is not None else None,
    )


def binding(row: Row, vault: Encryptor, last: Row = ()) -> BindingRecord:
    """A binding, with its last operation if that was read too."""
    instance_key, key, revision, state, _, attributes, result, created, updated = row
    return BindingRecord(
        instance_key=instance_key,
        key=key,
        revision=revision,
        state=State(state),
        attributes=vault.decrypt(attributes, BindingAttributes),
        result=vault.decrypt(result, BindingResult) if result else _NO_BINDING_RESULT,
        created_at=created,
        updated_at=updated,
        operation=operation(last) if last and last[0] is not None else None,
    )


def operation(row: Row) -> OperationRecord:
    """An operation."""
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
    )


def operation_now(row: Row) -> tuple[OperationRecord, float]:
    """An operation, with the time now."""
    return operation(row), row[-1]


def store_stats(found: Sequence[Row]) -> StoreStats:
    """All that was counted, of the columns in `statements.census`."""
    by_what: dict[str, list[Row]] = {INSTANCES: [], BINDINGS: [], OPERATIONS: []}
    for what, *row in found:
        by_what[what].append(row)
    return StoreStats(
        instances=tuple(map(_count, by_what[INSTANCES])),
        bindings=tuple(map(_count, by_what[BINDINGS])),
        operations=tuple(map(_in_progress, by_what[OPERATIONS])),
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
