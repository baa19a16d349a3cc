"""The options that commands share; and which broker to speak to, how and as whom."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import click

from ..client.platforms import PLATFORMS
from .login import Option, given_login, given_verify, options, with_login
from .output import CLIError, Output
from .state_file import StateFile

MITIGATE_FOR = 60.0
"""For how many seconds it is tried to delete what an order that went wrong may have left (R-ERR-4)."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document, for programs.")
parameter_options: tuple[Option, ...] = (
    click.option(
        "-p",
        "--parameter",
        "pairs",
        metavar="NAME=VALUE",
        multiple=True,
        help="A parameter; JSON if it is some, else text. Dots nest: disk.size=3. Can be repeated.",
    ),
    click.option(
        "-c",
        "--parameters",
        "document",
        metavar="JSON",
        help="All of them: '{…}', @file.json, or @- for stdin.",
    ),
)
wait_option = click.option(
    "--wait/--no-wait", default=True, help="Wait until it is through; 'brokerkit poll' can do that later."
)
_kind_options: tuple[Option, ...] = (
    click.option("--service", metavar="OFFERING", help="The offering of an instance of someone else."),
    click.option("--plan", metavar="PLAN", help="The plan of an instance of someone else."),
)
_CONNECTION: tuple[Option, ...] = (
    click.option("--url", required=True, envvar="BROKER_URL", show_envvar=True, help="Where the broker is."),
    with_login,
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=60.0,
        show_default=True,
        help="How many seconds an answer may take.",
    ),
    click.option("-v", "--verbose", is_flag=True, help="Show each request and its answer, and as curl."),
    json_option,
)


with_parameters = options(*parameter_options)
of_someone_else = options(*_kind_options)


def broker_options(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say which broker to ask, and as its first argument the desk."""

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
        **given: Any,
    ) -> None:
        from ..client.client import BrokerClient
        from .context import CommandContext

        talk = Output(as_json=as_json, verbose=verbose)
        with talk.telling():
            if not as_json and find_spec("rich") is None:
                raise CLIError(
                    "the output needs the package rich: pip install 'osb-brokerkit[check]', or use --json",
                    error="NotInstalled",
                )
            login = given_login(username, password, token)
            try:
                client = BrokerClient(
                    url,
                    **login._asdict(),
                    platform=PLATFORMS[platform]() if platform else None,
                    timeout=timeout,
                    mitigate_for=MITIGATE_FOR,
                    verify=given_verify(ca_file, insecure=insecure),
                    observe=talk.show,
                )
            except ValueError as error:
                raise click.UsageError(str(error)) from None
            function(CommandContext(client, StateFile.of_user(), talk), **given)

    return options(*_CONNECTION)(run)
