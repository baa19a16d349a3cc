"""The commands for authors of brokers that send no requests: `new-id`, `hash-password` and `lint`."""

from __future__ import annotations

import sys
from typing import NamedTuple
from uuid import uuid4

import click

from .._internal import console
from ..catalog.models import Catalog, CatalogError, suppress_warnings
from .options import json_option
from .output import CLIError, Output, can_prompt


@click.command(epilog="\b\nExample:\n  brokerkit new-id 3")
@click.argument("number", metavar="[N]", type=click.IntRange(1, 10_000), default=1)
def new_id(number: int) -> None:
    """Generate N ids for the offerings and plans of a catalog. N defaults to 1."""
    for _ in range(number):
        click.echo(str(uuid4()))


_HASH_NOTE = (
    "Set the hash in the broker's environment. In your own, BROKER_PASSWORD is the password to log in with."
)


@click.command(epilog=f"\b\nExample:\n  brokerkit hash-password\n\n{_HASH_NOTE}")
def hash_password() -> None:
    """Hash a password. BasicAuth accepts the hash in place of the password.

    The command prompts for the password, or reads it from stdin if stdin is not a terminal. A newline at the
    end is removed.
    """
    from werkzeug.security import generate_password_hash

    if can_prompt():
        password = click.prompt(
            "Password", hide_input=True, confirmation_prompt="Repeat the password", err=True
        )
    else:
        password = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if not password:
        raise CLIError("the password is empty", error="EmptyPassword")
    click.echo(generate_password_hash(password))


class _LintResult(NamedTuple):
    file: str
    faults: tuple[str, ...]
    warnings: tuple[str, ...]


@click.command(epilog="\b\nExample:\n  brokerkit lint --strict catalog.yml")
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False)
)
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings too.")
@json_option
def lint(files: tuple[str, ...], strict: bool, as_json: bool) -> None:
    """Find faults in catalog files (YAML, JSON or TOML), and print each with its location.

    There are warnings for content that only Cloud Foundry refuses, for content that the API does not
    recommend, and for fields that the API does not define. The exit code is 1 if there are faults.
    """
    output = Output(as_json=as_json, verbose=False)
    with output.report_errors():
        results = [_lint(file) for file in files]
        if as_json:
            console.print_json([result._asdict() for result in results])
        for result in [] if as_json else results:
            for kind, colour, lines in (
                ("fault", "red", result.faults),
                ("warning", "yellow", result.warnings),
            ):
                for line in lines:
                    console.print_text(f"{result.file}: {kind}: {' '.join(line.split())}", colour=colour)
            if not result.faults and not result.warnings:
                output.note(f"{result.file} has no faults.")
        if any(result.faults or (strict and result.warnings) for result in results):
            click.get_current_context().exit(1)


def _lint(file: str) -> _LintResult:
    try:
        with suppress_warnings():
            return _LintResult(file, (), Catalog.from_file(file).warnings)
    except CatalogError as error:
        return _LintResult(file, error.faults, ())
    except OSError as error:
        return _LintResult(file, (f"cannot be read: {error.strerror}",), ())
    except ModuleNotFoundError as error:
        raise CLIError(str(error), error="NotInstalled", code=2) from None  # 1 is for faults in catalogs
