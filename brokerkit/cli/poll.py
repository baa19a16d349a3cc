"""`brokerkit poll`: goes on where --no-wait, Ctrl-C or a crash left off."""

from __future__ import annotations

import click

from .._internal import console as display
from ..client.client import ClientError
from .change import Change, Subject, follow
from .context import CommandContext
from .errors import cli_error_of
from .formatting import show_binding, show_deleted, show_instance
from .options import broker_options, of_someone_else


@click.command(epilog="\b\nExample:\n  brokerkit poll orders")
@click.argument("name")
@click.argument("binding", required=False)
@of_someone_else
@broker_options
def poll(desk: CommandContext, name: str, binding: str | None, service: str | None, plan: str | None) -> None:
    """Wait for what is in progress on the service instance NAME, or on one BINDING of it.

    This goes on where --no-wait or Ctrl-C left it, for however long it takes.
    """
    instance = desk.find(name, service, plan)
    subject = Subject(instance, None if binding is None else desk.find_binding(instance, binding))
    pending = subject.known.pending
    if pending is None:
        _ask(desk, subject)
        return
    undertaking = Change(desk, subject, pending)
    undertaking.wait()
    instance, known = undertaking.now
    if pending.is_deletion:
        show_deleted(instance, known, as_json=desk.talk.as_json)
    elif known is None:
        show_instance(desk.url, instance, as_json=desk.talk.as_json)
    else:
        show_binding(instance, known, None, as_json=desk.talk.as_json)


def _ask(desk: CommandContext, subject: Subject) -> None:
    """Poll for an operation that is not remembered."""
    try:
        found = follow(desk, subject, None)
    except ClientError as error:
        raise cli_error_of(error) from None
    if desk.talk.as_json:
        display.print_json({"name": subject.name, "state": found.state, "description": found.description})
    else:
        more = f": {found.description}" if found.description else ""
        display.print_text(f"The last operation of {subject.name} {found.state}{more}")
