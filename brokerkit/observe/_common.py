"""What subscribers say of a request in few words, the same ones in logs, metrics and traces."""

from __future__ import annotations

from typing import NamedTuple

from ..catalog.models import ServiceOffering, ServicePlan
from ..requests import OriginatingIdentity, Request

LONGEST_TEXT = 500
"""In characters, of what somebody sent, or a platform's user is told."""


class PlanNames(NamedTuple):
    """The names of a service offering and a service plan; None where they are not known."""

    offering: str | None = None
    plan: str | None = None


_UNKNOWN = PlanNames()


def plan_names_of(request: Request | None) -> PlanNames:
    """What a request is about: what it names, else what its instance is of."""
    if request is None:
        return _UNKNOWN
    service, plan = plan_names_by_id(request)
    return PlanNames(service.name if service else None, plan.name if plan else None)


def plan_names_by_id(request: Request) -> tuple[ServiceOffering | None, ServicePlan | None]:
    """The offering and the plan themselves; one with its id for a name may be gone from the catalog."""
    service: ServiceOffering | None = getattr(request, "offering", None)
    plan: ServicePlan | None = getattr(request, "plan", None)
    instance = getattr(request, "instance", None)
    if instance is not None:
        service, plan = service or instance.service, plan or instance.plan
    return service, plan


def user_of(identity: OriginatingIdentity | None) -> str | None:
    """Whose wish it is, as its platform names its users (R-REQ-3)."""
    return None if identity is None else identity.user


def truncate(text: str, longest: int = LONGEST_TEXT) -> str:
    """A text as long as it may be: whoever sends one may make it as long as they like."""
    return text if len(text) <= longest else f"{text[:longest]}…"
