"""The options that say how to come to a broker: the login, the platform to be, the certificates."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import click
from click.core import ParameterSource

from .._internal.text import printable
from ..client.platforms import PLATFORMS
from .output import can_prompt

Option = Callable[[Callable[..., None]], Callable[..., None]]


class LoginOptions(NamedTuple):
    """How to authenticate (R-REQ-2)."""

    username: str | None
    password: str | None
    token: str | None


def options(*each: Option) -> Option:
    """Options as one decorator, in this order."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(each):
            function = option(function)
        return function

    return decorate


with_login = options(
    click.option("--username", envvar="BROKER_USERNAME", show_envvar=True, help="For basic authentication."),
    click.option(
        "--password",
        envvar="BROKER_PASSWORD",
        show_envvar=True,
        help="Others can see what is typed here; leave it out to be asked for it.",
    ),
    click.option("--token", envvar="BROKER_TOKEN", show_envvar=True, help="A bearer token instead."),
    click.option("--platform", type=click.Choice(list(PLATFORMS)), help="Ask as this platform does."),
    click.option("--ca-file", type=click.Path(exists=True, dir_okay=False), help="Certificates to trust."),
    click.option("--insecure", is_flag=True, help="Trust any certificate."),
)


def given_login(username: str | None, password: str | None, token: str | None) -> LoginOptions:
    """How to authenticate: what was typed wins over what the environment has.

    Raises:
        click.UsageError: It is half told, or told twice.
    """
    if _typed("token") and not (_typed("username") or _typed("password")):
        username = password = None
    elif (_typed("username") or _typed("password")) and not _typed("token"):
        token = None
    if token is not None and (username is not None or password is not None):
        raise click.UsageError("give a username and password, or a token, not both")
    if username is None and password is not None:
        raise click.UsageError("whose password is it? Give --username too")
    if username is not None and password is None:
        if not can_prompt():
            raise click.UsageError("give a password too; best in BROKER_PASSWORD")
        password = click.prompt(f"Password of {printable(username)}", hide_input=True, err=True)
    return LoginOptions(username, password, token)


def _typed(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def given_verify(ca_file: str | None, *, insecure: bool) -> bool | str:
    """Which certificates are good.

    Raises:
        click.UsageError: Both are told.
    """
    if not insecure:
        return ca_file or True
    if ca_file is not None:
        raise click.UsageError("give --insecure or --ca-file, not both")
    from urllib3 import disable_warnings

    disable_warnings()  # who says --insecure knows
    return False
