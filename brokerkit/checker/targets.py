"""What a check works through: the plans of a catalog, read as they are, faults and all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from msgspec import Struct

from .example_parameters import Values, accepted_examples, rejected_examples, required_example

Node = Mapping[str, Any]

_ENDLESS = 10**9


class ParameterExamples(Struct, frozen=True, kw_only=True):
    """Parameters for one action on a plan.

    Args:
        given: Those that the plan takes, the best first; maybe none, which is to send none.
        bad: Some that its schema refuses, if it has one.
        told: Were they given by whoever checks?
        has_schema: Has the plan a schema for them?
        needed: Does its schema refuse to have none?
    """

    given: Sequence[Values] = ()
    bad: Values | None = None
    told: bool = False
    has_schema: bool = False
    needed: bool = False

    @property
    def least(self) -> Values | None:
        """What to send where it is about something else; those made up may not please the broker."""
        return self.first if self.told or self.needed else None

    @property
    def least_is_made_up(self) -> bool:
        """May :attr:`least` displease the broker?"""
        return self.least is not None and not self.told

    @property
    def first(self) -> Values | None:
        """What to send; None for nothing."""
        return self.given[0] if self.given and self.given[0] else None

    @property
    def orderable(self) -> bool:
        """Is it known what to send?"""
        return bool(self.given) or not self.has_schema

    @property
    def other(self) -> Values | None:
        """What is right too, and other; None if nothing is known."""
        return self.given[1] if len(self.given) > 1 else None


class PlanChange(NamedTuple):
    """A plan that an instance may be asked to have instead of its own.

    Args:
        plan_id: Its id.
        create: Parameters for a provision of it; None for nothing.
    """

    plan_id: str
    create: Values | None


class Target(Struct, frozen=True, kw_only=True, dict=True):
    """A plan to work through.

    Args:
        offering: The offering, as it stands in the catalog.
        plan: The plan.
        others: The other plans of the offering.
        strangers: The plans of other offerings.
        move: Another plan, with parameters that it can be ordered with; None if there is none.
        create: Parameters for a provision.
        change: Parameters for an update.
        bind: Parameters for a bind.
    """

    offering: Node
    plan: Node
    others: Sequence[Node] = ()
    strangers: Sequence[Node] = ()
    move: PlanChange | None = None
    create: ParameterExamples = ParameterExamples()
    change: ParameterExamples = ParameterExamples()
    bind: ParameterExamples = ParameterExamples()

    @cached_property
    def name(self) -> str:
        """``"hello-db/small"``."""
        return f"{self.offering.get('name')}/{self.plan.get('name')}"

    @property
    def service_id(self) -> str:
        """The id of the offering."""
        return str(self.offering["id"])

    @property
    def plan_id(self) -> str:
        """The id of the plan."""
        return str(self.plan["id"])

    @property
    def bindable(self) -> bool:
        """Can it be bound (R-CAT-3)?"""
        return bool(self._effective("bindable"))

    @property
    def plan_updateable(self) -> bool:
        """Can its instances move to another plan (R-CAT-3)?"""
        return bool(self._effective("plan_updateable"))

    @property
    def takes_updates(self) -> bool:
        """Does it say in any way that its instances can be updated?"""
        return (
            self.plan_updateable or self.takes_context_updates or self.change.has_schema or self.change.told
        )

    @property
    def rotatable(self) -> bool:
        """Can its bindings have successors (R-BIND-6)?"""
        return self.plan.get("binding_rotatable") is True

    @property
    def instances_retrievable(self) -> bool:
        """Can instances be fetched?"""
        return self.offering.get("instances_retrievable") is True

    @property
    def bindings_retrievable(self) -> bool:
        """Can bindings be fetched?"""
        return self.offering.get("bindings_retrievable") is True

    @property
    def requires(self) -> Sequence[object]:
        """The permissions that its bindings need (R-BIND-2); none, where the catalog has no list of them."""
        found = self.offering.get("requires")
        return found if isinstance(found, list) else ()

    @property
    def takes_context_updates(self) -> bool:
        """Does it want to know of a changed context?"""
        return self.offering.get("allow_context_updates") is True

    @property
    def version(self) -> str | None:
        """The version of its `maintenance_info`."""
        info = self.plan.get("maintenance_info")
        version = info.get("version") if isinstance(info, dict) else None
        return version if isinstance(version, str) else None

    @property
    def polling_seconds(self) -> float | None:
        """Its `maximum_polling_duration`."""
        seconds = self.plan.get("maximum_polling_duration")
        if not isinstance(seconds, int) or isinstance(seconds, bool):
            return None
        return float(min(seconds, _ENDLESS))  # JSON has numbers that no float holds

    def _effective(self, name: str) -> object:
        own = self.plan.get(name)
        return self.offering.get(name) if own is None else own


def schema(plan: Node, resource: str, action: str) -> Mapping[str, Any] | None:
    """The JSON Schema of some parameters of a plan (R-CAT-4)."""
    found: object = plan
    for name in ("schemas", resource, action, "parameters"):
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None


def choices(own: Mapping[str, Any] | None, told: Sequence[Values] | None) -> ParameterExamples:
    """Choose parameters: those that were told, else some out of the schema."""
    given = list(told) if told is not None else accepted_examples(own) if own is not None else []
    bad = rejected_examples(own, given[0] if given else {}) if own is not None else None
    return ParameterExamples(
        given=given,
        bad=bad,
        told=told is not None,
        has_schema=own is not None,
        needed=own is not None and required_example(own),
    )


def plans(catalog: Mapping[str, Any]) -> Iterator[tuple[Node, Node]]:
    """Each plan that can be ordered at all, with its offering."""
    for offering in _nodes(catalog.get("services")):
        for plan in _nodes(offering.get("plans")):
            yield offering, plan


def _nodes(value: object) -> Iterator[Node]:
    for each in value if isinstance(value, list) else ():
        if isinstance(each, dict) and isinstance(each.get("id"), str) and each["id"]:
            yield each
