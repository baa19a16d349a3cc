"""What authors of brokers need, and no broker is asked for: ids, hashes, the faults of a catalog file."""

from __future__ import annotations

import sys
from typing import NamedTuple
from uuid import uuid4

import click

from .._internal import console as display
from ..catalog.models import Catalog, CatalogError, suppress_warnings
from .options import json_option
from .output import CLIError, Output, can_prompt


@click.command(epilog="\b\nExample:\n  brokerkit new-id 3")
@click.argument("number", metavar="[N]", type=click.IntRange(1, 10_000), default=1)
def new_id(number: int) -> None:
    """Make N ids, one if not told, for the offerings and plans of a catalog."""
    for _ in range(number):
        click.echo(str(uuid4()))


_OF_THE_BROKER = "It is for the broker's environment; in yours, BROKER_PASSWORD is what you log in with."


@click.command(epilog=f"\b\nExample:\n  brokerkit hash-password\n\n{_OF_THE_BROKER}")
def hash_password() -> None:
    """Make a hash of a password, which BasicAuth takes in its place.

    The password is asked for, or read from stdin if that is no terminal; a newline at its end is not of it.
    """
    from werkzeug.security import generate_password_hash

    if can_prompt():
        password = click.prompt("Password", hide_input=True, confirmation_prompt="Once more", err=True)
    else:
        password = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if not password:
        raise CLIError("the password is empty", error="EmptyPassword")
    click.echo(generate_password_hash(password))


class _Verdict(NamedTuple):
    file: str
    faults: tuple[str, ...]
    warnings: tuple[str, ...]


@click.command(epilog="\b\nExample:\n  brokerkit lint --strict catalog.yml")
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False)
)
@click.option("--strict", is_flag=True, help="Exit with 1 also for warnings.")
@json_option
def lint(files: tuple[str, ...], strict: bool, as_json: bool) -> None:
    """Find the faults of catalog files (YAML, JSON or TOML), each with its place.

    A warning is of what only Cloud Foundry refuses, of what is not recommended, or of a field that the API
    does not have. The exit code is 1 if there are faults.
    """
    talk = Output(as_json=as_json, verbose=False)
    with talk.telling():
        verdicts = [_judge(file) for file in files]
        if as_json:
            display.print_json([verdict._asdict() for verdict in verdicts])
        for verdict in [] if as_json else verdicts:
            for kind, colour, lines in (
                ("fault", "red", verdict.faults),
                ("warning", "yellow", verdict.warnings),
            ):
                for line in lines:
                    display.print_text(f"{verdict.file}: {kind}: {' '.join(line.split())}", colour=colour)
            if not verdict.faults and not verdict.warnings:
                talk.note(f"{verdict.file} has no faults.")
        if any(verdict.faults or (strict and verdict.warnings) for verdict in verdicts):
            click.get_current_context().exit(1)


def _judge(file: str) -> _Verdict:
    try:
        with suppress_warnings():
            return _Verdict(file, (), Catalog.from_file(file).warnings)
    except CatalogError as error:
        return _Verdict(file, error.faults, ())
    except OSError as error:
        return _Verdict(file, (f"cannot be read: {error.strerror}",), ())
    except ModuleNotFoundError as error:
        raise CLIError(str(error), error="NotInstalled", code=2) from None  # 1 is said of catalogs
