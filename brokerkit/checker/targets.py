"""Targets of a check: the plans of the catalog as the broker returned it, including invalid fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from msgspec import Struct

from .example_parameters import Values, accepted_examples, rejected_examples, required_example

Node = Mapping[str, Any]

_MAX_SECONDS = 10**9


class ParameterExamples(Struct, frozen=True, kw_only=True):
    """Parameters for one action on a plan.

    Args:
        accepted: Valid parameters, the best first. An empty object stands for no parameters.
        rejected: Parameters that the schema rejects, if there is a schema.
        from_user: Whether the user of the checker supplied the parameters.
        has_schema: Whether the plan has a schema for them.
        required: Whether the schema rejects a request without parameters.
    """

    accepted: Sequence[Values] = ()
    rejected: Values | None = None
    from_user: bool = False
    has_schema: bool = False
    required: bool = False

    @property
    def minimal(self) -> Values | None:
        """The parameters for requests that do not test them: only if required or from the user."""
        return self.first if self.from_user or self.required else None

    @property
    def minimal_is_generated(self) -> bool:
        """Whether :attr:`minimal` contains generated values, which the broker may reject."""
        return self.minimal is not None and not self.from_user

    @property
    def first(self) -> Values | None:
        """The best parameters; None for none."""
        return self.accepted[0] if self.accepted and self.accepted[0] else None

    @property
    def is_known(self) -> bool:
        """Whether valid parameters are known."""
        return bool(self.accepted) or not self.has_schema

    @property
    def alternative(self) -> Values | None:
        """Other valid parameters; None if none are known."""
        return self.accepted[1] if len(self.accepted) > 1 else None


class PlanChange(NamedTuple):
    """Another plan of the same offering.

    Args:
        plan_id: Its id.
        create: Parameters that provision it; None for none.
    """

    plan_id: str
    create: Values | None


class Target(Struct, frozen=True, kw_only=True, dict=True):
    """A plan to check.

    Args:
        offering: The service offering, as in the catalog.
        plan: The service plan, as in the catalog.
        sibling_plans: The other plans of the offering.
        other_offering_plans: The plans of other offerings.
        plan_change: Another plan with parameters that provision it; None if none is known.
        create: Parameters for provision requests.
        update: Parameters for update requests.
        bind: Parameters for bind requests.
    """

    offering: Node
    plan: Node
    sibling_plans: Sequence[Node] = ()
    other_offering_plans: Sequence[Node] = ()
    plan_change: PlanChange | None = None
    create: ParameterExamples = ParameterExamples()
    update: ParameterExamples = ParameterExamples()
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
        """Whether the plan is bindable (R-CAT-3)."""
        return bool(self._effective("bindable"))

    @property
    def plan_updateable(self) -> bool:
        """Whether instances can change to another plan (R-CAT-3)."""
        return bool(self._effective("plan_updateable"))

    @property
    def takes_updates(self) -> bool:
        """Whether the catalog or the user's parameters show that instances can be updated."""
        return (
            self.plan_updateable
            or self.takes_context_updates
            or self.update.has_schema
            or self.update.from_user
        )

    @property
    def rotatable(self) -> bool:
        """Whether bindings can have successors (R-BIND-6)."""
        return self.plan.get("binding_rotatable") is True

    @property
    def instances_retrievable(self) -> bool:
        """Whether service instances can be fetched."""
        return self.offering.get("instances_retrievable") is True

    @property
    def bindings_retrievable(self) -> bool:
        """Whether service bindings can be fetched."""
        return self.offering.get("bindings_retrievable") is True

    @property
    def requires(self) -> Sequence[object]:
        """The permissions that the bindings require (R-BIND-2); empty if the field is invalid."""
        permissions = self.offering.get("requires")
        return permissions if isinstance(permissions, list) else ()

    @property
    def takes_context_updates(self) -> bool:
        """Whether the context of an instance can be updated."""
        return self.offering.get("allow_context_updates") is True

    @property
    def version(self) -> str | None:
        """The version in `maintenance_info`."""
        info = self.plan.get("maintenance_info")
        version = info.get("version") if isinstance(info, dict) else None
        return version if isinstance(version, str) else None

    @property
    def polling_seconds(self) -> float | None:
        """The `maximum_polling_duration` in seconds."""
        seconds = self.plan.get("maximum_polling_duration")
        if not isinstance(seconds, int) or isinstance(seconds, bool):
            return None
        return float(min(seconds, _MAX_SECONDS))  # A JSON integer may be too large for a float.

    def _effective(self, name: str) -> object:
        own = self.plan.get(name)
        return self.offering.get(name) if own is None else own


def schema(plan: Node, resource: str, action: str) -> Mapping[str, Any] | None:
    """Return the JSON Schema of the parameters for an action (R-CAT-4)."""
    node: object = plan
    for name in ("schemas", resource, action, "parameters"):
        node = node.get(name) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else None


def choose_parameters(
    parameters_schema: Mapping[str, Any] | None, from_user: Sequence[Values] | None
) -> ParameterExamples:
    """Choose parameters: those of the user if given, otherwise examples generated from the schema."""
    accepted: list[Values] = []
    if from_user is not None:
        accepted = list(from_user)
    elif parameters_schema is not None:
        accepted = list(accepted_examples(parameters_schema))
    rejected = None
    if parameters_schema is not None:
        rejected = rejected_examples(parameters_schema, accepted[0] if accepted else {})
    return ParameterExamples(
        accepted=accepted,
        rejected=rejected,
        from_user=from_user is not None,
        has_schema=parameters_schema is not None,
        required=parameters_schema is not None and required_example(parameters_schema),
    )


def plans(catalog: Mapping[str, Any]) -> Iterator[tuple[Node, Node]]:
    """Yield each plan that has an id, with its offering."""
    for offering in _nodes(catalog.get("services")):
        for plan in _nodes(offering.get("plans")):
            yield offering, plan


def _nodes(value: object) -> Iterator[Node]:
    for node in value if isinstance(value, list) else ():
        if isinstance(node, dict) and isinstance(node.get("id"), str) and node["id"]:
            yield node
