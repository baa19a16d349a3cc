"""Reports on records: JSON objects that always have the same fields, with secrets masked.

Secrets are `***` unless they are revealed. Times are in RFC 3339 and UTC.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from .._internal.masked_struct import MASK
from ..catalog.models import Catalog
from ..lifecycle.conversion import resolve_plan
from ..lifecycle.policy import ResourceStatus, resource_status
from ..store.models import BindingRecord, InstanceRecord, Mode, OperationRecord, Outcome
from ..store.store import Store

Report = dict[str, Any]

_MODES = {Mode.INLINE: "synchronous", Mode.POLLED: "polled", Mode.BACKGROUND: "background"}


class Reporter:
    """A builder of reports.

    Args:
        store: The store of the records.
        catalog: The source of the names of offerings and plans.
        reveal: Whether to include secrets. Defaults to False.
    """

    def __init__(self, store: Store, catalog: Catalog, *, reveal: bool = False) -> None:
        self._store = store
        self._catalog = catalog
        self._secret: Callable[[Any], Any] = _unchanged if reveal else _masked

    def instance(self, record: InstanceRecord, bindings: int) -> Report:
        """Build the report of an instance with its number of bindings."""
        attributes, result, secret = record.attributes, record.result, self._secret
        return {
            "type": "instance",
            "instance_id": attributes.instance_id,
            "state": _state(record),
            **self._plan(record.service_id, record.plan_id),
            "bindings": bindings,
            "organization_guid": attributes.organization_guid,
            "space_guid": attributes.space_guid,
            "context": attributes.context,
            "maintenance_version": attributes.maintenance_version,
            "dashboard_url": result.dashboard_url,
            "metadata": _builtins(result.metadata),
            "parameters": secret(attributes.parameters),
            "data": secret(result.data),
            "created_at": format_time(record.created_at),
            "updated_at": format_time(record.updated_at),
            "last_operation": self._last_operation(record.operation),
        }

    def binding(self, instance: InstanceRecord, record: BindingRecord) -> Report:
        """Build the report of a binding."""
        attributes, result, secret = record.attributes, record.result.binding, self._secret
        metadata = result.metadata if result else None
        return {
            "type": "binding",
            "binding_id": attributes.binding_id,
            "instance_id": instance.attributes.instance_id,
            "state": _state(record),
            **self._plan(instance.service_id, attributes.plan_id),
            "app_guid": attributes.app_guid,
            "bind_resource": _builtins(attributes.bind_resource),
            "predecessor": attributes.predecessor,
            "context": attributes.context,
            "parameters": secret(attributes.parameters),
            "credentials": secret(result.credentials if result else None),
            "syslog_drain_url": secret(result.syslog_drain_url if result else None),
            "route_service_url": secret(result.route_service_url if result else None),
            "volume_mounts": secret(_builtins(result.volume_mounts if result else None)),
            "endpoints": _builtins(result.endpoints if result else None),
            "expires_at": _format_utc(metadata.expires_at if metadata else None),
            "renew_before": _format_utc(metadata.renew_before if metadata else None),
            "data": secret(record.result.data),
            "created_at": format_time(record.created_at),
            "updated_at": format_time(record.updated_at),
            "last_operation": self._last_operation(record.operation),
        }

    def operation(self, record: OperationRecord, now: float, *, with_request: bool = False) -> Report:
        """Build the report of an operation.

        Args:
            record: The operation.
            now: The current time, by the database's clock.
            with_request: Whether to include the request and the schedule. Defaults to False.
        """
        request: dict[str, Any] = self._store.request_of(record)
        outcome = self._store.outcome_of(record)
        report = {
            "type": "operation",
            "operation_id": record.id,
            "kind": record.kind.value,
            "mode": _MODES[record.mode],
            "state": record.state.value,
            "description": outcome.description,
            "instance_id": request.get("instance_id", record.instance_key),
            "binding_id": request.get("binding_id", record.binding_key),
            **self._plan(record.service_id, record.plan_id),
            "attempt": record.attempt,
            "is_running": record.may_be_running,
            "created_at": format_time(record.created_at),
            "updated_at": format_time(record.updated_at),
        }
        return report | self._details(record, outcome, request) if with_request else report

    def _details(self, record: OperationRecord, outcome: Outcome, request: Report) -> Report:
        shown = {
            name: self._secret(value) if name in _SECRET_FIELDS else value
            for name, value in request.items()
            if name not in ("instance_id", "binding_id")
        }
        return {
            "lease_until": _format_optional(record.lease_until),
            "wake_at": _format_optional(record.wake_at),
            "deadline": format_time(record.deadline),
            "follows": record.follows,
            "instance_usable": outcome.instance_usable,
            "update_repeatable": outcome.update_repeatable,
            "accepted": self._secret(outcome.accepted),
            "request": shown,
        }

    def _plan(self, service_id: str, plan_id: str) -> Report:
        offering, plan = resolve_plan(self._catalog, service_id, plan_id)
        return {
            "offering": offering.name,
            "offering_id": service_id,
            "plan": plan.name,
            "plan_id": plan_id,
        }

    def _last_operation(self, record: OperationRecord | None) -> Report | None:
        if record is None:
            return None
        return {
            "operation_id": record.id,
            "kind": record.kind.value,
            "state": record.state.value,
            "description": self._store.outcome_of(record).description,
        }


def format_time(seconds: float) -> str:
    """Format a time from the store in RFC 3339."""
    return _rfc3339(datetime.fromtimestamp(seconds, UTC))


def _format_optional(seconds: float | None) -> str | None:
    return None if seconds is None else format_time(seconds)


def _format_utc(moment: datetime | None) -> str | None:
    return None if moment is None else _rfc3339(moment)


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_SECRET_FIELDS = frozenset({"parameters", "body"})


def _state(record: InstanceRecord | BindingRecord) -> str:
    status = resource_status(record)
    return "deleted" if status is ResourceStatus.ABSENT else status.value


def _builtins(value: object) -> Any:
    return msgspec.to_builtins(value)


def _unchanged(value: Any) -> Any:
    return value


def _masked(value: Any) -> Any:
    return MASK if value else value
