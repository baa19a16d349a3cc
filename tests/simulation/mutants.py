"""Stores in which one safeguard is switched off, to test that the simulation finds the fault."""

from __future__ import annotations

from typing import Any

from brokerkit.store.models import (
    BindingRecord,
    Change,
    InstanceRecord,
    NewOperation,
    OperationRecord,
    Outcome,
)
from brokerkit.store.store import START, Position
from brokerkit.store.transitions import Query

from .processes import Fleet, SimulatedStore


class ForgetfulStore(SimulatedStore):
    """A store that forgets the running attempt of an operation that is cancelled or past its deadline."""

    def abandon(self, operation: OperationRecord, outcome: Outcome, change: Change) -> bool:
        if operation.may_be_running:
            return super().expire(operation, outcome, change)
        return super().abandon(operation, outcome, change)


class ImpatientStore(SimulatedStore):
    """A store whose attempts have no time to renew an expired lease."""

    @property
    def grace(self) -> float:
        return 0.0


class ConfusedStore(SimulatedStore):
    """A store that tells bindings with the same id apart by their revisions only."""

    def claim_binding(self, new: NewOperation, instance: InstanceRecord, binding: BindingRecord) -> bool:
        current = self.find_by_key(binding.instance_key, binding.key).binding
        is_same = current is not None and current.revision == binding.revision
        return super().claim_binding(new, instance, current if current and is_same else binding)


class BlindStore(SimulatedStore):
    """A store that returns only the first page of the operations that are due."""

    def _page(self, query: Query, limit: int, after: Position) -> Any:
        return super()._page(query, limit, START)


_FLEETS: dict[tuple[str, frozenset[str]], Fleet] = {}


def mutant_fleet(store: type[SimulatedStore], background: frozenset[str]) -> Fleet:
    """Return brokers with such a store. They are created once."""
    key = (store.__name__, background)
    if key not in _FLEETS:
        _FLEETS[key] = Fleet(background, store)
    return _FLEETS[key]
