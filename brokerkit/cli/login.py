"""The options for access to a broker: the login, the platform to imitate, the certificates."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import click
from click.core import ParameterSource

from .._internal.text import printable
from ..client.platforms import PLATFORMS
from .output import can_prompt

Option = Callable[[Callable[..., None]], Callable[..., None]]


class Login(NamedTuple):
    """The username and password, or the token, of a login (R-REQ-2)."""

    username: str | None
    password: str | None
    token: str | None


def combine(*options: Option) -> Option:
    """Combine options to one decorator. The help lists them in this order."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


login_options = combine(
    click.option(
        "--username",
        envvar="BROKER_USERNAME",
        show_envvar=True,
        help="The username for basic authentication.",
    ),
    click.option(
        "--password",
        envvar="BROKER_PASSWORD",
        show_envvar=True,
        help="The password. Other users can read a command line; omit this option to be prompted.",
    ),
    click.option(
        "--token",
        envvar="BROKER_TOKEN",
        show_envvar=True,
        help="A bearer token, in place of a username and password.",
    ),
    click.option("--platform", type=click.Choice(list(PLATFORMS)), help="The platform to imitate."),
    click.option(
        "--ca-file",
        type=click.Path(exists=True, dir_okay=False),
        help="A file with the certificates to trust.",
    ),
    click.option("--insecure", is_flag=True, help="Trust any certificate."),
)


def resolve_login(username: str | None, password: str | None, token: str | None) -> Login:
    """Resolve the login from the options and environment variables, and prompt for a missing password.

    A kind of login on the command line takes precedence over another kind in the environment.

    Raises:
        click.UsageError: The login is incomplete or ambiguous.
    """
    if _is_on_command_line("token") and not _has_basic_on_command_line():
        username = password = None
    elif _has_basic_on_command_line() and not _is_on_command_line("token"):
        token = None
    if token is not None and (username is not None or password is not None):
        raise click.UsageError("give a username and password, or a token, not both")
    if username is None and password is not None:
        raise click.UsageError("the password needs a username; give --username too")
    if username is not None and password is None:
        if not can_prompt():
            raise click.UsageError("the username needs a password; set BROKER_PASSWORD")
        password = click.prompt(f"Password of {printable(username)}", hide_input=True, err=True)
    return Login(username, password, token)


def _has_basic_on_command_line() -> bool:
    return _is_on_command_line("username") or _is_on_command_line("password")


def _is_on_command_line(option: str) -> bool:
    return click.get_current_context().get_parameter_source(option) is ParameterSource.COMMANDLINE


def resolve_verify(ca_file: str | None, *, insecure: bool) -> bool | str:
    """Return the `verify` argument of the client: the file to trust, or whether to verify certificates.

    Raises:
        click.UsageError: Both options are given.
    """
    if not insecure:
        return ca_file or True
    if ca_file is not None:
        raise click.UsageError("give --insecure or --ca-file, not both")
    from urllib3 import disable_warnings

    disable_warnings()  # --insecure is an explicit choice
    return False
