"""What a command works with: a broker, what it offers, and what is remembered of it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import click

from ..catalog.models import Catalog, ServiceOffering, ServicePlan
from ..client.client import BrokerClient, ClientError
from .errors import cli_error_of
from .output import CLIError, Output
from .state_file import KnownBinding, KnownInstance, StateFile


class ChosenPlan(NamedTuple):
    """An offering and its plan."""

    offering: ServiceOffering
    plan: ServicePlan


class CommandContext:
    """What a command works with: a broker, what is remembered of it, and someone to talk to.

    Args:
        client: The broker.
        memory: What was made there.
        talk: Who is to be told.
    """

    def __init__(self, client: BrokerClient, memory: StateFile, talk: Output) -> None:
        self.client, self.memory, self.talk = client, memory, talk

    @property
    def url(self) -> str:
        """Where the broker is."""
        return self.client.url

    @functools.cached_property
    def catalog(self) -> Catalog:
        """What the broker offers.

        Raises:
            Fault: It does not say, or says it wrong.
        """
        try:
            return self.client.catalog()
        except ClientError as error:
            raise cli_error_of(error) from None

    def choose(self, service: str, plan: str) -> ChosenPlan:
        """The offering and plan with these names or ids.

        Raises:
            Fault: There are none.
        """
        offerings = self.catalog.services
        offering = _named(service, offerings)
        if offering is None:
            raise _not_offered(f"the service broker does not offer {service}", offerings)
        return self.choose_plan(offering, plan)

    def choose_plan(self, offering: ServiceOffering, plan: str) -> ChosenPlan:
        """The plan of an offering with this name or id.

        Raises:
            Fault: There is none.
        """
        found = _named(plan, offering.plans)
        if found is None:
            raise _not_offered(f"{offering.name} has no plan {plan}", offering.plans)
        return ChosenPlan(offering, found)

    def find_plan(self, instance: KnownInstance) -> ChosenPlan | None:
        """The offering and plan of an instance, if the catalog still has them."""
        found = self.catalog.find_plan(instance.plan_id)
        return None if found is None else ChosenPlan(*found)

    def find(self, told: str, service: str | None = None, plan: str | None = None) -> KnownInstance:
        """The instance with this name or id.

        Args:
            told: Its name, or its id.
            service: The name or id of its offering, if it is not remembered.
            plan: The name or id of its plan, if it is not remembered.

        Raises:
            Fault: It is not remembered, and not told what it is.
        """
        found = self.memory.find(self.url, told)
        if found is None:
            if service is None or plan is None:
                raise CLIError(
                    f"nothing called {told} was made at {self.url}; 'brokerkit services' lists what was; of"
                    " an instance of someone else give the id, --service and --plan",
                    error="NotKnown",
                )
            offering, its_plan = self.choose(service, plan)
            found = KnownInstance(
                instance_id=check_id(told),
                name=told,
                service_id=offering.id,
                service=offering.name,
                plan_id=its_plan.id,
                plan=its_plan.name,
                adopted=True,
            )
        return found

    def find_binding(self, instance: KnownInstance, told: str) -> KnownBinding:
        """The binding of an instance with this name; or one that is not remembered, with this id."""
        found = instance.binding(told)
        return found or KnownBinding(binding_id=check_id(told), name=told, adopted=True)

    def context_of(self, instance: KnownInstance) -> dict[str, Any]:
        """What the platform says of an instance; Cloud Foundry says how its user calls it."""
        told = self.client.platform.instance_context
        return {**told, "instance_name": instance.name} if "instance_name" in told else dict(told)


def check_id(told: str) -> str:
    """Let only ids pass that can stand in a path.

    Raises:
        click.BadParameter: This one cannot.
    """
    if told in ("", ".", ".."):
        raise click.BadParameter(f"{told!r} can be no id")
    return told


_Offered = TypeVar("_Offered", ServiceOffering, ServicePlan)


def _named(told: str, offered: Sequence[_Offered]) -> _Offered | None:
    by_name = (each for each in offered if each.name == told)
    return next(by_name, None) or next((each for each in offered if each.id == told), None)


def _not_offered(told: str, offered: Sequence[ServiceOffering] | Sequence[ServicePlan]) -> CLIError:
    names = ", ".join(each.name for each in offered)
    return CLIError(f"{told}; it has {names}" if names else f"{told}, nor anything else", error="NotOffered")
