"""The context of a command: the broker, its catalog, and the state file."""

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
    """An offering and one of its plans."""

    offering: ServiceOffering
    plan: ServicePlan


class CommandContext:
    """The broker, the state file and the output of a command.

    Args:
        client: The client of the broker.
        state_file: The file that lists the resources created at brokers.
        output: Writes notes and errors to stderr.
    """

    def __init__(self, client: BrokerClient, state_file: StateFile, output: Output) -> None:
        self.client, self.state_file, self.output = client, state_file, output

    @property
    def url(self) -> str:
        """The URL of the broker."""
        return self.client.url

    @functools.cached_property
    def catalog(self) -> Catalog:
        """The broker's catalog, fetched on first use.

        Raises:
            CLIError: The request failed, or the catalog is invalid.
        """
        try:
            return self.client.catalog()
        except ClientError as error:
            raise cli_error_of(error) from None

    def choose(self, offering: str, plan: str) -> ChosenPlan:
        """Find an offering and a plan in the catalog by their names or ids.

        Raises:
            CLIError: The catalog does not have them.
        """
        offerings = self.catalog.services
        match = _by_name_or_id(offering, offerings)
        if match is None:
            raise _not_offered(f"the service broker has no offering {offering}", offerings)
        return self.choose_plan(match, plan)

    def choose_plan(self, offering: ServiceOffering, plan: str) -> ChosenPlan:
        """Find a plan of an offering by its name or id.

        Raises:
            CLIError: The offering does not have it.
        """
        match = _by_name_or_id(plan, offering.plans)
        if match is None:
            raise _not_offered(f"{offering.name} has no plan {plan}", offering.plans)
        return ChosenPlan(offering, match)

    def find_plan(self, instance: KnownInstance) -> ChosenPlan | None:
        """Find the offering and plan of an instance; None if the catalog no longer has them."""
        match = self.catalog.find_plan(instance.plan_id)
        return None if match is None else ChosenPlan(*match)

    def find(self, name_or_id: str, offering: str | None = None, plan: str | None = None) -> KnownInstance:
        """Find an instance in the state file, or build a record for an instance created elsewhere.

        Args:
            name_or_id: The name or id of the instance.
            offering: The name or id of its offering, if the instance is not in the state file.
            plan: The name or id of its plan, if the instance is not in the state file.

        Raises:
            CLIError: The instance is not in the state file, and the offering or plan is missing.
        """
        instance = self.state_file.find(self.url, name_or_id)
        if instance is not None:
            return instance
        if offering is None or plan is None:
            raise CLIError(
                f"the state file has no instance {name_or_id} at {self.url}; 'brokerkit services' lists the"
                " instances; for an instance created elsewhere, give its id, --offering and --plan",
                error="NotFound",
            )
        chosen = self.choose(offering, plan)
        return KnownInstance(
            instance_id=check_id(name_or_id),
            name=name_or_id,
            service_id=chosen.offering.id,
            offering=chosen.offering.name,
            plan_id=chosen.plan.id,
            plan=chosen.plan.name,
            adopted=True,
        )

    def find_binding(self, instance: KnownInstance, name_or_id: str) -> KnownBinding:
        """Find a binding of an instance, or build a record for a binding created elsewhere."""
        return instance.binding(name_or_id) or KnownBinding(
            binding_id=check_id(name_or_id), name=name_or_id, adopted=True
        )

    def instance_context(self, instance: KnownInstance) -> dict[str, Any]:
        """Build the `context` that the platform sends for an instance.

        Cloud Foundry includes the name that the user gave the instance.
        """
        context = dict(self.client.platform.instance_context)
        return {**context, "instance_name": instance.name} if "instance_name" in context else context


def check_id(resource_id: str) -> str:
    """Return an id that can be a segment of a URL path.

    Raises:
        click.BadParameter: The id is empty, `.` or `..`.
    """
    if resource_id in ("", ".", ".."):
        raise click.BadParameter(f"{resource_id!r} cannot be an id")
    return resource_id


_Item = TypeVar("_Item", ServiceOffering, ServicePlan)


def _by_name_or_id(name_or_id: str, items: Sequence[_Item]) -> _Item | None:
    by_name = (item for item in items if item.name == name_or_id)
    return next(by_name, None) or next((item for item in items if item.id == name_or_id), None)


def _not_offered(message: str, items: Sequence[ServiceOffering] | Sequence[ServicePlan]) -> CLIError:
    names = ", ".join(item.name for item in items) or "none"
    return CLIError(f"{message}; available: {names}", error="NotOffered")
