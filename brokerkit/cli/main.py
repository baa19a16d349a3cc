"""`brokerkit …`: finds the commands, and loads only the one that is asked for."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import NamedTuple

import click

_EXTRAS = frozenset({"requests", "rich", "urllib3"})


class _Row(NamedTuple):
    """A command that is not loaded yet.

    Args:
        section: Under which heading the help has it.
        module: Where it is; its name there is that of the command, with underscores.
        sentence: What the help says of it.
    """

    section: str
    module: str
    sentence: str


_TRY, _MAKE = "Try a service broker", "Build one"
_COMMANDS = {
    "catalog": _Row(_TRY, "catalog", "Show what a broker offers."),
    "provision": _Row(_TRY, "instances", "Make a service instance."),
    "update": _Row(_TRY, "instances", "Change a service instance."),
    "deprovision": _Row(_TRY, "instances", "Delete a service instance."),
    "bind": _Row(_TRY, "bindings", "Make a service binding, and show its credentials."),
    "unbind": _Row(_TRY, "bindings", "Delete a service binding."),
    "credentials": _Row(_TRY, "bindings", "Show the credentials of a service binding."),
    "poll": _Row(_TRY, "poll", "Wait for what is in progress."),
    "services": _Row(_TRY, "services", "List what this command made."),
    "check": _Row(_MAKE, "check", "Check a broker against the API."),
    "lint": _Row(_MAKE, "tools", "Find the faults of catalog files."),
    "new-id": _Row(_MAKE, "tools", "Make ids for a catalog."),
    "hash-password": _Row(_MAKE, "tools", "Make a hash that BasicAuth takes for a password."),
}


class _Commands(click.Group):
    """Commands that are loaded when they are asked for; help needs none of them."""

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
            needs = (
                f"'brokerkit {cmd_name}' needs the package {error.name}: pip install 'osb-brokerkit[check]'"
            )
            raise click.ClickException(needs) from None
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section in (_TRY, _MAKE):
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
    """Be a service broker's platform, or its author.

    Results go to stdout, all else to stderr. The exit code is 0; 1 if something was refused or went wrong; 2
    if the command was written wrong; 130 after Ctrl-C.
    """


def main() -> None:
    """Run the command that the arguments name, and exit."""
    try:
        "".join(sys.argv).encode()
    except UnicodeEncodeError:
        click.echo("Error: an argument is not in the encoding of this terminal", err=True)
        sys.exit(2)
    cli(prog_name="brokerkit")
