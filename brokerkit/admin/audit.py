"""The audit trail: records of all accepted changes from the store, the newest first."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import msgspec
from msgspec import Struct
from sqlalchemy import or_, select

from ..audit import AuditRecord
from ..catalog.models import Catalog
from ..lifecycle.conversion import load_request
from ..lifecycle.events import OperationRef, audit_record
from ..store import rows
from ..store.errors import StoreError
from ..store.models import OperationRecord
from ..store.store import Store
from ..store.tables import operations

_PAGE_SIZE = 500
"""The number of rows in one read, which bounds the memory and the duration of the transaction."""

_MAX_CLOCK_SKEW = 86400.0
"""The assumed maximum difference between the clocks of two machines, in seconds."""


class UnreadableRecord(Struct, frozen=True):
    """A reference to a change with an unreadable row, and the reason."""

    operation_id: str
    reason: str


class AuditFilter(Struct, frozen=True, kw_only=True):
    """A filter for changes.

    Args:
        instance_keys: Keys of an instance. Changes of its bindings are included. Defaults to all instances.
        binding_keys: Keys of bindings. Defaults to all bindings.
        since: The earliest time of the request, in seconds since 1970 by the database's clock. Defaults to
            no limit.
    """

    instance_keys: Collection[str] = ()
    binding_keys: Collection[str] = ()
    since: float | None = None


def read_audit(
    store: Store, catalog: Catalog, audit_filter: AuditFilter, limit: int | None = None
) -> Iterator[AuditRecord | UnreadableRecord]:
    """Read the changes, the newest first. Changes that are added during the read are not included.

    The changes are ordered by id. An id begins with the time, by the clock of the process that received the
    request. So a page is read by primary key, and `created_at` needs no index. If the clocks of machines
    differ, the order can be wrong, but the selection is correct.

    Args:
        store: The store.
        catalog: The source of the names of offerings and plans.
        audit_filter: Selects the changes.
        limit: The maximum number of changes. Defaults to no limit.
    """
    last_id: str | None = None
    while limit is None or limit > 0:
        size = _PAGE_SIZE if limit is None else min(limit, _PAGE_SIZE)
        page = _read_page(store, audit_filter, last_id, size)
        for row in page:
            yield _read_row(store, catalog, row)
        if len(page) < size:
            return
        last_id = page[-1][0]
        limit = None if limit is None else limit - size


def audit_record_of(store: Store, catalog: Catalog, operation: OperationRecord) -> AuditRecord:
    """Build the audit record of an operation."""
    request = load_request(store, catalog, operation, None, None)
    outcome = store.outcome_of(operation)
    return audit_record(OperationRef.of(operation), request, operation.state, outcome, operation.updated_at)


def _read_row(store: Store, catalog: Catalog, row: rows.Row) -> AuditRecord | UnreadableRecord:
    try:
        return audit_record_of(store, catalog, rows.operation(row))
    except StoreError as error:
        return UnreadableRecord(row[0], str(error))
    except (msgspec.MsgspecError, TypeError, ValueError):  # the message of the error can contain secrets
        return UnreadableRecord(row[0], "its format is not one of this brokerkit or of an earlier version")


def _read_page(store: Store, audit_filter: AuditFilter, last_id: str | None, size: int) -> list[rows.Row]:
    statement = select(operations).order_by(operations.c.id.desc()).limit(size)
    if audit_filter.instance_keys:
        statement = statement.where(
            or_(*(operations.c.instance_id == key for key in audit_filter.instance_keys))
        )
    if audit_filter.binding_keys:
        statement = statement.where(
            or_(*(operations.c.binding_id == key for key in audit_filter.binding_keys))
        )
    if audit_filter.since is not None:
        earliest = max(0.0, audit_filter.since - _MAX_CLOCK_SKEW)
        statement = statement.where(
            operations.c.created_at >= audit_filter.since, operations.c.id >= f"{int(earliest * 1000):012x}"
        )
    if last_id is not None:
        statement = statement.where(operations.c.id < last_id)
    return store.read(statement)
