"""What is done with service bindings: made, fetched, deleted."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import click

from ..client.client import ClientError
from ..requests import Operation
from ..results import Binding
from .change import Change, Subject, delete, document_of, fetch
from .context import CommandContext, check_id
from .errors import cli_error_of
from .formatting import show_binding, show_deleted
from .name_generator import new_name
from .options import broker_options, of_someone_else, wait_option, with_parameters
from .output import CLIError
from .parameters import read_parameters
from .state_file import KnownBinding, KnownInstance, Pending


@click.command(epilog="\b\nExample:\n  brokerkit bind orders shop --app 6cd3a6bb-4b5e-4f6a-9d5c-52f6a8d3b1c7")
@click.argument("name")
@click.argument("binding", required=False)
@click.option("--id", "binding_id", help="The id of the binding; a new one unless told.")
@click.option("--app", metavar="GUID", help="The application that it is for.")
@click.option("--rotate", metavar="PREDECESSOR", help="The binding that it is to follow; its name or id.")
@with_parameters
@wait_option
@of_someone_else
@broker_options
def bind(
    desk: CommandContext,
    name: str,
    binding: str | None,
    binding_id: str | None,
    app: str | None,
    rotate: str | None,
    pairs: tuple[str, ...],
    document: str | None,
    wait: bool,
    service: str | None,
    plan: str | None,
) -> None:
    """Make a service binding of the service instance NAME, call it BINDING, and show its credentials.

    Where the broker cannot be asked for the credentials again, they are kept for 'brokerkit credentials', in
    the file that 'brokerkit services --help' tells of.
    """
    parameters = read_parameters(pairs, document)
    instance = desk.find(name, service, plan)
    offered = desk.find_plan(instance)
    names = {each.name for each in instance.bindings.values()}
    pending = Pending(kind=Operation.BIND)
    known = KnownBinding(
        name=new_name(names) if binding is None else check_id(binding),
        binding_id=str(uuid4()) if binding_id is None else check_id(binding_id),
        pending=pending,
    )
    predecessor = None if rotate is None else desk.find_binding(instance, rotate).binding_id
    desk.memory.add_binding(desk.url, instance, known)
    making = Change(desk, Subject(instance, known), pending)
    result = making.run(
        lambda: desk.client.bind(
            instance.instance_id,
            known.binding_id,
            instance.service_id,
            instance.plan_id,
            parameters=parameters,
            app_guid=app,
            predecessor=predecessor,
        ),
        wait=wait,
        plan=None if offered is None else offered.plan,
    )
    _show(desk, making.now, result)


@click.command(epilog="\b\nExample:\n  brokerkit unbind orders shop")
@click.argument("name")
@click.argument("binding")
@wait_option
@of_someone_else
@broker_options
def unbind(
    desk: CommandContext, name: str, binding: str, wait: bool, service: str | None, plan: str | None
) -> None:
    """Delete the service binding BINDING of the service instance NAME."""
    instance = desk.find(name, service, plan)
    deleting = delete(desk, Subject(instance, desk.find_binding(instance, binding)), wait=wait)
    if deleting.done:
        show_deleted(*deleting.subject, as_json=desk.talk.as_json)
    else:
        _show(desk, deleting.now, None)


@click.command(epilog="\b\nExample:\n  brokerkit credentials orders shop --json")
@click.argument("name")
@click.argument("binding", required=False)
@of_someone_else
@broker_options
def credentials(
    desk: CommandContext, name: str, binding: str | None, service: str | None, plan: str | None
) -> None:
    """Show the credentials of the service binding BINDING of the service instance NAME.

    BINDING can be left out if there is only one. The broker is asked for them, where it can be.
    """
    instance = desk.find(name, service, plan)
    known = _only_binding(instance) if binding is None else desk.find_binding(instance, binding)
    if known.result is not None:
        result = known.result
    else:
        try:
            result = document_of(fetch(desk, instance, known))
        except ClientError as error:
            raise cli_error_of(error) from None
    show_binding(instance, known, result, as_json=desk.talk.as_json)


def _only_binding(instance: KnownInstance) -> KnownBinding:
    match [*instance.bindings.values()]:
        case [only]:
            return only
        case []:
            raise CLIError(f"{instance.name} has no bindings", error="NotKnown")
        case several:
            names = ", ".join(each.name for each in several)
            raise CLIError(f"{instance.name} has several bindings, say which: {names}", error="NotKnown")


def _show(desk: CommandContext, subject: Subject, result: Any) -> None:
    instance, known = subject
    assert known is not None, "it is a binding"
    told = document_of(result) if isinstance(result, Binding) else None
    show_binding(instance, known, told, as_json=desk.talk.as_json)
