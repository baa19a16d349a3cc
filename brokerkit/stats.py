"""Statistics of a store: the counts that `Broker.stats` returns."""

from __future__ import annotations

from msgspec import Struct

from .requests import Operation


class Count(Struct, frozen=True, kw_only=True):
    """The number of service instances or bindings of one plan in one state.

    Args:
        offering_id: The id of the service offering, which may have left the catalog.
        plan_id: The id of the service plan, which may have left the catalog. For bindings, the plan of
            their instance.
        state: ``"creating"``, ``"ready"`` or ``"failed"`` (to be deleted). A resource that is being updated
            or deleted counts in the state that it had before.
        count: The number of instances or bindings.
    """

    offering_id: str
    plan_id: str
    state: str
    count: int


class InProgress(Struct, frozen=True, kw_only=True):
    """The number of operations of one kind that are in progress for one plan.

    Args:
        operation: The kind of operation.
        offering_id: The id of the service offering.
        plan_id: The id of the service plan; for an update, the new plan.
        count: The number of operations.
        oldest: The age of the oldest operation in seconds, by the clock of the database.
    """

    operation: Operation
    offering_id: str
    plan_id: str
    count: int
    oldest: float


class StoreStats(Struct, frozen=True, kw_only=True):
    """The content of a store at one moment, in counts greater than 0. Deleted resources do not count.

    Args:
        instances: Service instances, by offering, plan and state.
        bindings: Service bindings, by offering, plan and state.
        operations: Operations in progress, by kind, offering and plan.
    """

    instances: tuple[Count, ...] = ()
    bindings: tuple[Count, ...] = ()
    operations: tuple[InProgress, ...] = ()
