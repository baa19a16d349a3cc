"""Wording and structure that all report formats share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib import metadata
from typing import NamedTuple

from ..._internal.redaction import mask_json
from ..._internal.text import VALUE_LIMIT, format_duration, plural, truncate
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
"""The title of each family of rules."""

_FAMILY = re.compile(r"(.+?)(-[0-9]+)?(\..*)?", re.DOTALL)


class Section(NamedTuple):
    """The rules of one family.

    Args:
        family: ``"R-PROV"``.
        title: Their subject.
        verdicts: Their verdicts.
    """

    family: str
    title: str
    verdicts: list[Verdict]


class Part(NamedTuple):
    """A labelled line of a failure."""

    label: str
    text: str


def family(key: str) -> str:
    """Return the family of a rule: ``"R-PROV"`` for ``"R-PROV-4.same-operation"``."""
    match = _FAMILY.fullmatch(key)
    return match[1] if match else key


def by_section(verdicts: Iterable[Verdict]) -> list[Section]:
    """Group verdicts by the family of their rules, in the order of the rules."""
    sections: dict[str, Section] = {}
    for verdict in verdicts:
        name = family(verdict.key)
        sections.setdefault(name, Section(name, SECTIONS.get(name, name), [])).verdicts.append(verdict)
    return list(sections.values())


def failed_verdicts(report: Report) -> list[Verdict]:
    """Return the verdicts of broken rules, the most severe first."""
    failed = [verdict for verdict in report.verdicts if verdict.outcome is Outcome.FAILED]
    return sorted(failed, key=lambda verdict: list(Level).index(verdict.level))


def exchanges(failure: Failure, *, headers: bool = False) -> Iterator[Part]:
    """Yield the requests and responses of a failure in order."""
    for exchange in (*failure.before, failure.exchange):
        request = f"{exchange.request_line} {exchange.body_text}".rstrip()
        yield Part("request" if exchange is failure.exchange else "before", bounded(request))
        yield Part("response", bounded(exchange.response_line))
        if headers:
            yield from (Part("", bounded(line)) for line in exchange.response_header_lines)


def commands(failure: Failure) -> tuple[str, ...]:
    """Return the commands that repeat the requests of a failure."""
    return tuple(exchange.curl for exchange in (*failure.before, failure.exchange))


def leftover_name(leftover: Leftover) -> str:
    """Name a leftover by its ids."""
    if leftover.binding_id is None:
        return f"{leftover.what} {leftover.instance_id}"
    return f"{leftover.what} {leftover.binding_id} of the service instance {leftover.instance_id}"


def url(report: Report) -> str:
    """Return the broker's URL with any login masked."""
    return str(mask_json(report.url))


def problem(report: Report) -> str | None:
    """Return the reason why the check could not finish, as a sentence. None if it finished."""
    if report.problem is None:
        return None
    has_begun = any(verdict.judged for verdict in report.verdicts)
    summary = "The check did not finish" if has_begun else "The check could not start"
    return f"{summary}: {bounded(str(mask_json(report.problem))).rstrip('.')}."


def verdict(report: Report) -> str:
    """Summarise the report in one line."""
    failed = report.count(Outcome.FAILED)
    levels = [f"{report.count(Outcome.FAILED, level)} {level}" for level in Level]
    by_level = ", ".join(level for level in levels if not level.startswith("0 "))
    counts = [
        f"{plural(report.count(Outcome.PASSED), 'rule')} passed",
        f"{failed} failed" + (f" ({by_level})" if failed else ""),
        f"{report.count(Outcome.SKIPPED)} skipped",
    ]
    return f"{', '.join(counts)}; {plural(report.requests, 'request')} in {format_duration(report.seconds)}."


def conclusion(report: Report) -> str:
    """State the conclusion of the report in a sentence."""
    must, others = report.count(Outcome.FAILED, Level.MUST), report.count(Outcome.FAILED)
    if must:
        return f"This broker breaks {plural(must, 'MUST rule')}."
    if report.problem:
        return "The check could not determine whether this broker keeps the rules."
    if others:
        return f"This broker keeps all MUST rules and breaks {plural(others, 'other rule')}."
    if not report.count(Outcome.PASSED):
        return "No rule was evaluated."
    return "This broker keeps every evaluated rule."


def version() -> str:
    """Return the version of brokerkit that writes the report."""
    try:
        return metadata.version("osb-brokerkit")
    except metadata.PackageNotFoundError:  # imported from a folder without being installed
        return "unknown"


def bounded(text: str) -> str:
    """Put a text on one line and bound its length, because most of it comes from the broker."""
    return truncate(" ".join(text.split()), VALUE_LIMIT, count="characters")
