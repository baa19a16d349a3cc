"""The audit record: the signal `audited` and the command `flask broker audit` report it."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from .requests import Operation, OriginatingIdentity


class AuditRecord(Struct, frozen=True, kw_only=True):
    """A change that a platform requested and the broker accepted, without parameters and credentials.

    `msgspec.json.encode(record)` returns one line of JSON with all fields, as `flask broker audit --json`
    prints them.

    Args:
        operation_id: The id of the operation in the store.
        operation: The requested operation.
        instance_id: The id of the service instance.
        binding_id: The id of the service binding; None for an operation on the instance.
        offering: The name of the service offering.
        offering_id: The id of the service offering.
        plan: The name of the service plan; for an update, the new plan.
        plan_id: The id of the service plan; for an update, the new plan.
        previous_plan: For an update, the name of the plan before it. Defaults to None.
        previous_plan_id: For an update, the id of the plan before it. Defaults to None.
        organization_guid: For a provision, the organization of the instance. Defaults to None.
        space_guid: For a provision, the space of the instance. Defaults to None.
        app_guid: For a bind, the application that the binding is for. Defaults to None.
        username: The name of the caller, usually the platform; None if the caller has no name.
        originating_identity: The end user of the platform (R-REQ-3); None if the platform sent none.
        request_identity: The platform's id of the request (R-REQ-4). Defaults to None.
        correlation_id: The platform's id of all requests that belong together (R-REQ-5). Defaults to None.
        state: ``"in progress"``, ``"succeeded"``, ``"failed"`` or ``"cancelled"``. A
            cancelled operation was ended by the deletion of its resource. To platforms, it has failed
            (R-DEL-3).
        description: The description of the state that the platform gets. Defaults to None.
        attempt: The number of the latest attempt, from 1. A retry by an operator counts too.
        asked_at: The time of the request, in UTC.
        ended_at: The time of the end, in UTC; None while the operation is in progress. Defaults to None.
    """

    operation_id: str
    operation: Operation
    instance_id: str
    binding_id: str | None = None
    offering: str
    offering_id: str
    plan: str
    plan_id: str
    previous_plan: str | None = None
    previous_plan_id: str | None = None
    organization_guid: str | None = None
    space_guid: str | None = None
    app_guid: str | None = None
    username: str | None = None
    originating_identity: OriginatingIdentity | None = None
    request_identity: str | None = None
    correlation_id: str | None = None
    state: str
    description: str | None = None
    attempt: int = 1
    asked_at: datetime
    ended_at: datetime | None = None
