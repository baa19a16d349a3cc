"""Shows what a check found as subtests of pytest's, one for each rule."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

import pytest

from .._internal.text import printable
from ..checker.report import Failure, Outcome, Report, Verdict
from ..checker.reporters import common as telling

_MOST_FAILURES = 3
"""How many of the times that a rule was broken are shown."""


class Subtests(Protocol):
    """Pytest's fixture `subtests`, as much as is needed of it."""

    def test(self, msg: str | None = None) -> AbstractContextManager[None]:
        """What is done in it is a test of its own."""
        ...


def show(report: Report, subtests: Subtests) -> None:
    """Make each rule a subtest; then fail if the check was not done to its end, or left something."""
    for verdict in report.verdicts:
        with subtests.test(msg=verdict.key):
            if verdict.outcome is Outcome.FAILED:
                pytest.fail(_told(verdict), pytrace=False)
            if verdict.outcome is Outcome.SKIPPED:
                pytest.skip(verdict.why or "nothing was seen of it")
    lines = []
    trouble = telling.trouble(report)
    if trouble is not None:
        lines.append(f"{telling.url(report)}: {trouble}")
    for each in report.leftovers:
        lines.append(f"could not be deleted: {telling.leftover_name(each)}: {telling.shortened(each.why)}")
        lines.append(f"  try again: {each.curl}")
    if lines:
        pytest.fail(_clean(lines), pytrace=False)


def _told(verdict: Verdict) -> str:
    """A rule that was broken, and each time with the requests, the answers and how to ask again."""
    lines = [f"{verdict.key} ({verdict.level}): {verdict.sentence}"]
    for failure in verdict.failures[:_MOST_FAILURES]:
        lines += ["", *_times(failure)]
    more = len(verdict.failures) - _MOST_FAILURES
    if more > 0:
        lines += ["", f"and {telling.counted(more, 'time')} more"]
    return _clean(lines)


def _times(failure: Failure) -> list[str]:
    return [
        f"{failure.where}: {telling.shortened(failure.fault)}",
        *(f"  {part.label:<8} {part.text}" for part in telling.exchanges(failure)),
        f"  repeat   {failure.exchange.curl}",
    ]


def _clean(lines: list[str]) -> str:
    """Most of it comes from the broker, and a terminal must not be sent all of that."""
    return "\n".join(printable(line) for line in lines)
