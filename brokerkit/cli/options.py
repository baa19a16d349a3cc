"""The options that several commands share, and the context that is built from them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import click

from ..client.platforms import PLATFORMS
from .login import combine, login_options, resolve_login, resolve_verify
from .output import CLIError, Output
from .state_file import StateFile

MITIGATE_FOR = 60.0
"""Seconds for which to try to delete the remains of a failed provision or bind (R-ERR-4)."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print a JSON document, for programs.")
parameter_options = combine(
    click.option(
        "-p",
        "--parameter",
        "pairs",
        metavar="NAME=VALUE",
        multiple=True,
        help="A parameter. VALUE is parsed as JSON, or is text. Dots nest: disk.size=3. Can be repeated.",
    ),
    click.option(
        "-c",
        "--parameters",
        "document",
        metavar="JSON",
        help="All parameters: '{…}', @file.json, or @- for stdin.",
    ),
)
wait_option = click.option(
    "--wait/--no-wait",
    default=True,
    help="Wait for the operation to finish. 'brokerkit poll' waits for it later.",
)
foreign_instance_options = combine(
    click.option("--offering", metavar="OFFERING", help="The offering of an instance created elsewhere."),
    click.option("--plan", metavar="PLAN", help="The plan of an instance created elsewhere."),
)
_connection_options = combine(
    click.option(
        "--url", required=True, envvar="BROKER_URL", show_envvar=True, help="The URL of the broker."
    ),
    login_options,
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=60.0,
        show_default=True,
        help="Seconds to wait for a response.",
    ),
    click.option("-v", "--verbose", is_flag=True, help="Show requests, responses and curl commands."),
    json_option,
)


def broker_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options of the connection to a command, and pass a `CommandContext` as its first argument."""

    @functools.wraps(function)
    def run(
        url: str,
        username: str | None,
        password: str | None,
        token: str | None,
        platform: str | None,
        ca_file: str | None,
        insecure: bool,
        timeout: float,
        verbose: bool,
        as_json: bool,
        **arguments: Any,
    ) -> None:
        from ..client.client import BrokerClient
        from .context import CommandContext

        output = Output(as_json=as_json, verbose=verbose)
        with output.report_errors():
            if not as_json and find_spec("rich") is None:
                raise CLIError(
                    "the output needs the package rich: pip install 'osb-brokerkit[check]', or use --json",
                    error="NotInstalled",
                )
            login = resolve_login(username, password, token)
            try:
                client = BrokerClient(
                    url,
                    **login._asdict(),
                    platform=PLATFORMS[platform]() if platform else None,
                    timeout=timeout,
                    mitigate_for=MITIGATE_FOR,
                    verify=resolve_verify(ca_file, insecure=insecure),
                    observe=output.show,
                )
            except ValueError as error:
                raise click.UsageError(str(error)) from None
            function(CommandContext(client, StateFile.for_user(), output), **arguments)

    return _connection_options(run)
