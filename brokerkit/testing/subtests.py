"""The report of a check as pytest subtests, one for each rule."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

import pytest

from .._internal.text import plural, printable
from ..checker.report import Failure, Outcome, Report, Verdict
from ..checker.reporters import common

_FAILURE_LIMIT = 3
"""The number of failures that a subtest shows."""


class Subtests(Protocol):
    """The part of pytest's fixture `subtests` that is used here."""

    def test(self, msg: str | None = None) -> AbstractContextManager[None]:
        """Run a block as a test of its own."""
        ...


def report_subtests(report: Report, subtests: Subtests) -> None:
    """Make each rule a subtest; then fail if the check did not finish or did not delete a resource."""
    for verdict in report.verdicts:
        with subtests.test(msg=verdict.key):
            if verdict.outcome is Outcome.FAILED:
                pytest.fail(_describe_verdict(verdict), pytrace=False)
            if verdict.outcome is Outcome.SKIPPED:
                pytest.skip(verdict.why or "the check had no request for this rule")
    lines = []
    problem = common.problem(report)
    if problem is not None:
        lines.append(f"{common.url(report)}: {problem}")
    for leftover in report.leftovers:
        lines.append(
            f"could not be deleted: {common.leftover_name(leftover)}: {common.bounded(leftover.why)}"
        )
        lines.append(f"  try again: {leftover.curl}")
    if lines:
        pytest.fail(_printable_lines(lines), pytrace=False)


def _describe_verdict(verdict: Verdict) -> str:
    """Describe a failed rule: its failures with their requests, responses and commands to repeat them."""
    lines = [f"{verdict.key} ({verdict.level}): {verdict.sentence}"]
    for failure in verdict.failures[:_FAILURE_LIMIT]:
        lines += ["", *_describe_failure(failure)]
    more = len(verdict.failures) - _FAILURE_LIMIT
    if more > 0:
        lines += ["", f"and {plural(more, 'time')} more"]
    return _printable_lines(lines)


def _describe_failure(failure: Failure) -> list[str]:
    return [
        f"{failure.where}: {common.bounded(failure.fault)}",
        *(f"  {part.label:<8} {part.text}" for part in common.exchanges(failure)),
        f"  repeat   {failure.exchange.curl}",
    ]


def _printable_lines(lines: list[str]) -> str:
    """Join lines and escape control characters: most text comes from the broker, the output is a terminal."""
    return "\n".join(printable(line) for line in lines)
