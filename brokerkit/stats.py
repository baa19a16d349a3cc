"""How much a store holds, counted: what `Broker.stats()` tells."""

from __future__ import annotations

from msgspec import Struct

from .requests import Operation


class Count(Struct, frozen=True, kw_only=True):
    """How many instances or bindings of a plan are in a state.

    Args:
        offering_id: The service offering, which the catalog may no longer have.
        plan_id: The service plan, likewise; of a binding, its instance's.
        state: ``"creating"``, ``"ready"`` or ``"failed"``, which must be deleted. What is being updated or
            deleted is still in the state that it had.
        count: How many.
    """

    offering_id: str
    plan_id: str
    state: str
    count: int


class InProgress(Struct, frozen=True, kw_only=True):
    """How many operations of a kind are in progress on instances and bindings of a plan.

    Args:
        operation: The kind.
        offering_id: The service offering.
        plan_id: The service plan; of an update, the one that it leads to.
        count: How many.
        oldest: How many seconds ago the oldest of them was asked for, by the database's clock.
    """

    operation: Operation
    offering_id: str
    plan_id: str
    count: int
    oldest: float


class StoreStats(Struct, frozen=True, kw_only=True):
    """What a store held at one moment. What there is none of is not in it, nor what was deleted.

    Args:
        instances: Instances, by offering, plan and state.
        bindings: Bindings, likewise.
        operations: Operations in progress, by kind, offering and plan.
    """

    instances: tuple[Count, ...] = ()
    bindings: tuple[Count, ...] = ()
    operations: tuple[InProgress, ...] = ()
