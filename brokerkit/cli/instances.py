"""The commands for service instances: `provision`, `update` and `deprovision`."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import click

from .._internal.text import printable
from ..catalog.models import MaintenanceInfo, ServicePlan
from ..requests import Operation
from .change import Change, Subject, delete
from .context import CommandContext, check_id
from .formatting import show_deleted, show_instance
from .name_generator import new_name
from .options import broker_options, foreign_instance_options, parameter_options, wait_option
from .output import CLIError, can_prompt
from .parameters import read_parameters
from .state_file import KnownInstance, Pending


@click.command(
    epilog="\b\nExample:\n  brokerkit provision hello-db small orders -p 'extensions=[\"hstore\"]'"
)
@click.argument("offering")
@click.argument("plan")
@click.argument("name", required=False)
@click.option("--id", "instance_id", help="The id of the instance. Defaults to a new UUID.")
@parameter_options
@wait_option
@broker_options
def provision(
    context: CommandContext,
    offering: str,
    plan: str,
    name: str | None,
    instance_id: str | None,
    pairs: tuple[str, ...],
    document: str | None,
    wait: bool,
) -> None:
    """Create a service instance of the plan PLAN of the offering OFFERING.

    OFFERING and PLAN are names or ids. NAME is a name of your choice for the other commands. It defaults to a
    generated name.

    If the outcome of the request is unclear, the command deletes the instance, as platforms do (orphan
    mitigation).
    """
    parameters = read_parameters(pairs, document)
    chosen = context.choose(offering, plan)
    instances = context.state_file.instances(context.url).values()
    pending = Pending(kind=Operation.PROVISION)
    instance = KnownInstance(
        name=check_id(name) if name is not None else new_name({record.name for record in instances}),
        instance_id=str(uuid4()) if instance_id is None else check_id(instance_id),
        service_id=chosen.offering.id,
        offering=chosen.offering.name,
        plan_id=chosen.plan.id,
        plan=chosen.plan.name,
        version=_version(chosen.plan),
        pending=pending,
    )
    context.state_file.add(context.url, instance)
    change = Change(context, Subject(instance), pending)
    change.run(
        lambda: context.client.provision(
            instance.instance_id,
            chosen.offering,
            chosen.plan,
            parameters=parameters,
            context=context.instance_context(instance),
            maintenance_info=_maintenance_info(chosen.plan),
        ),
        wait=wait,
        plan=chosen.plan,
    )
    _show(change)


@click.command(epilog="\b\nExample:\n  brokerkit update orders --plan large")
@click.argument("name")
@click.option("--plan", "new_plan", metavar="PLAN", help="The plan to change to, by name or id.")
@click.option("--upgrade", is_flag=True, help="Upgrade to the maintenance version of the catalog.")
@parameter_options
@wait_option
@click.option("--offering", metavar="OFFERING", help="The offering of an instance created elsewhere.")
@click.option("--current-plan", metavar="PLAN", help="The plan of an instance created elsewhere.")
@broker_options
def update(
    context: CommandContext,
    name: str,
    new_plan: str | None,
    upgrade: bool,
    pairs: tuple[str, ...],
    document: str | None,
    wait: bool,
    offering: str | None,
    current_plan: str | None,
) -> None:
    """Change the plan, parameters or version of the service instance NAME."""
    parameters = read_parameters(pairs, document)
    if parameters is None and new_plan is None and not upgrade:
        raise click.UsageError("nothing to change; give --plan, -p, -c or --upgrade")
    instance = context.find(name, offering, current_plan)
    before = context.find_plan(instance)
    after = _plan_after(context, instance, new_plan)
    plan_changes = after is not None and after.id != instance.plan_id
    info = _maintenance_info(after) if after is not None and (plan_changes or upgrade) else None
    if upgrade and info is None:
        raise CLIError(f"the catalog has no version to upgrade {instance.name} to", error="NoUpgrade")
    pending = Pending(
        kind=Operation.UPDATE,
        to_plan_id=after.id if after is not None and plan_changes else None,
        to_plan=after.name if after is not None and plan_changes else None,
        to_version=None if info is None else info.version,
    )
    platform = context.client.platform
    previous: dict[str, Any] = {
        "service_id": instance.service_id,
        "plan_id": instance.plan_id,
        "organization_id": platform.organization_guid,
        "space_id": platform.space_guid,
    }
    if instance.version is not None:
        previous["maintenance_info"] = {"version": instance.version}
    change = Change(context, Subject(instance), pending)
    change.run(
        lambda: context.client.update(
            instance.instance_id,
            instance.service_id,
            plan=after or instance.plan_id,
            parameters=parameters,
            context=None if platform.name is None else context.instance_context(instance),
            previous_values=previous,
            maintenance_info=info,
        ),
        wait=wait,
        plan=before.plan if before else None,
    )
    _show(change)


def _plan_after(context: CommandContext, instance: KnownInstance, new_plan: str | None) -> ServicePlan | None:
    """Find the plan of an instance after an update.

    Returns:
        The plan. None if the plan does not change and the catalog no longer has it.
    """
    if new_plan is None:
        before = context.find_plan(instance)
        return None if before is None else before.plan
    offering = context.catalog.offering(instance.service_id)
    if offering is None:
        raise CLIError(
            f"the service broker no longer has the offering {instance.offering}", error="NotOffered"
        )
    return context.choose_plan(offering, new_plan).plan


@click.command(epilog="\b\nExample:\n  brokerkit deprovision orders --yes")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Delete the bindings of the instance without confirmation.")
@wait_option
@foreign_instance_options
@broker_options
def deprovision(
    context: CommandContext, name: str, yes: bool, wait: bool, offering: str | None, plan: str | None
) -> None:
    """Delete the service instance NAME, after its bindings."""
    instance = context.find(name, offering, plan)
    if instance.bindings and not yes:
        names = ", ".join(binding.name for binding in instance.bindings.values())
        if not can_prompt():
            raise CLIError(
                f"{instance.name} has bindings ({names}); unbind them, or give --yes", error="HasBindings"
            )
        question = printable(f"{instance.name} has bindings ({names}). Delete them too?")
        if not click.confirm(question, err=True):
            raise CLIError("nothing was deleted", error="Declined")
    for binding in instance.bindings.values():
        delete(context, Subject(instance, binding))
        context.output.note(f"{instance.name}/{binding.name} is deleted.")
    change = delete(context, Subject(instance), wait=wait)
    if change.done:
        show_deleted(instance, as_json=context.output.as_json)
    else:
        _show(change)


def _show(change: Change) -> None:
    """Print an instance as it is after a change."""
    context = change.context
    show_instance(context.url, change.current.instance, as_json=context.output.as_json)


def _version(plan: ServicePlan) -> str | None:
    return plan.maintenance_info.version if plan.maintenance_info else None


def _maintenance_info(plan: ServicePlan) -> MaintenanceInfo | None:
    """Build the `maintenance_info` that Cloud Foundry sends for a plan: the version alone."""
    version = _version(plan)
    return None if version is None else MaintenanceInfo(version)
