"""What is done with service instances: made, changed, deleted."""

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
from .options import broker_options, of_someone_else, wait_option, with_parameters
from .output import CLIError, can_prompt
from .parameters import read_parameters
from .state_file import KnownInstance, Pending


@click.command(
    epilog="\b\nExample:\n  brokerkit provision hello-db small orders -p 'extensions=[\"hstore\"]'"
)
@click.argument("offering")
@click.argument("plan")
@click.argument("name", required=False)
@click.option("--id", "instance_id", help="The id of the instance; a new one unless told.")
@with_parameters
@wait_option
@broker_options
def provision(
    desk: CommandContext,
    offering: str,
    plan: str,
    name: str | None,
    instance_id: str | None,
    pairs: tuple[str, ...],
    document: str | None,
    wait: bool,
) -> None:
    """Make a service instance of PLAN of OFFERING, and call it NAME.

    OFFERING and PLAN are names or ids. NAME is yours, for the other commands; a new one unless told. An order
    that leaves in doubt what there is, is deleted, as platforms do (orphan mitigation).
    """
    parameters = read_parameters(pairs, document)
    service, chosen = desk.choose(offering, plan)
    known = desk.memory.instances(desk.url).values()
    instance = KnownInstance(
        name=check_id(name) if name is not None else new_name({each.name for each in known}),
        instance_id=str(uuid4()) if instance_id is None else check_id(instance_id),
        service_id=service.id,
        service=service.name,
        plan_id=chosen.id,
        plan=chosen.name,
        version=_version(chosen),
        pending=Pending(kind=Operation.PROVISION),
    )
    desk.memory.add(desk.url, instance)
    making = Change(desk, Subject(instance), Pending(kind=Operation.PROVISION))
    making.run(
        lambda: desk.client.provision(
            instance.instance_id,
            service,
            chosen,
            parameters=parameters,
            context=desk.context_of(instance),
            maintenance_info=_maintenance_info(chosen),
        ),
        wait=wait,
        plan=chosen,
    )
    show(making)


@click.command(epilog="\b\nExample:\n  brokerkit update orders --plan large")
@click.argument("name")
@click.option("--plan", "new_plan", metavar="PLAN", help="The plan to move to; its name or id.")
@click.option("--upgrade", is_flag=True, help="Move to the version that the catalog has.")
@with_parameters
@wait_option
@click.option("--service", metavar="OFFERING", help="The offering of an instance of someone else.")
@click.option("--current-plan", metavar="PLAN", help="The plan of an instance of someone else.")
@broker_options
def update(
    desk: CommandContext,
    name: str,
    new_plan: str | None,
    upgrade: bool,
    pairs: tuple[str, ...],
    document: str | None,
    wait: bool,
    service: str | None,
    current_plan: str | None,
) -> None:
    """Change the plan, parameters or version of the service instance NAME."""
    parameters = read_parameters(pairs, document)
    if parameters is None and new_plan is None and not upgrade:
        raise click.UsageError("say what to change: --plan, -p, -c or --upgrade")
    instance = desk.find(name, service, current_plan)
    before = desk.find_plan(instance)
    after = _plan_after(desk, instance, new_plan)
    moves = after is not None and after.id != instance.plan_id
    info = _maintenance_info(after) if after is not None and (moves or upgrade) else None
    if upgrade and info is None:
        raise CLIError(f"the catalog has no version to upgrade {instance.name} to", error="NoUpgrade")
    pending = Pending(
        kind=Operation.UPDATE,
        to_plan_id=after.id if after is not None and moves else None,
        to_plan=after.name if after is not None and moves else None,
        to_version=None if info is None else info.version,
    )
    platform = desk.client.platform
    previous: dict[str, Any] = {
        "service_id": instance.service_id,
        "plan_id": instance.plan_id,
        "organization_id": platform.organization_guid,
        "space_id": platform.space_guid,
    }
    if instance.version is not None:
        previous["maintenance_info"] = {"version": instance.version}
    changing = Change(desk, Subject(instance), pending)
    changing.run(
        lambda: desk.client.update(
            instance.instance_id,
            instance.service_id,
            plan=after or instance.plan_id,
            parameters=parameters,
            context=None if platform.name is None else desk.context_of(instance),
            previous_values=previous,
            maintenance_info=info,
        ),
        wait=wait,
        plan=before.plan if before else None,
    )
    show(changing)


def _plan_after(desk: CommandContext, instance: KnownInstance, told: str | None) -> ServicePlan | None:
    """The plan that an instance is to have; None if it keeps one that the catalog has no more."""
    if told is None:
        before = desk.find_plan(instance)
        return None if before is None else before.plan
    offering = desk.catalog.offering(instance.service_id)
    if offering is None:
        raise CLIError(f"the service broker offers {instance.service} no more", error="NotOffered")
    return desk.choose_plan(offering, told).plan


@click.command(epilog="\b\nExample:\n  brokerkit deprovision orders --yes")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Delete its bindings too, without asking.")
@wait_option
@of_someone_else
@broker_options
def deprovision(
    desk: CommandContext, name: str, yes: bool, wait: bool, service: str | None, plan: str | None
) -> None:
    """Delete the service instance NAME, and its bindings before."""
    instance = desk.find(name, service, plan)
    if instance.bindings and not yes:
        names = ", ".join(each.name for each in instance.bindings.values())
        if not can_prompt():
            raise CLIError(
                f"{instance.name} has bindings ({names}); unbind them, or give --yes", error="HasBindings"
            )
        question = printable(f"{instance.name} has bindings ({names}). Delete them too?")
        if not click.confirm(question, err=True):
            raise CLIError("nothing is deleted", error="Declined")
    for binding in instance.bindings.values():
        delete(desk, Subject(instance, binding))
        desk.talk.note(f"{instance.name}/{binding.name} is deleted.")
    deleting = delete(desk, Subject(instance), wait=wait)
    if deleting.done:
        show_deleted(instance, as_json=desk.talk.as_json)
    else:
        show(deleting)


def show(undertaking: Change) -> None:
    """Print an instance as it is after a change."""
    desk = undertaking.desk
    show_instance(desk.url, undertaking.now.instance, as_json=desk.talk.as_json)


def _version(plan: ServicePlan) -> str | None:
    return plan.maintenance_info.version if plan.maintenance_info else None


def _maintenance_info(plan: ServicePlan) -> MaintenanceInfo | None:
    """What Cloud Foundry says of the version of a plan."""
    version = _version(plan)
    return None if version is None else MaintenanceInfo(version)
