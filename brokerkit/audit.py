"""Who changed what, when, and how it ended: what the signal `audited` and `flask broker audit` tell."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from .requests import Operation, OriginatingIdentity


class AuditRecord(Struct, frozen=True, kw_only=True):
    """A change that a platform asked for and the broker accepted. It has no parameters and no credentials.

    `msgspec.json.encode(record)` makes a line of JSON of it, with the fields that `flask broker audit --json`
    has, and always all of them.

    Args:
        operation_id: Its id in the store.
        operation: What was asked for.
        instance_id: Of which instance.
        binding_id: Of which binding; None if it is about the instance.
        offering: The name of the service offering.
        offering_id: Its id.
        plan: The name of the service plan; of an update, the one that it leads to.
        plan_id: Its id.
        previous_plan: Of an update, the name of the plan before it.
        previous_plan_id: Its id.
        organization_guid: Of a provision: whose the instance is to be.
        space_guid: Of a provision: where it is to be.
        app_guid: Of a bind: the application that the binding is for.
        username: Who authenticated, mostly the platform; None where nobody has a name.
        originating_identity: Whose wish the platform passed on (R-REQ-3); None if it did not say.
        request_identity: The platform's id of the request (R-REQ-4).
        correlation_id: The platform's id of all that belongs to one wish (R-REQ-5).
        state: How it stands: ``"in progress"``, ``"succeeded"`` or ``"failed"``; or ``"halted"``, which to
            platforms is a failure: it was deleted before it was done (R-DEL-3).
        description: What the platform is told of that.
        attempt: How often it was begun, also once more by an operator.
        asked_at: When the platform asked for it, in UTC.
        ended_at: When it ended, in UTC; None while it is in progress.
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
