"""`brokerkit check`: check a service broker against the rules of the API, and write reports."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from .._internal import console
from .._internal.text import printable
from ..checker.options import Options, key_matches
from ..checker.parameter_file import ParametersError, read_parameters
from ..checker.report import Level
from ..checker.reporters.common import family, leftover_name
from ..client.exchange import mask_json
from .login import login_options, resolve_login, resolve_verify
from .report_files import STDOUT, ReportFile, write_file

if TYPE_CHECKING:
    from ..checker.report import Report
    from ..checker.reporters.terminal import RuleRow

_COULD_NOT_CHECK = 2
_END_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


@click.command(
    epilog="\b\nExample:\n  export BROKER_USERNAME=platform BROKER_PASSWORD=…\n"
    "  brokerkit check http://127.0.0.1:8080 --html report.html\n\n"
    "The exit code is 0 on success, 1 if the broker breaks a MUST rule, and 2 if the check could not be "
    "completed or a resource is left behind."
)
@click.argument("url", envvar="BROKER_URL", required=False)
@login_options
@click.option(
    "--plan",
    "plans",
    metavar="OFFERING[/PLAN]",
    multiple=True,
    help="Check only this offering or plan, by name or id. Can be repeated.",
)
@click.option(
    "--parameters",
    "parameter_file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Parameters to send (JSON or YAML): {offering/plan: {provision: {…}, update: {…}, bind: {…}}}.",
)
@click.option(
    "--level",
    type=click.Choice([level.value for level in Level], case_sensitive=False),
    default=Level.INTEROP.value,
    metavar="|".join(Level),
    show_default=True,
    help="Evaluate the rules of this level and of higher levels.",
)
@click.option(
    "--only", metavar="RULE", multiple=True, help="Evaluate only R-PROV, R-PROV-4 … Can be repeated."
)
@click.option(
    "--skip", metavar="RULE", multiple=True, help="Do not evaluate R-PROV, R-PROV-4 … Can be repeated."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="Seconds to wait for a response.",
)
@click.option(
    "--operation-timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    help="Seconds to wait for an asynchronous operation.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 100),
    default=4,
    show_default=True,
    help="The number of offerings to check concurrently.",
)
@click.option("--junit", type=ReportFile(), metavar="FILE", help="Write JUnit XML, for CI; - is stdout.")
@click.option("--json", type=ReportFile(), metavar="FILE", help="Write JSON, for programs; - is stdout.")
@click.option("--html", type=ReportFile(), metavar="FILE", help="Write a page for readers; - is stdout.")
@click.option("-v", "--verbose", is_flag=True, help="Show every failure, with the response headers.")
@click.option("--list", "listed", is_flag=True, help="List the rules without checking a broker.")
def check(
    url: str | None,
    username: str | None,
    password: str | None,
    token: str | None,
    platform: str | None,
    ca_file: str | None,
    insecure: bool,
    plans: tuple[str, ...],
    parameter_file: str | None,
    level: str,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    timeout: float,
    operation_timeout: float,
    jobs: int,
    junit: str | None,
    json: str | None,
    html: str | None,
    verbose: bool,
    listed: bool,
) -> None:
    """Check the service broker at URL against the rules of the API.

    The command provisions every plan, synchronously and asynchronously, updates and binds the instances, and
    sends repeated and conflicting requests. It deletes every resource that it creates. Use a broker whose
    plans may be provisioned.

    URL is the address of the broker, without /v2. It defaults to BROKER_URL.
    """
    files = {name: path for name, path in (("html", html), ("json", json), ("junit", junit)) if path}
    _reject_duplicate_paths(files)
    with _report_internal_errors():
        from ..checker.registry import RULES
        from ..checker.reporters.terminal import print_rules

        _reject_unknown_rules(RULES, "--only", only)
        _reject_unknown_rules(RULES, "--skip", skip)
        login = {} if listed else resolve_login(username, password, token)._asdict()
        try:
            options = Options(
                **login,
                platform=platform,
                plans=plans,
                parameters=_parameters(parameter_file),
                level=Level(level),
                only=only,
                skip=skip,
                timeout=timeout,
                operation_timeout=operation_timeout,
                jobs=jobs,
                verify=resolve_verify(ca_file, insecure=insecure),
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        selected = [rule for rule in RULES if options.wants(rule.key, rule.level)]
        if not selected:
            raise click.UsageError("no rule is selected; --list lists all rules")
        if listed:
            with _ignore_closed_pipe():
                print_rules(selected)
            return
        if not url:
            raise click.UsageError("give the URL of the broker, or set BROKER_URL")
        code = _check(url, options, files, verbose=verbose)
    sys.exit(code)


def _check(url: str, options: Options, files: Mapping[str, str], *, verbose: bool) -> int:
    """Run the check, write the reports, and return the exit code."""
    from ..checker.reporters.terminal import print_report, progress_bar
    from ..checker.runner import check as run_check
    from ..client.transport import Login, Transport

    try:
        Transport(url, Login())
    except ValueError as error:
        raise click.UsageError(printable(str(mask_json(str(error))))) from None
    with _interrupt_on_end_signals():
        with progress_bar() as update:
            report = run_check(url, options, progress=update)
        try:
            all_written = _write_all(files, report)
            with _ignore_closed_pipe():
                for name in (name for name, path in files.items() if path == STDOUT):
                    click.echo(_text(name, report).encode(), nl=False)
                print_report(report, verbose=verbose, err=STDOUT in files.values())
        except KeyboardInterrupt:
            raise _interrupted_report(report) from None
    return report.exit_code or (0 if all_written else _COULD_NOT_CHECK)


def _write_all(files: Mapping[str, str], report: Report) -> bool:
    """Write the reports, and return whether all are written. Ctrl-C stops the writing."""
    try:
        written = [_write(name, path, report) for name, path in files.items()]
    except KeyboardInterrupt:
        console.print_note("Error: interrupted; some reports were not written")
        return False
    return all(written)


def _interrupted_report(report: Report) -> _Interrupted:
    """Print the leftover resources of an incomplete report, and build its error."""
    for leftover in report.leftovers:
        console.print_note(f"could not be deleted: {leftover_name(leftover)}; try again: {leftover.curl}")
    if report.leftovers:
        return _Interrupted("interrupted; the report is incomplete")
    return _Interrupted("interrupted; the report is incomplete, but all created resources are deleted")


def _write(name: str, path: str, report: Report) -> bool:
    """Write a report, and return whether it is written."""
    if path == STDOUT:
        return True  # printed after all files
    try:
        write_file(path, _text(name, report))
    except OSError as error:
        console.print_note(f"Error: {path} could not be written: {error.strerror}")
        return False
    return True


def _text(name: str, report: Report) -> str:
    match name:
        case "html":
            from ..checker.reporters.html import html

            return html(report)
        case "json":
            from ..checker.reporters.json_report import to_json

            return to_json(report)
        case _:
            from ..checker.reporters.junit import junit

            return junit(report)


# Options


def _parameters(path: str | None) -> Mapping[str, Any]:
    """Read the parameter file, if one is given."""
    if path is None:
        return {}
    try:
        return read_parameters(path)
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror}") from None
    except ParametersError as error:
        lines = (printable(line) for line in str(error).splitlines())
        raise click.UsageError("\n".join(lines)) from None


def _reject_duplicate_paths(files: Mapping[str, str]) -> None:
    """Reject two reports with the same path."""
    options: dict[Path | str, str] = {}
    for name, path in files.items():
        target = path if path == STDOUT else Path(path).resolve()
        if target in options:
            raise click.UsageError(f"--{options[target]} and --{name} cannot both go to {path}")
        options[target] = name


def _reject_unknown_rules(rules: Sequence[RuleRow], option: str, prefixes: Sequence[str]) -> None:
    """Reject prefixes that match no rule."""
    for prefix in prefixes:
        if not any(key_matches(rule.key, prefix) for rule in rules):
            names = {name.upper(): name for rule in rules for name in _names(rule.key)}
            close = [names[match] for match in get_close_matches(prefix.upper(), names)]
            hint = f"did you mean {' or '.join(close)}?" if close else "--list lists all rules"
            raise click.UsageError(f"{option}: there is no rule {prefix!r}; {hint}")


def _names(key: str) -> tuple[str, ...]:
    """Return the names of a rule for --only and --skip: its key, its number, its family."""
    return key, key.partition(".")[0], family(key)


# Errors


class _Stop(click.ClickException):
    """An error that prevents the check. Its exit code is not 1, which means a broken rule."""

    exit_code = _COULD_NOT_CHECK


class _Interrupted(_Stop):
    """An interruption that left the report or the cleanup incomplete."""

    exit_code = 130


class _Bug(_Stop):
    """A bug in the checker, shown with its traceback."""

    def __init__(self) -> None:
        super().__init__("this is a bug in the checker, not in the broker")

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the traceback and the message to stderr."""
        for part in traceback.format_exception(self.__cause__):
            for line in part.rstrip().split("\n"):
                console.print_note(line)
        super().show(file)


@contextmanager
def _report_internal_errors() -> Iterator[None]:
    """Convert internal errors, so that their exit code is never that of a broken rule."""
    try:
        yield
    except click.ClickException:
        raise
    except click.Abort:
        raise _Interrupted("interrupted before the check started") from None
    except KeyboardInterrupt:
        raise _Interrupted("interrupted; resources that the check created may still exist") from None
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name == __name__.partition(".")[0]:
            raise _Bug from error
        message = str(error)
        if "pip install" not in message:
            message = f"'brokerkit check' needs the package {name}: pip install 'osb-brokerkit[check]'"
        raise _Stop(message) from None
    except Exception as error:
        raise _Bug from error


@contextmanager
def _interrupt_on_end_signals() -> Iterator[None]:
    """Handle SIGTERM and SIGHUP like Ctrl-C, so that created resources are deleted first."""
    previous = {}
    for number in _END_SIGNALS:
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup, for example, ignores SIGHUP
            previous[number] = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def _ignore_closed_pipe() -> Iterator[None]:
    """Stop printing without an error when the reader closes the pipe, as ``head`` does."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
