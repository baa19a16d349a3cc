"""The `brokerkit` command group, which imports only the module of the requested command."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import NamedTuple

import click

_EXTRAS = frozenset({"requests", "rich", "urllib3"})


class _Row(NamedTuple):
    """A row of the table of commands.

    Args:
        section: The heading in the help.
        module: The module that defines the command, under its name with underscores.
        sentence: The description in the help.
    """

    section: str
    module: str
    sentence: str


_USE, _DEVELOP = "Use a service broker", "Develop a service broker"
_COMMANDS = {
    "catalog": _Row(_USE, "catalog", "List the offerings and plans of a broker."),
    "provision": _Row(_USE, "instances", "Create a service instance."),
    "update": _Row(_USE, "instances", "Update a service instance."),
    "deprovision": _Row(_USE, "instances", "Delete a service instance."),
    "bind": _Row(_USE, "bindings", "Create a service binding and show its credentials."),
    "unbind": _Row(_USE, "bindings", "Delete a service binding."),
    "credentials": _Row(_USE, "bindings", "Show the credentials of a service binding."),
    "poll": _Row(_USE, "poll", "Wait for an operation in progress."),
    "services": _Row(_USE, "services", "List the instances that this command created."),
    "check": _Row(_DEVELOP, "check", "Check a broker against the API."),
    "lint": _Row(_DEVELOP, "tools", "Find faults in catalog files."),
    "new-id": _Row(_DEVELOP, "tools", "Generate ids for a catalog."),
    "hash-password": _Row(_DEVELOP, "tools", "Hash a password for BasicAuth."),
}


class _Commands(click.Group):
    """A group that imports a command on first use. Its help imports no command."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        row = _COMMANDS.get(cmd_name)
        if row is None:
            return None
        try:
            module = import_module(f".{row.module}", __package__)
        except ModuleNotFoundError as error:
            if error.name not in _EXTRAS:
                raise
            message = (
                f"'brokerkit {cmd_name}' needs the package {error.name}: pip install 'osb-brokerkit[check]'"
            )
            raise click.ClickException(message) from None
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section in (_USE, _DEVELOP):
            with formatter.section(section):
                formatter.write_dl(
                    [(name, row.sentence) for name, row in _COMMANDS.items() if row.section == section]
                )


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nExample:\n  export BROKER_URL=http://127.0.0.1:8080 BROKER_USERNAME=platform\n"
    "  brokerkit provision hello-db small orders\n  brokerkit bind orders\n  brokerkit deprovision orders",
)
@click.version_option(
    sys.modules[__name__.partition(".")[0]].__version__, prog_name="brokerkit", message="%(prog)s %(version)s"
)
def cli() -> None:
    """Use a service broker as a platform does, or develop one.

    Results go to stdout, and everything else to stderr. The exit code is 0 on success, 1 if a request was
    refused or failed, 2 if the command line is invalid, and 130 after Ctrl-C.
    """


def main() -> None:
    """Run the command of `sys.argv`, and exit."""
    try:
        "".join(sys.argv).encode()
    except UnicodeEncodeError:
        click.echo("Error: an argument is not in the encoding of the terminal", err=True)
        sys.exit(2)
    cli(prog_name="brokerkit")
