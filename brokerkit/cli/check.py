"""`brokerkit check`: judges a service broker by the rules of the API, and reports."""

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

from .._internal import console as display
from .._internal.text import printable
from ..checker.options import Options, key_matches
from ..checker.parameter_file import ParametersError, read_parameters
from ..checker.report import Level
from ..checker.reporters.common import family, leftover_name
from ..client.exchange import mask_json
from .login import given_login, given_verify, with_login
from .report_files import STDOUT, ReportFile, write_file

if TYPE_CHECKING:
    from ..checker.report import Report
    from ..checker.reporters.terminal import RuleRow

_COULD_NOT_CHECK = 2
_ENDS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


@click.command(
    epilog="\b\nExample:\n  export BROKER_USERNAME=platform BROKER_PASSWORD=…\n"
    "  brokerkit check http://127.0.0.1:8080 --html report.html\n\n"
    "The exit code is 0; 1 if the broker breaks a rule that it MUST keep; 2 if that could not be found out, "
    "or something is left behind."
)
@click.argument("url", envvar="BROKER_URL", required=False)
@with_login
@click.option(
    "--plan",
    "plans",
    metavar="OFFERING[/PLAN]",
    multiple=True,
    help="Work through this only; names or ids. Can be repeated.",
)
@click.option(
    "--parameters",
    "parameter_file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="What to order with (JSON or YAML): {offering/plan: {provision: {…}, update: {…}, bind: {…}}}.",
)
@click.option(
    "--level",
    type=click.Choice([level.value for level in Level], case_sensitive=False),
    default=Level.INTEROP.value,
    metavar="|".join(Level),
    show_default=True,
    help="Judge rules of this level and those above it.",
)
@click.option("--only", metavar="RULE", multiple=True, help="Judge R-PROV, R-PROV-4 … only. Can be repeated.")
@click.option(
    "--skip", metavar="RULE", multiple=True, help="Do not judge R-PROV, R-PROV-4 … Can be repeated."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="How many seconds an answer may take.",
)
@click.option(
    "--operation-timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    help="How many seconds an asynchronous operation may take.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 100),
    default=4,
    show_default=True,
    help="How many offerings to work through at a time.",
)
@click.option("--junit", type=ReportFile(), metavar="FILE", help="Write JUnit XML, for CI; - is stdout.")
@click.option("--json", type=ReportFile(), metavar="FILE", help="Write JSON, for programs; - is stdout.")
@click.option("--html", type=ReportFile(), metavar="FILE", help="Write a page to hand on; - is stdout.")
@click.option("-v", "--verbose", is_flag=True, help="Show every failure, with the headers of the answer.")
@click.option("--list", "listed", is_flag=True, help="List the rules, and check nothing.")
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

    It orders every plan, synchronously and asynchronously, changes it, binds it, repeats and contradicts
    itself, and deletes all that it made. So it needs a broker whose services may be ordered.

    URL is the broker's address, without /v2; or BROKER_URL.
    """
    files = {name: told for name, told in (("html", html), ("json", json), ("junit", junit)) if told}
    _need_different_places(files)
    with _no_result_is_no_verdict():
        from ..checker.registry import RULES
        from ..checker.reporters.terminal import print_rules

        _need_known(RULES, "--only", only)
        _need_known(RULES, "--skip", skip)
        login = {} if listed else given_login(username, password, token)._asdict()
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
                verify=given_verify(ca_file, insecure=insecure),
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        wanted = [rule for rule in RULES if options.wants(rule.key, rule.level)]
        if not wanted:
            raise click.UsageError("no rule is left to judge; --list lists all of them")
        if listed:
            with _until_nobody_reads():
                print_rules(wanted)
            return
        if not url:
            raise click.UsageError("where is the broker? Give its URL, or BROKER_URL")
        code = _check(url, options, files, verbose=verbose)
    sys.exit(code)


def _check(url: str, options: Options, files: Mapping[str, str], *, verbose: bool) -> int:
    """Check, and report; the exit code."""
    from ..checker.reporters.terminal import print_report, progress_bar
    from ..checker.runner import check as judge
    from ..client.transport import Login, Transport

    try:
        Transport(url, Login())
    except ValueError as error:
        raise click.UsageError(printable(str(mask_json(str(error))))) from None
    with _to_end_is_to_interrupt():
        with progress_bar() as tell:
            report = judge(url, options, progress=tell)
        try:
            all_written = _write_all(files, report)
            with _until_nobody_reads():
                for name in (name for name, told in files.items() if told == STDOUT):
                    click.echo(_text(name, report).encode(), nl=False)
                print_report(report, verbose=verbose, err=STDOUT in files.values())
        except KeyboardInterrupt:
            raise _interrupted_report(report) from None
    return report.exit_code or (0 if all_written else _COULD_NOT_CHECK)


def _write_all(files: Mapping[str, str], report: Report) -> bool:
    """Write the reports; False if one could not be, or if somebody did not want to wait for that."""
    try:
        written = [_write(name, told, report) for name, told in files.items()]
    except KeyboardInterrupt:
        display.print_note("Error: interrupted; not all reports are written")
        return False
    return all(written)


def _interrupted_report(report: Report) -> _Interrupted:
    """What to say when a report is not printed to its end: whatever it says, what is left has to be known."""
    for each in report.leftovers:
        display.print_note(f"could not be deleted: {leftover_name(each)}; try again: {each.curl}")
    if report.leftovers:
        return _Interrupted("stopped; the report is not whole")
    return _Interrupted("stopped; the report is not whole, but all that the check made is deleted")


def _write(name: str, told: str, report: Report) -> bool:
    """Write a report; False if that could not be."""
    if told == STDOUT:
        return True  # it comes when all files are written
    try:
        write_file(told, _text(name, report))
    except OSError as error:
        display.print_note(f"Error: {told} could not be written: {error.strerror}")
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


# What was told


def _parameters(path: str | None) -> Mapping[str, Any]:
    """What is in the parameters file."""
    if path is None:
        return {}
    try:
        return read_parameters(path)
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror}") from None
    except ParametersError as error:
        lines = (printable(line) for line in str(error).splitlines())
        raise click.UsageError("\n".join(lines)) from None


def _need_different_places(files: Mapping[str, str]) -> None:
    """Refuse two reports in one place."""
    found: dict[Path | str, str] = {}
    for name, told in files.items():
        place = told if told == STDOUT else Path(told).resolve()
        if place in found:
            raise click.UsageError(f"--{found[place]} and --{name} cannot both go to {told}")
        found[place] = name


def _need_known(rules: Sequence[RuleRow], option: str, prefixes: Sequence[str]) -> None:
    """Refuse names that no rule has."""
    for prefix in prefixes:
        if not any(key_matches(rule.key, prefix) for rule in rules):
            names = {name.upper(): name for rule in rules for name in _names(rule.key)}
            close = [names[each] for each in get_close_matches(prefix.upper(), names)]
            hint = f"did you mean {' or '.join(close)}?" if close else "--list lists all of them"
            raise click.UsageError(f"{option}: there is no rule {prefix!r}; {hint}")


def _names(key: str) -> tuple[str, ...]:
    """What may be said of a rule: its key, its number, its family."""
    return key, key.partition(".")[0], family(key)


# What can go wrong


class _Stop(click.ClickException):
    """Why there is no verdict: with an exit code of its own, as 1 is said of brokers."""

    exit_code = _COULD_NOT_CHECK


class _Interrupted(_Stop):
    """Somebody did not want to wait; not even for what was made to be deleted."""

    exit_code = 130


class _Bug(_Stop):
    """A mistake of the checker, shown with its traceback."""

    def __init__(self) -> None:
        super().__init__("this is a mistake of the checker, and not of the broker")

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it to stderr."""
        for part in traceback.format_exception(self.__cause__):
            for line in part.rstrip().split("\n"):
                display.print_note(line)
        super().show(file)


@contextmanager
def _no_result_is_no_verdict() -> Iterator[None]:
    """Let nothing that goes wrong here look like a rule that a broker breaks."""
    try:
        yield
    except click.ClickException:
        raise
    except click.Abort:
        raise _Interrupted("stopped before it began") from None
    except KeyboardInterrupt:
        raise _Interrupted("stopped; what the check made may be there still") from None
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name == __name__.partition(".")[0]:
            raise _Bug from error
        told = str(error)
        raise _Stop(
            told if "pip" in told else f"'brokerkit check' needs {name}: pip install {name}"
        ) from None
    except Exception as error:
        raise _Bug from error


@contextmanager
def _to_end_is_to_interrupt() -> Iterator[None]:
    """Let SIGTERM, and a terminal that is closed, do what Ctrl-C does: what was made is deleted first."""
    before = {}
    for each in _ENDS:
        if signal.getsignal(each) is signal.SIG_DFL:  # such as nohup ignores one
            before[each] = signal.signal(each, signal.default_int_handler)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def _until_nobody_reads() -> Iterator[None]:
    """Print until the other end of the pipe is closed, as by ``head``."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
