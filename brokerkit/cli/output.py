"""What a command says beside its result: on stderr, and never into the JSON of a script."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import click

from .._internal import console as display
from .._internal.text import printable
from ..client.exchange import Exchange

if TYPE_CHECKING:
    from rich.console import Console


class CLIError(click.ClickException):
    """Why a command ends without a result.

    Args:
        told: What is wrong, in a sentence.
        error: A word for it, for programs; the broker's own, if it is the broker's.
        description: What is wrong, for programs; `told` unless given.
        status: That of the broker's answer.
        hints: What to do about it, a line each.
        code: The exit code.
    """

    def __init__(
        self,
        told: str,
        *,
        error: str | None,
        description: str | None = None,
        status: int | None = None,
        hints: tuple[str, ...] = (),
        code: int = 1,
    ) -> None:
        super().__init__(" ".join(told.split()))
        self.error, self.status, self.hints = error, status, hints
        self.description = description or self.message
        self.exit_code = code  # type: ignore[misc]  # click reads it of the instance
        self.as_json = False

    def show(self, file: IO[Any] | None = None) -> None:
        """Say it on stderr: in red, or as a JSON object on one line."""
        if self.as_json:
            told = {"error": self.error, "description": self.description, "status": self.status}
            click.echo(json.dumps(told | ({"hints": self.hints} if self.hints else {})), err=True)
            return
        if self.exit_code == INTERRUPTED:
            display.print_note(self.message)
        else:
            display.print_error(f"Error: {self.message}")
        for hint in self.hints:
            display.print_note(hint)


INTERRUPTED = 130
"""The exit code after Ctrl-C, as of a shell."""


def interrupted(told: str, *hints: str) -> CLIError:
    """What to say after Ctrl-C."""
    return CLIError(told, error="Interrupted", hints=hints, code=INTERRUPTED)


def can_prompt() -> bool:
    """Is there somebody at the keyboard?"""
    return sys.stdin.isatty()


class Output:
    """How much a command says, and to whom.

    Args:
        as_json: Is it asked by a program? Then nothing is said but its result, or its fault.
        verbose: Show each request and its answer?
    """

    def __init__(self, *, as_json: bool, verbose: bool) -> None:
        self.as_json, self.verbose = as_json, verbose
        #: Where a line is kept up to date, as long as one is; what is said goes above it.
        self.live: Console | None = None
        #: What is being made; a DELETE that is sent meanwhile is of what a failure may have left (R-ERR-4).
        self.making: str | None = None
        #: What went wrong beside the result; it is told when the result is.
        self.late: CLIError | None = None

    def note(self, text: str) -> None:
        """Say a sentence, unless to a program."""
        if not self.as_json:
            self._say(text)

    def show(self, exchange: Exchange) -> None:
        """Show a request and its answer, if that is wanted or somebody waits for it; secrets are masked."""
        if self.verbose:
            self._say(f"> {exchange.request_line} {exchange.body_text}".rstrip())
            self._say(f"< {exchange.response_line} ({exchange.seconds:.2f} s)")
            self._say(f"  {exchange.curl}")
        if self.making and exchange.method == "DELETE" and exchange.status not in (200, 202, 410):
            self.note(f"Cannot clean up {self.making} yet ({exchange.response_line}); retrying")

    def _say(self, text: str) -> None:
        if self.live is None:
            display.print_note(text)
        else:
            self.live.out(printable(text), highlight=False)

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Tell what goes wrong inside to whom it concerns."""
        try:
            yield
            if self.late is not None:
                raise self.late
        except CLIError as fault:
            fault.as_json = self.as_json
            if self.late not in (None, fault):
                fault.hints += (self.late.message, *self.late.hints)
            raise
        except KeyboardInterrupt:
            end = interrupted("Interrupted.")
            end.as_json = self.as_json
            raise end from None
