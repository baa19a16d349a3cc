"""The audit trail: what the store knows of every change that was accepted, as records, the newest first."""

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

_PAGE = 500
"""How many rows are read at a time, so that neither memory nor a transaction holds millions."""

_SKEW = 86400.0
"""By how many seconds the clocks of two machines may differ, at the very most."""


class UnreadableRecord(Struct, frozen=True):
    """A change of which the store has a row that nobody can read, and why."""

    operation_id: str
    reason: str


class AuditFilter(Struct, frozen=True, kw_only=True):
    """Which changes.

    Args:
        instance_keys: Only those of instances with one of these keys, and of their bindings; all if empty.
        binding_keys: Only those of bindings with one of these keys; all if empty.
        since: Only those that were asked for then or later, in seconds since 1970 by the store's clock.
    """

    instance_keys: Collection[str] = ()
    binding_keys: Collection[str] = ()
    since: float | None = None


def read_audit(
    store: Store, catalog: Catalog, which: AuditFilter, limit: int | None = None
) -> Iterator[AuditRecord | UnreadableRecord]:
    """The changes, the newest first. What is added while they are read is not among them.

    They are in the order of their ids, which begin with the time by the clock of who took the request: so it
    is the primary key that is read, page by page, and no index on `created_at` has to be written with every
    operation. Where clocks of machines differ, so does the order; which of them are told does not.

    Args:
        store: The store.
        catalog: Has the names of offerings and plans.
        which: Which of them.
        limit: So many at most; None for all.
    """
    last: str | None = None
    while limit is None or limit > 0:
        size = _PAGE if limit is None else min(limit, _PAGE)
        page = _page(store, which, last, size)
        for row in page:
            yield _told(store, catalog, row)
        if len(page) < size:
            return
        last = page[-1][0]
        limit = None if limit is None else limit - size


def audit_record_of(store: Store, catalog: Catalog, operation: OperationRecord) -> AuditRecord:
    """What the trail tells of an operation."""
    request = load_request(store, catalog, operation, None, None)
    outcome = store.outcome_of(operation)
    return audit_record(OperationRef.of(operation), request, operation.state, outcome, operation.updated_at)


def _told(store: Store, catalog: Catalog, row: rows.Row) -> AuditRecord | UnreadableRecord:
    try:
        return audit_record_of(store, catalog, rows.operation(row))
    except StoreError as error:
        return UnreadableRecord(row[0], str(error))
    except (msgspec.MsgspecError, TypeError, ValueError):  # which may quote what is secret
        return UnreadableRecord(
            row[0], "its row is not as this version of brokerkit, or one before it, writes them"
        )


def _page(store: Store, which: AuditFilter, last: str | None, size: int) -> list[rows.Row]:
    found = select(operations).order_by(operations.c.id.desc()).limit(size)
    if which.instance_keys:
        found = found.where(or_(*(operations.c.instance_id == key for key in which.instance_keys)))
    if which.binding_keys:
        found = found.where(or_(*(operations.c.binding_id == key for key in which.binding_keys)))
    if which.since is not None:
        least = max(0.0, which.since - _SKEW)
        found = found.where(
            operations.c.created_at >= which.since, operations.c.id >= f"{int(least * 1000):012x}"
        )
    if last is not None:
        found = found.where(operations.c.id < last)
    return store.read(found)
