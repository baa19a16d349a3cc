"""`brokerkit poll`: wait for an operation that --no-wait, Ctrl-C or a crash left in progress."""

from __future__ import annotations

import click

from .._internal import console
from ..client.client import ClientError
from .change import Change, Subject, wait_for_operation
from .context import CommandContext
from .errors import cli_error_of
from .formatting import show_binding, show_deleted, show_instance
from .options import broker_options, foreign_instance_options


@click.command(epilog="\b\nExample:\n  brokerkit poll orders")
@click.argument("name")
@click.argument("binding", required=False)
@foreign_instance_options
@broker_options
def poll(
    context: CommandContext, name: str, binding: str | None, offering: str | None, plan: str | None
) -> None:
    """Wait for the operation in progress on the service instance NAME, or on its binding BINDING.

    The command continues after --no-wait or Ctrl-C, without a time limit.
    """
    instance = context.find(name, offering, plan)
    subject = Subject(instance, None if binding is None else context.find_binding(instance, binding))
    pending = subject.record.pending
    if pending is None:
        _poll_last_operation(context, subject)
        return
    change = Change(context, subject, pending)
    change.wait()
    instance, binding_record = change.current
    if pending.is_deletion:
        show_deleted(instance, binding_record, as_json=context.output.as_json)
    elif binding_record is None:
        show_instance(context.url, instance, as_json=context.output.as_json)
    else:
        show_binding(instance, binding_record, None, as_json=context.output.as_json)


def _poll_last_operation(context: CommandContext, subject: Subject) -> None:
    """Wait for the last operation of a resource that has none in progress in the state file."""
    try:
        operation = wait_for_operation(context, subject, None)
    except ClientError as error:
        raise cli_error_of(error) from None
    if context.output.as_json:
        console.print_json(
            {"name": subject.name, "state": operation.state, "description": operation.description}
        )
    else:
        suffix = f": {operation.description}" if operation.description else ""
        console.print_text(f"The last operation of {subject.name} {operation.state}{suffix}")
