"""The commands for service bindings: `bind`, `unbind` and `credentials`."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import click

from ..client.client import ClientError
from ..requests import Operation
from ..results import Binding
from .change import Change, Subject, binding_document, delete, fetch
from .context import CommandContext, check_id
from .errors import cli_error_of
from .formatting import show_binding, show_deleted
from .name_generator import new_name
from .options import broker_options, foreign_instance_options, parameter_options, wait_option
from .output import CLIError
from .parameters import read_parameters
from .state_file import KnownBinding, KnownInstance, Pending


@click.command(epilog="\b\nExample:\n  brokerkit bind orders shop --app 6cd3a6bb-4b5e-4f6a-9d5c-52f6a8d3b1c7")
@click.argument("name")
@click.argument("binding", required=False)
@click.option("--id", "binding_id", help="The id of the binding. Defaults to a new UUID.")
@click.option("--app", metavar="GUID", help="The application that uses the binding.")
@click.option("--rotate", metavar="PREDECESSOR", help="The binding to replace, by name or id.")
@parameter_options
@wait_option
@foreign_instance_options
@broker_options
def bind(
    context: CommandContext,
    name: str,
    binding: str | None,
    binding_id: str | None,
    app: str | None,
    rotate: str | None,
    pairs: tuple[str, ...],
    document: str | None,
    wait: bool,
    offering: str | None,
    plan: str | None,
) -> None:
    """Create a service binding of the service instance NAME and show its credentials.

    BINDING is a name of your choice for the other commands. It defaults to a generated name.

    If the credentials cannot be fetched again from the broker, they are stored for 'brokerkit credentials'.
    'brokerkit services --help' describes the file.
    """
    parameters = read_parameters(pairs, document)
    instance = context.find(name, offering, plan)
    chosen = context.find_plan(instance)
    taken_names = {record.name for record in instance.bindings.values()}
    pending = Pending(kind=Operation.BIND)
    record = KnownBinding(
        name=new_name(taken_names) if binding is None else check_id(binding),
        binding_id=str(uuid4()) if binding_id is None else check_id(binding_id),
        pending=pending,
    )
    predecessor = None if rotate is None else context.find_binding(instance, rotate).binding_id
    context.state_file.add_binding(context.url, instance, record)
    change = Change(context, Subject(instance, record), pending)
    result = change.run(
        lambda: context.client.bind(
            instance.instance_id,
            record.binding_id,
            instance.service_id,
            instance.plan_id,
            parameters=parameters,
            app_guid=app,
            predecessor=predecessor,
        ),
        wait=wait,
        plan=None if chosen is None else chosen.plan,
    )
    _show(context, change.current, result)


@click.command(epilog="\b\nExample:\n  brokerkit unbind orders shop")
@click.argument("name")
@click.argument("binding")
@wait_option
@foreign_instance_options
@broker_options
def unbind(
    context: CommandContext, name: str, binding: str, wait: bool, offering: str | None, plan: str | None
) -> None:
    """Delete the service binding BINDING of the service instance NAME."""
    instance = context.find(name, offering, plan)
    change = delete(context, Subject(instance, context.find_binding(instance, binding)), wait=wait)
    if change.done:
        show_deleted(*change.subject, as_json=context.output.as_json)
    else:
        _show(context, change.current, None)


@click.command(epilog="\b\nExample:\n  brokerkit credentials orders shop --json")
@click.argument("name")
@click.argument("binding", required=False)
@foreign_instance_options
@broker_options
def credentials(
    context: CommandContext, name: str, binding: str | None, offering: str | None, plan: str | None
) -> None:
    """Show the credentials of the service binding BINDING of the service instance NAME.

    BINDING is optional if the instance has only one. The credentials are fetched from the broker if it
    supports that.
    """
    instance = context.find(name, offering, plan)
    record = _only_binding(instance) if binding is None else context.find_binding(instance, binding)
    if record.result is not None:
        result = record.result
    else:
        try:
            result = binding_document(fetch(context, instance, record))
        except ClientError as error:
            raise cli_error_of(error) from None
    show_binding(instance, record, result, as_json=context.output.as_json)


def _only_binding(instance: KnownInstance) -> KnownBinding:
    match [*instance.bindings.values()]:
        case [only]:
            return only
        case []:
            raise CLIError(f"{instance.name} has no bindings", error="NotFound")
        case several:
            names = ", ".join(record.name for record in several)
            raise CLIError(f"{instance.name} has several bindings; give one of: {names}", error="NotFound")


def _show(context: CommandContext, subject: Subject, result: Any) -> None:
    instance, record = subject
    assert record is not None, "the subject must be a binding"
    document = binding_document(result) if isinstance(result, Binding) else None
    show_binding(instance, record, document, as_json=context.output.as_json)
