"""What all reports say in the same words: chapters, what is told of a failure, the verdict."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib import metadata
from typing import NamedTuple

from ...client.exchange import mask_json
from ..report import Failure, Leftover, Level, Outcome, Report, Verdict

SECTIONS = {
    "R-REQ": "Every request",
    "R-ERR": "Errors",
    "R-CAT": "Catalog",
    "R-PROV": "Provision",
    "R-GETI": "Fetch an instance",
    "R-UPD": "Update",
    "R-BIND": "Bind",
    "R-GETB": "Fetch a binding",
    "R-UNB": "Unbind",
    "R-DEL": "Deprovision",
    "R-LAST": "Last operation",
}
"""The rules by what they are about."""

_FAMILY = re.compile(r"(.+?)(-[0-9]+)?(\..*)?", re.DOTALL)
_LONGEST = 4_000
"""How many characters of a text are told. A command that is to be copied is told as a whole."""


class Section(NamedTuple):
    """The rules of one family.

    Args:
        family: ``"R-PROV"``.
        title: What they are about.
        verdicts: What became of them.
    """

    family: str
    title: str
    verdicts: list[Verdict]


class Part(NamedTuple):
    """Something that is told of a failure."""

    label: str
    text: str


def family(key: str) -> str:
    """The family of a rule: ``"R-PROV"`` of ``"R-PROV-4.same-operation"``."""
    match = _FAMILY.fullmatch(key)
    return match[1] if match else key


def by_section(verdicts: Iterable[Verdict]) -> list[Section]:
    """The verdicts by what their rules are about, in the order of the rules."""
    found: dict[str, Section] = {}
    for each in verdicts:
        name = family(each.key)
        found.setdefault(name, Section(name, SECTIONS.get(name, name), [])).verdicts.append(each)
    return list(found.values())


def broken(report: Report) -> list[Verdict]:
    """The rules that were broken, the worst first."""
    failed = [each for each in report.verdicts if each.outcome is Outcome.FAILED]
    return sorted(failed, key=lambda each: list(Level).index(each.level))


def exchanges(failure: Failure, *, headers: bool = False) -> Iterator[Part]:
    """The requests and answers of a failure, in their order."""
    for exchange in (*failure.before, failure.exchange):
        asked = f"{exchange.request_line} {exchange.body_text}".rstrip()
        yield Part("request" if exchange is failure.exchange else "before", shortened(asked))
        yield Part("answer", shortened(exchange.response_line))
        if headers:
            yield from (Part("", shortened(line)) for line in exchange.response_header_lines)


def commands(failure: Failure) -> tuple[str, ...]:
    """The commands that do it again."""
    return tuple(exchange.curl for exchange in (*failure.before, failure.exchange))


def leftover_name(leftover: Leftover) -> str:
    """What could not be deleted, by its ids."""
    if leftover.binding_id is None:
        return f"{leftover.what} {leftover.instance_id}"
    return f"{leftover.what} {leftover.binding_id} of the service instance {leftover.instance_id}"


def url(report: Report) -> str:
    """Where the broker is, without the login that somebody may have written into the URL."""
    return str(mask_json(report.url))


def trouble(report: Report) -> str | None:
    """Why the check could not be done, in a sentence; None if it could."""
    if report.trouble is None:
        return None
    judged = any(each.judged for each in report.verdicts)
    what = "The check was not done to its end" if judged else "Could not check"
    return f"{what}: {shortened(str(mask_json(report.trouble))).rstrip('.')}."


def verdict(report: Report) -> str:
    """What the check found, in one line."""
    failed = report.count(Outcome.FAILED)
    levels = [f"{report.count(Outcome.FAILED, level)} {level}" for level in Level]
    by_level = ", ".join(each for each in levels if not each.startswith("0 "))
    counts = [
        f"{counted(report.count(Outcome.PASSED), 'rule')} passed",
        f"{failed} failed" + (f" ({by_level})" if failed else ""),
        f"{report.count(Outcome.SKIPPED)} skipped",
    ]
    return f"{', '.join(counts)}; {counted(report.requests, 'request')} in {duration(report.seconds)}."


def conclusion(report: Report) -> str:
    """What that means, in a few words."""
    must, others = report.count(Outcome.FAILED, Level.MUST), report.count(Outcome.FAILED)
    if must:
        return f"This broker breaks {counted(must, 'rule')} that it must keep."
    if report.trouble:
        return "Whether this broker keeps the rules could not be found out."
    if others:
        return f"This broker keeps all that it must, and should do {counted(others, 'thing')} better."
    if not report.count(Outcome.PASSED):
        return "No rule was judged."
    return "This broker keeps every rule that was judged."


def version() -> str:
    """The version of brokerkit that tells it."""
    try:
        return metadata.version("osb-brokerkit")
    except metadata.PackageNotFoundError:  # it was not installed, but found in its folder
        return "unknown"


def counted(number: int, what: str) -> str:
    """``1 rule``, ``62 rules``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """``5.2 s``, ``3 min 20 s``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def shortened(text: str) -> str:
    """A text on one line and of a bounded length: most of it comes from the broker."""
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text):,} characters)"
