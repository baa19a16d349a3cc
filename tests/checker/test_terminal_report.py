"""The report on a terminal, narrow or wide, and in a pipe."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import pytest

from brokerkit.checker.options import Progress
from brokerkit.checker.report import Level, Report
from brokerkit.checker.reporters.terminal import print_report, print_rules, progress_bar

from . import sample_reports as samples
from .terminal import Terminal

CURL = samples.make_exchange().curl


def printed(capsys: pytest.CaptureFixture[str], report: Report, *, verbose: bool = False) -> list[str]:
    """Return the lines printed to a pipe."""
    print_report(report, verbose=verbose)
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "\x1b" not in captured.out
    assert all(line == line.rstrip() for line in captured.out.splitlines())
    return captured.out.splitlines()


class Screen(io.TextIOWrapper):
    """A stream that reports to be a terminal."""

    def __init__(self, encoding: str = "utf-8") -> None:
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, encoding=encoding, write_through=True)

    def isatty(self) -> bool:
        return True

    @property
    def shown(self) -> str:
        self.flush()
        return self.bytes.getvalue().decode(self.encoding)

    @property
    def lines(self) -> list[str]:
        return re.sub(r"\x1b\[[0-9;]*m", "", self.shown).splitlines()


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """A terminal with 60 columns and colours; use it with :func:`on`."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    return Screen()


@contextmanager
def on(screen: Screen) -> Iterator[None]:
    """Redirect stdout and stderr to a terminal."""
    with redirect_stdout(screen), redirect_stderr(screen):
        yield


# In a pipe


def test_piped_output_lists_rules_by_group(capsys: pytest.CaptureFixture[str]) -> None:
    sentence = "A repeated PUT during an operation returns the same operation."
    assert printed(capsys, samples.FAULTY)[:9] == [
        "Every request",
        "passed   R-REQ-1.required  MUST    A request without a version is rejected.",
        f"failed   R-REQ-4.echoed    SHOULD  {sentence}",
        "",
        "Provision",
        f"failed   R-PROV-4.same     MUST    {sentence} (5 times)",
        "passed   R-PROV-1.created  MUST    A request without a version is rejected.",
        "",
        "Fetch an instance",
    ]


def test_skipped_rule_shows_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    sentence = "An instance can be fetched. (no offering is instances_retrievable)"
    assert f"skipped  R-GETI-1.found    MUST  {sentence}" in printed(capsys, samples.CORRECT)


def test_failure_shows_exchange_and_curl_command(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, samples.make_report(samples.failed()))
    body = '{"service_id":"s1","parameters":{"password":"***"}}'
    request = f"PUT /v2/service_instances/i1?accepts_incomplete=true {body}"
    assert lines[3:] == [
        "R-PROV-4.same  MUST  A repeated PUT during an operation returns the same operation.",
        "  hello-db/large: returned a different operation than before",
        f"  request   {request}",
        '  response  202 {"operation":"two"}',
        "  repeat with:",
        CURL,
        "",
        "0 rules passed, 1 failed (1 MUST), 0 skipped; 214 requests in 5.2 s.",
    ]


def test_contradicted_response_precedes_the_failing_exchange(capsys: pytest.CaptureFixture[str]) -> None:
    """A failure that contradicts an earlier response shows that exchange first."""
    before = samples.make_exchange(method="POST", response_body=b'{"operation": "one"}')
    lines = printed(capsys, samples.make_report(samples.failed(before=[before])))
    assert [line.split()[0] for line in lines[5:9]] == ["before", "response", "request", "response"]
    assert lines[10:12] == [before.curl, CURL]


def test_failures_are_sorted_by_severity(capsys: pytest.CaptureFixture[str]) -> None:
    verdicts = [
        samples.failed(f"R-X-{number}.a", level)
        for number, level in enumerate((Level.INTEROP, Level.MUST, Level.SHOULD, Level.MUST))
    ]
    lines = printed(capsys, samples.make_report(*verdicts))
    headings = [line.split()[0] for line in lines if line.startswith("R-X-")]
    assert headings == ["R-X-1.a", "R-X-3.a", "R-X-2.a", "R-X-0.a"]
    assert lines[-1].startswith("0 rules passed, 4 failed (2 MUST, 1 SHOULD, 1 INTEROP), 0 skipped;")


def test_failures_are_limited_to_three_unless_verbose(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = samples.make_report(samples.failed(failures=7))
    short, long = printed(capsys, report), printed(capsys, report, verbose=True)
    assert (short.count(CURL), long.count(CURL)) == (3, 7)
    assert "  and 4 more; --verbose shows all" in short
    assert not [line for line in long if "more" in line]
    assert "            content-type: application/json" in long
    assert not [line for line in short if "content-type" in line]


def test_leftovers_are_shown_with_delete_command(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, samples.LEFT)
    assert lines[3:] == [
        "The check created these resources and could not delete them:",
        "  service instance i1: 500 {}",
        "  delete it with:",
        "curl -X DELETE i1",
        "  service binding b1 of the service instance i1: no response",
        "  delete it with:",
        "curl -X DELETE b1",
        "",
        "1 rule passed, 0 failed, 0 skipped; 214 requests in 5.2 s.",
    ]


def test_check_that_cannot_start_shows_reason_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, samples.UNREACHABLE) == [
        "The check could not start: the service broker cannot be reached: no connection.",
        "0 rules passed, 0 failed, 1 skipped; 1 request in 5.2 s.",
    ]


def test_interrupted_check_shows_results_then_reason(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, samples.INTERRUPTED)
    assert [line.split()[0] for line in lines[:3] if line] == ["Every", "passed"]
    assert not [line for line in lines if line.startswith("skipped")]
    assert lines[-2] == "The check did not finish: interrupted."


@pytest.mark.parametrize(
    ("seconds", "duration"),
    [(0.04, "40 ms"), (5.2, "5.2 s"), (59.94, "59 s"), (119.6, "1 min 59 s"), (3671, "1 h 1 min")],
)
def test_duration_is_human_readable(
    capsys: pytest.CaptureFixture[str], seconds: float, duration: str
) -> None:
    (line,) = printed(capsys, samples.make_report(seconds=seconds, requests=1234))
    assert line == f"0 rules passed, 0 failed, 0 skipped; 1,234 requests in {duration}."


def test_hostile_text_is_escaped_and_truncated(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Broker text cannot control the terminal, is shortened and is free of secrets."""
    lines = printed(capsys, samples.NASTY, verbose=True)
    text = "\n".join(lines)
    assert all(line.isprintable() for line in lines)
    assert (
        r"\x1b[31;1m<script>alert(1)</script>]]>&amp;\x00\x07\x9b2J\u202e\ud800 [bold]no[/bold] :boom:"
        in text
    )
    assert len(text) < 50_000
    for secret in (samples.PASSWORD, samples.SECRETS[0], "not-to-be-seen"):
        assert secret not in text


def test_unencodable_characters_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", stream)
    print_report(samples.make_report(samples.failed(fault="returned “yes”")))
    stream.seek(0)
    assert r"returned \u201cyes\u201d" in stream.read()


def test_rules_are_listed_with_level(capsys: pytest.CaptureFixture[str]) -> None:
    print_rules([samples.passed(), samples.failed(level=Level.SHOULD)])
    assert capsys.readouterr().out.splitlines() == [
        "R-REQ-1.required  MUST    A request without a version is rejected.",
        "R-PROV-4.same     SHOULD  A repeated PUT during an operation returns the same operation.",
    ]


# On a terminal


def test_narrow_terminal_wraps_sentence_below_rule(screen: Screen) -> None:
    with on(screen):
        print_report(samples.FAULTY)
    assert screen.lines[:5] == [
        "Every request",
        "passed  R-REQ-1.required  MUST",
        "    A request without a version is rejected.",
        "failed  R-REQ-4.echoed  SHOULD",
        "    A repeated PUT during an operation returns the same",
    ]
    assert all(len(line) <= 60 or line == CURL for line in screen.lines)


def test_curl_command_stays_on_one_line(screen: Screen) -> None:
    with on(screen):
        print_report(samples.make_report(samples.failed()))
    assert CURL in screen.lines
    assert CURL in screen.shown


def test_colours_are_disabled_by_no_color(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    with on(screen):
        print_report(samples.FAULTY)
    assert "\x1b[1;31mfailed" in screen.shown
    assert "\x1b[32mpassed" in screen.shown
    before = len(screen.shown)
    monkeypatch.setenv("NO_COLOR", "1")
    with on(screen):
        print_report(samples.FAULTY)
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", screen.shown[before:])


@pytest.mark.parametrize(
    ("report", "colour"),
    [
        (samples.CORRECT, 32),
        (samples.make_report(samples.failed(level=Level.SHOULD)), 33),
        (samples.FAULTY, 31),
        (samples.LEFT, 31),
        (samples.INTERRUPTED, 31),
    ],
)
def test_verdict_line_is_green_yellow_or_red(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, report: Report, colour: int
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    with on(screen):
        print_report(report)
    assert screen.shown.splitlines()[-1].startswith(f"\x1b[1;{colour}m")


def test_progress_bar_is_shown_on_terminal(screen: Screen) -> None:
    with on(screen), progress_bar() as update:
        update(Progress(0, 0, "reading the catalog"))
        update(Progress(2, 3, "[red]db/small\x1b[31m"))
    assert "2/3" in screen.shown
    assert r"[red]db/small\x1b[31m" in screen.shown
    with on(screen), progress_bar() as update:
        update(Progress(0, 0, "reading the catalog"))
    assert "0/?" in screen.shown


def test_progress_bar_is_silent_in_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar() as update:
        update(Progress(2, 3, "db/small"))
    assert capsys.readouterr() == ("", "")


@pytest.mark.integration
def test_check_command_output_on_terminal() -> None:
    with Terminal("tests.checker.fake_check", "faulty", samples.URL, columns=60) as terminal:
        assert terminal.read_all() == 1
        assert "3/3" in terminal.output
        assert "[red]hello-db/small" in terminal.output
        assert "\x1b[1;31mfailed" in terminal.output
        assert terminal.lines[0] == "Every request"
        assert CURL in terminal.lines
        assert terminal.lines[-1] == "requests in 5.2 s."


@pytest.mark.integration
def test_progress_bar_works_without_colours() -> None:
    with Terminal(
        "tests.checker.fake_check", "correct", samples.URL, environment={"NO_COLOR": "1"}
    ) as terminal:
        assert terminal.read_all() == 0
        assert "3/3" in terminal.output
        assert not re.search(r"\x1b\[[0-9;]*3[0-9](;[0-9]+)*m", terminal.output)
        assert terminal.lines[-1] == "2 rules passed, 0 failed, 1 skipped; 214 requests in 5.2 s."
