"""Facts about a request that logs, metrics and traces share."""

from __future__ import annotations

from typing import NamedTuple

from ..catalog.models import ServiceOffering, ServicePlan
from ..requests import OriginatingIdentity, Request


class PlanNames(NamedTuple):
    """The names of a service offering and a service plan; None for an unknown one."""

    offering: str | None = None
    plan: str | None = None


_UNKNOWN = PlanNames()


def plan_names_of(request: Request | None) -> PlanNames:
    """Return the names of a request's offering and plan, or else of its instance's."""
    if request is None:
        return _UNKNOWN
    offering, plan = offering_and_plan_of(request)
    return PlanNames(offering.name if offering else None, plan.name if plan else None)


def offering_and_plan_of(request: Request) -> tuple[ServiceOffering | None, ServicePlan | None]:
    """Return a request's offering and plan, or else its instance's.

    If the catalog no longer has one of them, its name is its id.
    """
    offering: ServiceOffering | None = getattr(request, "offering", None)
    plan: ServicePlan | None = getattr(request, "plan", None)
    instance = getattr(request, "instance", None)
    if instance is not None:
        offering, plan = offering or instance.service, plan or instance.plan
    return offering, plan


def user_of(identity: OriginatingIdentity | None) -> str | None:
    """Return the platform's name for the user that a request is made for (R-REQ-3)."""
    return None if identity is None else identity.user
