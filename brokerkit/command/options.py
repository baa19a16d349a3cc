"""The options that commands share; and which broker to speak to, how and as whom."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

import click
from click.core import ParameterSource

from .. import _display as display
from ..platforms import Platform, cloudfoundry, korifi, kubernetes
from .memory import Memory
from .talk import Fault, Talk, can_be_asked

Option = Callable[[Callable[..., None]], Callable[..., None]]

MITIGATE_FOR = 60.0
"""For how many seconds it is tried to delete what an order that went wrong may have left (R-ERR-4)."""

_PLATFORMS: dict[str, Callable[[], Platform]] = {
    "cloudfoundry": cloudfoundry,
    "korifi": korifi,
    "kubernetes": kubernetes,
}

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
    click.option("--username", envvar="BROKER_USERNAME", show_envvar=True, help="For basic authentication."),
    click.option(
        "--password",
        envvar="BROKER_PASSWORD",
        show_envvar=True,
        help="Others can see what is typed here; leave it out to be asked for it.",
    ),
    click.option("--token", envvar="BROKER_TOKEN", show_envvar=True, help="A bearer token instead."),
    click.option("--platform", type=click.Choice(list(_PLATFORMS)), help="Ask as this platform does."),
    click.option("--ca-file", type=click.Path(exists=True, dir_okay=False), help="Certificates to trust."),
    click.option("--insecure", is_flag=True, help="Trust any certificate."),
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


def options(*each: Option) -> Option:
    """Options as one decorator, in this order."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(each):
            function = option(function)
        return function

    return decorate


with_parameters = options(*parameter_options)
of_someone_else = options(*_kind_options)


def at_a_broker(function: Callable[..., None]) -> Callable[..., None]:
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
        from ..client import BrokerClient
        from .desk import Desk

        talk = Talk(as_json=as_json, verbose=verbose)
        with talk.telling():
            if not as_json and find_spec("rich") is None:
                raise Fault("this needs rich: pip install requests rich; or use --json", error="NotInstalled")
            login = _login(_Login(username, password, token))
            try:
                client = BrokerClient(
                    url,
                    username=login.username,
                    password=login.password,
                    token=login.token,
                    platform=_PLATFORMS[platform]() if platform else None,
                    timeout=timeout,
                    mitigate_for=MITIGATE_FOR,
                    verify=_verify(ca_file, insecure=insecure),
                    observe=talk.show,
                )
            except ValueError as error:
                raise click.UsageError(str(error)) from None
            function(Desk(client, Memory.of_user(), talk), **given)

    return options(*_CONNECTION)(run)


class _Login(NamedTuple):
    username: str | None
    password: str | None
    token: str | None


def _login(told: _Login) -> _Login:
    """How to authenticate: what was typed wins over what the environment has."""
    if _typed("token"):
        told = told._replace(**{name: None for name in ("username", "password") if not _typed(name)})
    elif _typed("username") or _typed("password"):
        told = told._replace(token=None)
    if told.username is not None and told.password is None and told.token is None and can_be_asked():
        question = f"Password of {display.printable(told.username)}"
        return told._replace(password=click.prompt(question, hide_input=True, err=True))
    return told


def _typed(name: str) -> bool:
    source = click.get_current_context().get_parameter_source(name)
    return source is ParameterSource.COMMANDLINE


def _verify(ca_file: str | None, *, insecure: bool) -> bool | str:
    """What certificates are good."""
    if not insecure:
        return ca_file or True
    if ca_file is not None:
        raise click.UsageError("give --insecure or --ca-file, not both")
    from urllib3 import disable_warnings

    disable_warnings()  # who says --insecure knows
    return False
