"""`brokerkit check` as a person and as a script run it: what it asks for, where reports go, how it ends."""

from __future__ import annotations

import builtins
import json
import os
import signal
import stat
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree as ET

import click
import pytest
from click.testing import CliRunner, Result

from brokerkit.checker.options import Options, Progress
from brokerkit.checker.registry import RULES
from brokerkit.checker.report import Level, Report
from brokerkit.cli import report_files
from brokerkit.cli.check import check as command

from . import sample_reports as samples
from .terminal import ROOT, Terminal

KNOWN = [
    samples.passed("R-PROV-1.created"),
    samples.passed("R-PROV-4.same-operation"),
    samples.passed("R-BIND-1.created", Level.SHOULD),
    samples.passed("R-CAT-7.effective", Level.INTEROP),
]


class Check:
    """A runner of the command with a fake check that records its calls and returns a prepared report."""

    def __init__(self) -> None:
        self.report: Report | Callable[[], Report] = samples.CORRECT
        self.calls: list[tuple[str, Options]] = []

    def __call__(self, url: str, options: Options, *, progress: Callable[[Progress], None]) -> Report:
        self.calls.append((url, options))
        progress(Progress(1, 2, "hello-db/small"))
        return self.report() if callable(self.report) else self.report

    @property
    def options(self) -> Options:
        ((_, options),) = self.calls
        return options

    def run(self, *arguments: object, stdin: str | None = None, **environment: str) -> Result:
        """Run the command with exactly these environment variables."""
        runner = CliRunner(env={**dict.fromkeys(_ENVIRONMENT), **environment})
        result = runner.invoke(command, [str(argument) for argument in arguments], input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    def refusal(self, *arguments: object, **environment: str) -> str:
        """Return the error message of a command that rejects its arguments."""
        result = self.run(*arguments, **environment)
        assert (result.exit_code, result.stdout, self.calls) == (2, "", [])
        return result.stderr.partition("Error: ")[2].rstrip()


_ENVIRONMENT = ("BROKER_URL", "BROKER_USERNAME", "BROKER_PASSWORD", "BROKER_TOKEN")


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Check:
    check = Check()
    module = ModuleType("brokerkit.checker.runner")
    module.__dict__["check"] = check
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr("brokerkit.checker.registry.RULES", KNOWN)
    return check


# Arguments


def test_check_command_uses_default_options(check: Check) -> None:
    assert check.run(samples.URL).exit_code == 0
    assert check.calls == [(samples.URL, Options())]


def test_check_command_passes_every_option_on(check: Check, tmp_path: Path) -> None:
    """Every command-line option reaches the check with its parsed value."""
    parameters, certificate = tmp_path / "parameters.json", tmp_path / "ca.pem"
    parameters.write_text('{"*": {"bind": {"role": "reader"}}}')
    certificate.touch()
    check.run(
        *(samples.URL, "--username", "platform", "--password", samples.PASSWORD, "--platform", "korifi"),
        *("--plan", "db", "--plan", "cache/small", "--parameters", parameters, "--level", "should"),
        *("--only", "R-PROV", "--only", "r-bind-1", "--skip", "R-PROV-4.same", "--timeout", "1.5"),
        *("--operation-timeout", "90", "--jobs", "2", "--ca-file", certificate),
    )
    assert check.options == Options(
        username="platform",
        password=samples.PASSWORD,
        platform="korifi",
        plans=("db", "cache/small"),
        parameters={"*": {"bind": ({"role": "reader"},)}},
        level=Level.SHOULD,
        only=("R-PROV", "r-bind-1"),
        skip=("R-PROV-4.same",),
        timeout=1.5,
        operation_timeout=90.0,
        jobs=2,
        verify=str(certificate),
    )


def test_check_command_reads_environment_variables(check: Check) -> None:
    check.run(BROKER_URL=samples.URL, BROKER_USERNAME="platform", BROKER_PASSWORD=samples.PASSWORD)
    assert check.calls == [(samples.URL, Options(username="platform", password=samples.PASSWORD))]


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        (["--token", "t"], Options(token="t")),
        (["--username", "u", "--password", "p"], Options(username="u", password="p")),
        (["--password", "p"], Options(username="platform", password="p")),
    ],
)
def test_command_line_credentials_override_environment(
    check: Check, typed: list[str], wanted: Options
) -> None:
    environment = {"BROKER_USERNAME": "platform", "BROKER_PASSWORD": "x", "BROKER_TOKEN": "y"}
    check.run(samples.URL, *typed, **environment)
    assert check.options == wanted


@pytest.mark.integration
def test_password_prompt_does_not_echo() -> None:
    with Terminal("tests.checker.fake_check", "correct", samples.URL, "--username", "platform") as terminal:
        terminal.read_until("Password of platform: ")
        terminal.type(f"{samples.PASSWORD}\n")
        assert terminal.read_all() == 0
        assert samples.PASSWORD not in terminal.output


@pytest.mark.integration
def test_password_prompt_interrupted_exits_130() -> None:
    """Ctrl+C at the password prompt ends the command with exit code 130 and without a traceback."""
    with Terminal("tests.checker.fake_check", "correct", samples.URL, "--username", "platform") as terminal:
        terminal.read_until("Password of platform: ")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.read_all() == 130
        assert "Traceback" not in terminal.output


def test_insecure_option_disables_certificate_verification(check: Check) -> None:
    with warnings.catch_warnings():
        check.run(samples.URL, "--insecure")
    assert check.options.verify is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give the URL of the broker, or set BROKER_URL"),
        (["127.0.0.1:8080"], "'127.0.0.1:8080' is not the URL of a broker; give one such as http://127"),
        (["ftp://u:hunter2@x"], "the URL contains a login"),
        (["http://u:hunter2@x"], "the URL contains a login"),
        (
            [samples.URL, "--token", "t", "--username", "u"],
            "give a username and password, or a token, not both",
        ),
        ([samples.URL, "--password", "p"], "the password needs a username; give --username too"),
        ([samples.URL, "--username", "u"], "the username needs a password; set BROKER_PASSWORD"),
        ([samples.URL, "--insecure", "--ca-file", __file__], "give --insecure or --ca-file, not both"),
        (
            [samples.URL, "--timeout", "1e9"],
            "timeout is 1000000000.0; use a number above 0 and at most 86400",
        ),
        ([samples.URL, "--only", "R-PRV"], "--only: there is no rule 'R-PRV'; did you mean R-PROV"),
        ([samples.URL, "--skip", "r-prov-4.same-operatoin"], "did you mean R-PROV-4.same-operation"),
        ([samples.URL, "--skip", "xyz"], "--skip: there is no rule 'xyz'; --list lists all rules"),
        ([samples.URL, "--skip", "R"], "no rule is selected; --list lists all rules"),
        ([samples.URL, "--only", "R-CAT", "--level", "MUST"], "no rule is selected"),
        ([samples.URL, "--level", "MAY"], "Invalid value for '--level'"),
        ([samples.URL, "--jobs", "0"], "Invalid value for '--jobs'"),
        ([samples.URL, "--parameters", "nothing.json"], "Invalid value for '--parameters'"),
        ([samples.URL, "--json", "-", "--html", "-"], "--html and --json cannot both go to -"),
    ],
)
def test_check_command_rejects_invalid_arguments(check: Check, arguments: list[str], message: str) -> None:
    """Invalid arguments end the command with exit code 2 before any request is sent."""
    assert message in check.refusal(*arguments)


def test_parameter_file_errors_hide_values(check: Check, tmp_path: Path) -> None:
    """Errors in a parameter file name the place and the type, never the value, and escape control characters.
    Errors in a parameter file name the place and the type, never the value, and escape control characters.
    """
    path = tmp_path / "parameters.json"
    path.write_text(json.dumps({"db\x1b[31m": {"bind": "not-to-be-seen"}, "x": 1}))
    message = check.refusal(samples.URL, "--parameters", path)
    assert message.splitlines() == [
        f"{path} has 2 faults:",
        r'  "db\x1b[31m".bind: expected an object of parameters, got a string',
        '  "x": expected an object with provision, update or bind, got a number',
    ]


def test_unreadable_parameter_file_is_rejected(
    check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("brokerkit.cli.check.read_parameters", refuse)
    assert check.refusal(samples.URL, "--parameters", __file__).endswith("cannot be read: Permission denied")


# Reports


def test_check_command_writes_several_report_files(check: Check, tmp_path: Path) -> None:
    """One run writes JUnit, JSON and HTML files, prints the summary and leaves no temporary files."""
    check.report = samples.FAULTY
    files = {name: tmp_path / f"report.{name}" for name in ("junit", "json", "html")}
    result = check.run(samples.URL, *(part for name, file in files.items() for part in (f"--{name}", file)))
    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout.splitlines()[-1].startswith(
        "2 rules passed, 2 failed (1 MUST, 1 SHOULD), 1 skipped;"
    )
    assert ET.parse(files["junit"]).getroot().get("tests") == "5"
    assert json.loads(files["json"].read_text())["summary"]["failed"] == 2
    assert files["html"].read_text().startswith("<!DOCTYPE html>")
    assert sorted(tmp_path.iterdir()) == sorted(files.values())


@pytest.mark.parametrize(("name", "start"), [("junit", "<?xml"), ("json", "{"), ("html", "<!DOCTYPE")])
def test_stdout_report_excludes_other_output(check: Check, name: str, start: str) -> None:
    """A report on stdout is the only content there. The summary goes to stderr."""
    check.report = samples.NASTY
    result = check.run(samples.URL, f"--{name}", "-")
    assert result.exit_code == 1
    assert result.stdout.startswith(start)
    assert "rules passed" not in result.stdout
    assert result.stderr.splitlines()[-1].startswith("0 rules passed, 1 failed (1 MUST), 1 skipped;")


def test_stdout_report_combines_with_file_report(check: Check, tmp_path: Path) -> None:
    result = check.run(samples.URL, "--json", "-", "--html", tmp_path / "x.html")
    assert json.loads(result.stdout)["url"] == samples.URL
    assert (tmp_path / "x.html").read_text().endswith("</html>\n")


def test_impossible_report_paths_are_rejected_early(check: Check, tmp_path: Path) -> None:
    """A missing folder, a folder as the file or the same file twice is rejected before the check starts."""
    assert f"there is no folder {tmp_path}/no" in check.refusal(samples.URL, "--json", tmp_path / "no" / "x")
    assert f"{tmp_path} is a folder" in check.refusal(samples.URL, "--html", tmp_path)
    twice = check.refusal(samples.URL, "--json", tmp_path / "x", "--junit", f"{tmp_path}/./x")
    assert twice.startswith("--json and --junit cannot both go to ")


def test_unwritable_report_folder_is_rejected_early(
    check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    assert "no permission to write to" in check.refusal(samples.URL, "--json", tmp_path / "x")


def test_report_file_replacement_is_atomic(
    check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed write keeps the old file, leaves no temporary file and exits with 2."""
    file = tmp_path / "report.json"
    file.write_text("before")
    real = Path.replace

    def fail(path: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    result = check.run(samples.URL, "--json", file)
    assert (result.exit_code, result.stderr) == (
        2,
        f"Error: {file} could not be written: No space left on device\n",
    )
    assert result.stdout.splitlines()[-1].startswith("2 rules passed")
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]
    monkeypatch.setattr(Path, "replace", real)
    assert check.run(samples.URL, "--json", file).exit_code == 0
    assert json.loads(file.read_text())["exit_code"] == 0


def test_failed_report_write_keeps_exit_code_one(
    check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken rule still gives exit code 1 if a report file cannot be written."""
    check.report = samples.FAULTY
    monkeypatch.setattr(Path, "replace", lambda path, target: (_ for _ in ()).throw(OSError(5, "I/O error")))
    assert check.run(samples.URL, "--json", tmp_path / "x").exit_code == 1


def test_report_file_keeps_expected_permissions(tmp_path: Path) -> None:
    """A new report file gets the default permissions. A replaced file keeps its permissions."""
    plain, old, new = tmp_path / "plain", tmp_path / "old", tmp_path / "new"
    plain.touch()
    old.touch(mode=0o600)
    for file in (old, new):
        report_files.write_file(str(file), "x")
    assert stat.S_IMODE(new.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    assert stat.S_IMODE(old.stat().st_mode) == 0o600


def test_report_file_replaces_symlink_target(tmp_path: Path) -> None:
    """Writing through a symbolic link replaces the target and keeps the link."""
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("before")
    link.symlink_to(target)
    report_files.write_file(str(link), "after")
    assert link.is_symlink()
    assert target.read_text() == "after"


def test_report_to_device_does_not_replace_it(check: Check) -> None:
    assert check.run(samples.URL, "--json", os.devnull).exit_code == 0
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


# How it ends


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (samples.CORRECT, 0),
        (samples.make_report(samples.failed(level=Level.SHOULD), samples.failed(level=Level.INTEROP)), 0),
        (samples.FAULTY, 1),
        (samples.NASTY, 1),
        (samples.LEFT, 2),
        (samples.UNREACHABLE, 2),
        (samples.INTERRUPTED, 2),
    ],
)
def test_exit_code_reflects_the_report(check: Check, report: Report, code: int) -> None:
    """Only a failed MUST rule gives 1. Leftovers or an aborted check give 2."""
    check.report = report
    assert check.run(samples.URL).exit_code == code


def test_verbose_shows_every_failure(check: Check) -> None:
    check.report = samples.FAULTY
    assert "and 2 more; --verbose shows all" in check.run(samples.URL).stdout
    assert "more; --verbose" not in check.run(samples.URL, "--verbose").stdout


def test_output_contains_no_secrets(check: Check) -> None:
    """No report format, help text or usage error contains the password or a masked secret."""
    check.report = samples.NASTY
    login = ("--username", "platform", "--password", samples.PASSWORD)
    for more in (
        (),
        ("--verbose",),
        ("--json", "-"),
        ("--junit", "-"),
        ("--html", "-"),
        ("--jobs", "x"),
        ("--help",),
    ):
        result = check.run(samples.URL, *login, *more, BROKER_TOKEN=samples.PASSWORD)
        assert samples.PASSWORD not in result.output
        assert samples.SECRETS[0] not in result.output


def test_internal_checker_error_exits_with_two(check: Check) -> None:
    """An unexpected exception is reported as an error of the checker, not of the broker."""

    def fail() -> Report:
        raise RuntimeError("no\x1b[31m")

    check.report = fail
    result = check.run(samples.URL)
    assert (result.exit_code, result.stdout) == (2, "")
    assert r"RuntimeError: no\x1b[31m" in result.stderr
    assert result.stderr.endswith("Error: this is a bug in the checker, not in the broker\n")


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (
            ModuleNotFoundError(
                "the client needs the package requests: pip install 'osb-brokerkit[check]'", name="requests"
            ),
            "Error: the client needs the package requests: pip install 'osb-brokerkit[check]'\n",
        ),
        (
            ModuleNotFoundError("No module named 'urllib3'", name="urllib3"),
            "Error: 'brokerkit check' needs the package urllib3: pip install 'osb-brokerkit[check]'\n",
        ),
    ],
)
def test_missing_dependency_gives_one_line_error(check: Check, missing: Exception, message: str) -> None:
    def fail() -> Report:
        raise missing

    check.report = fail
    result = check.run(samples.URL)
    assert (result.exit_code, result.stderr) == (2, message)


def test_missing_rich_names_the_install_command(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "rich":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "brokerkit.checker.reporters.terminal", raising=False)
    monkeypatch.setattr(builtins, "__import__", missing)
    message = check.refusal(samples.URL)
    assert message == "'brokerkit check' needs the package rich: pip install 'osb-brokerkit[check]'"


def test_missing_own_module_is_internal_error(check: Check) -> None:
    """A missing brokerkit module counts as a checker bug, not as a package to install."""

    def fail() -> Report:
        raise ModuleNotFoundError("No module named 'brokerkit.nothing'", name="brokerkit.nothing")

    check.report = fail
    result = check.run(samples.URL)
    assert result.exit_code == 2
    assert result.stderr.endswith("Error: this is a bug in the checker, not in the broker\n")


def test_usage_error_from_check_exits_two(check: Check) -> None:
    def fail() -> Report:
        raise click.UsageError("no")

    check.report = fail
    assert check.run(samples.URL).exit_code == 2


@pytest.mark.integration
def test_interrupted_check_still_prints_report() -> None:
    with Terminal("tests.checker.fake_check", "wait", samples.URL) as terminal:
        terminal.read_until("waiting")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.read_all() == 2
        assert terminal.lines[-2:] == [
            "The check did not finish: interrupted.",
            "1 rule passed, 0 failed, 1 skipped; 214 requests in 5.2 s.",
        ]


@pytest.mark.integration
def test_second_interrupt_stops_and_warns_of_leftovers() -> None:
    """A second Ctrl+C ends the command with 130 and warns that created resources may still exist."""
    with Terminal("tests.checker.fake_check", "wait-long", samples.URL) as terminal:
        terminal.read_until("waiting")
        terminal.process.send_signal(signal.SIGINT)
        terminal.read_until("deleting")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.read_all() == 130
        assert terminal.output.endswith(
            "Error: interrupted; resources that the check created may still exist\n"
        )
        assert "Traceback" not in terminal.output


def start(*command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.checker.fake_check", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


@pytest.mark.integration
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_report_write_prints_terminal_report(end: signal.Signals, tmp_path: Path) -> None:
    """A signal during a blocked file write still prints the leftovers and the summary, then exits with 2."""
    pipe = tmp_path / "report.html"
    os.mkfifo(pipe)
    with start("long", samples.URL, "--html", str(pipe)) as process, pipe.open("rb", buffering=0) as reads:
        assert reads.read(1) == b"<"
        process.send_signal(end)
        stdout, stderr = process.communicate(timeout=30)
    assert stderr == "Error: interrupted; some reports were not written\n"
    assert "curl -X DELETE b1" in stdout
    assert stdout.splitlines()[-1].startswith("5,001 rules passed, 0 failed")
    assert process.returncode == 2


@pytest.mark.integration
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_terminal_report_lists_leftovers(end: signal.Signals) -> None:
    """A signal during a blocked terminal report still lists the leftovers on stderr, then exits with 130."""
    with start("long", samples.URL) as process:
        assert process.stdout is not None
        assert os.read(process.stdout.fileno(), 1)
        process.send_signal(end)
        _, message = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "could not be deleted: service binding b1 of the service instance i1; try again: curl" in message
    assert message.endswith("Error: interrupted; the report is incomplete\n")


@pytest.mark.integration
@pytest.mark.parametrize("more", [[], ["--list"]])
def test_closed_stdout_pipe_keeps_exit_code(more: list[str]) -> None:
    """A closed pipe on stdout changes neither the exit code nor stderr."""
    reads, writes = os.pipe()
    os.close(reads)
    try:
        run = subprocess.run(
            [sys.executable, "-m", "tests.checker.fake_check", "faulty", samples.URL, *more],
            stdout=writes,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            check=False,
            timeout=30,
        )
    finally:
        os.close(writes)
    assert (run.returncode, run.stderr) == (0 if more else 1, "")


# The rules


def test_list_prints_rules_without_a_broker(check: Check) -> None:
    result = check.run("--list")
    assert (result.exit_code, check.calls) == (0, [])
    assert result.stdout.splitlines()[:3] == [
        "R-PROV-1.created         MUST     A request without a version is rejected.",
        "R-PROV-4.same-operation  MUST     A request without a version is rejected.",
        "R-BIND-1.created         SHOULD   A request without a version is rejected.",
    ]


def test_list_applies_level_and_skip_filters(check: Check) -> None:
    message = check.run("--list", "--level", "SHOULD", "--skip", "R-PROV-1").stdout.splitlines()
    assert [line.split()[0] for line in message] == ["R-PROV-4.same-operation", "R-BIND-1.created"]


def test_list_prints_every_rule(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brokerkit.checker.registry.RULES", RULES)
    lines = check.run("--list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == [rule.key for rule in RULES]


def test_help_explains_exit_codes(check: Check) -> None:
    message = " ".join(check.run("--help").stdout.split())
    assert "The exit code is 0 on success, 1 if the broker breaks a MUST rule, and 2 if" in message
