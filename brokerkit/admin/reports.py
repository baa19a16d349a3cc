"""What operators are told of a record: objects for JSON, with the same fields always, and no secrets.

What is secret stands as `***`, unless it is to be revealed; times are RFC 3339 in UTC.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from .._internal.masking import MASK
from ..catalog.models import Catalog
from ..lifecycle.conversion import resolve_plan
from ..lifecycle.policy import ResourceStatus, resource_status
from ..store.models import BindingRecord, InstanceRecord, OperationRecord, Outcome
from ..store.store import Store

Report = dict[str, Any]


class Reporter:
    """Tells of records.

    Args:
        store: The store that they are from.
        catalog: Has the names of offerings and plans.
        reveal: Tell the secrets too.
    """

    def __init__(self, store: Store, catalog: Catalog, *, reveal: bool = False) -> None:
        self._store = store
        self._catalog = catalog
        self._secret: Callable[[Any], Any] = _as_it_is if reveal else _masked

    def instance(self, record: InstanceRecord, bindings: int) -> Report:
        """An instance, which has so many bindings."""
        attributes, result, secret = record.attributes, record.result, self._secret
        return {
            "type": "instance",
            "instance_id": attributes.instance_id,
            "state": _standing(record),
            **self._plan(record.service_id, record.plan_id),
            "bindings": bindings,
            "organization_guid": attributes.organization_guid,
            "space_guid": attributes.space_guid,
            "context": attributes.context,
            "maintenance_version": attributes.maintenance_version,
            "dashboard_url": result.dashboard_url,
            "metadata": _built(result.metadata),
            "parameters": secret(attributes.parameters),
            "data": secret(result.data),
            "created_at": format_time(record.created_at),
            "updated_at": format_time(record.updated_at),
            "last_operation": self._last(record.operation),
        }

    def binding(self, instance: InstanceRecord, record: BindingRecord) -> Report:
        """A binding of an instance."""
        attributes, made, secret = record.attributes, record.result.binding, self._secret
        metadata = made.metadata if made else None
        return {
            "type": "binding",
            "binding_id": attributes.binding_id,
            "instance_id": instance.attributes.instance_id,
            "state": _standing(record),
            **self._plan(instance.service_id, attributes.plan_id),
            "app_guid": attributes.app_guid,
            "bind_resource": _built(attributes.bind_resource),
            "predecessor": attributes.predecessor,
            "context": attributes.context,
            "parameters": secret(attributes.parameters),
            "credentials": secret(made.credentials if made else None),
            "syslog_drain_url": secret(made.syslog_drain_url if made else None),
            "route_service_url": secret(made.route_service_url if made else None),
            "volume_mounts": secret(_built(made.volume_mounts if made else None)),
            "endpoints": _built(made.endpoints if made else None),
            "expires_at": _utc(metadata.expires_at) if metadata and metadata.expires_at else None,
            "renew_before": _utc(metadata.renew_before) if metadata and metadata.renew_before else None,
            "data": secret(record.result.data),
            "created_at": format_time(record.created_at),
            "updated_at": format_time(record.updated_at),
            "last_operation": self._last(record.operation),
        }

    def operation(self, record: OperationRecord, now: float, *, whole: bool = False) -> Report:
        """An operation; as a `whole` with its request."""
        request: dict[str, Any] = self._store.encryptor.decrypt(record.request, dict)
        outcome = self._store.outcome_of(record)
        report = {
            "type": "operation",
            "operation_id": record.id,
            "kind": record.kind.value,
            "mode": record.mode.value,
            "state": record.state.value,
            "description": outcome.description,
            "instance_id": request.get("instance_id", record.instance_key),
            "binding_id": request.get("binding_id", record.binding_key),
            **self._plan(record.service_id, record.plan_id),
            "attempt": record.attempt,
            "is_running": record.is_running_at(now),
            "created_at": format_time(record.created_at),
            "updated_at": format_time(record.updated_at),
        }
        return report | self._inside(record, outcome, request) if whole else report

    def _inside(self, record: OperationRecord, outcome: Outcome, request: Report) -> Report:
        told = {
            name: self._secret(value) if name in _SECRET else value
            for name, value in request.items()
            if name not in ("instance_id", "binding_id")
        }
        return {
            "lease_until": _moment(record.lease_until),
            "wake_at": _moment(record.wake_at),
            "deadline": format_time(record.deadline),
            "follows": record.follows,
            "instance_usable": outcome.instance_usable,
            "update_repeatable": outcome.update_repeatable,
            "accepted": self._secret(outcome.accepted),
            "request": told,
        }

    def _plan(self, service_id: str, plan_id: str) -> Report:
        service, plan = resolve_plan(self._catalog, service_id, plan_id)
        return {"service": service.name, "service_id": service_id, "plan": plan.name, "plan_id": plan_id}

    def _last(self, record: OperationRecord | None) -> Report | None:
        if record is None:
            return None
        return {
            "operation_id": record.id,
            "kind": record.kind.value,
            "state": record.state.value,
            "description": self._store.outcome_of(record).description,
        }


def format_time(seconds: float) -> str:
    """A time of the store's."""
    return _utc(datetime.fromtimestamp(seconds, UTC))


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else format_time(seconds)


def _utc(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_SECRET = frozenset({"parameters", "body"})


def _standing(record: InstanceRecord | BindingRecord) -> str:
    now = resource_status(record)
    return "deleted" if now is ResourceStatus.ABSENT else now.value


def _built(value: object) -> Any:
    return msgspec.to_builtins(value)


def _as_it_is(value: Any) -> Any:
    return value


def _masked(value: Any) -> Any:
    return MASK if value else value
