"""Output on stderr: notes, errors and requests. The JSON on stdout stays free of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import click

from .._internal import console
from .._internal.text import printable
from ..client.exchange import Exchange

if TYPE_CHECKING:
    from rich.console import Console


class CLIError(click.ClickException):
    """An error that ends a command without a result.

    Args:
        message: The error message, a sentence.
        error: An error code for programs. The broker's own code if the broker refused the request.
        description: The error message for programs. Defaults to `message`.
        status: The status code of the broker's response. Defaults to None, for no response.
        hints: Sentences that say what to do, one per line.
        code: The exit code. Defaults to 1.
    """

    def __init__(
        self,
        message: str,
        *,
        error: str | None,
        description: str | None = None,
        status: int | None = None,
        hints: tuple[str, ...] = (),
        code: int = 1,
    ) -> None:
        super().__init__(" ".join(message.split()))
        self.error, self.status, self.hints = error, status, hints
        self.description = description or self.message
        self.exit_code = code  # type: ignore[misc]  # click reads the attribute of the instance
        self.as_json = False

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the error to stderr: in red, or as a JSON object on one line."""
        if self.as_json:
            document = {"error": self.error, "description": self.description, "status": self.status}
            click.echo(json.dumps(document | ({"hints": self.hints} if self.hints else {})), err=True)
            return
        if self.exit_code == INTERRUPTED:
            console.print_note(self.message)
        else:
            console.print_error(f"Error: {self.message}")
        for hint in self.hints:
            console.print_note(hint)


INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells define it."""


def interrupted(message: str, *hints: str) -> CLIError:
    """Build the error for Ctrl-C."""
    return CLIError(message, error="Interrupted", hints=hints, code=INTERRUPTED)


def can_prompt() -> bool:
    """Whether the command can prompt the user, because stdin is a terminal."""
    return sys.stdin.isatty()


class Output:
    """Output of a command on stderr.

    Args:
        as_json: Whether a program reads the output. It gets only the result or the error.
        verbose: Whether to show each request and its response.
    """

    def __init__(self, *, as_json: bool, verbose: bool) -> None:
        self.as_json, self.verbose = as_json, verbose
        #: The console of the current progress line, if there is one. Notes are printed above that line.
        self.console: Console | None = None
        #: The name of the resource that is being created. A DELETE request meanwhile is orphan mitigation
        #: (R-ERR-4).
        self.creating: str | None = None
        #: An error of the state file that is raised after the result is printed.
        self.deferred_error: CLIError | None = None

    def note(self, text: str) -> None:
        """Print a sentence, except for programs."""
        if not self.as_json:
            self._print(text)

    def show(self, exchange: Exchange) -> None:
        """Print a request and its response in verbose mode, and explain a wait for orphan mitigation."""
        if self.verbose:
            self._print(f"> {exchange.request_line} {exchange.body_text}".rstrip())
            self._print(f"< {exchange.response_line} ({exchange.seconds:.2f} s)")
            self._print(f"  {exchange.curl}")
        if self.creating and exchange.method == "DELETE" and exchange.status not in (200, 202, 410):
            self.note(f"Cannot clean up {self.creating} yet ({exchange.response_line}); retrying")

    def _print(self, text: str) -> None:
        if self.console is None:
            console.print_note(text)
        else:
            self.console.out(printable(text), highlight=False)

    @contextmanager
    def report_errors(self) -> Iterator[None]:
        """Set the format of the errors raised inside, and raise the deferred error at the end."""
        try:
            yield
            if self.deferred_error is not None:
                raise self.deferred_error
        except CLIError as error:
            error.as_json = self.as_json
            if self.deferred_error not in (None, error):
                error.hints += (self.deferred_error.message, *self.deferred_error.hints)
            raise
        except KeyboardInterrupt:
            interruption = interrupted("Interrupted.")
            interruption.as_json = self.as_json
            raise interruption from None
