"""The report as one self-contained HTML page, without scripts or external resources.

Everything from the broker is treated as hostile: it is escaped, and invisible or misleading characters are
written as escape sequences.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

from jinja2 import Environment, StrictUndefined, Template

from ..._internal.text import format_duration, plural, printable
from ..report import Level, Outcome, Report
from . import common

SHOWN = 3
"""Failures of a rule that are open initially."""


def html(report: Report) -> str:
    """Render a report as an HTML page.

    Args:
        report: The report.
    """
    failed = common.failed_verdicts(report)
    page = _template().render(
        report=report,
        common=common,
        plural=plural,
        format_duration=format_duration,
        Level=Level,
        Outcome=Outcome,
        failed=failed,
        anchors={verdict.key: f"failed-{number}" for number, verdict in enumerate(failed, 1)},
        sections=common.by_section(report.verdicts),
        shown=SHOWN,
    )
    return f"{page}\n"


@cache
def _template() -> Template:
    source = resources.files(__package__).joinpath("page.html.jinja").read_text(encoding="utf-8")
    return Environment(autoescape=True, undefined=StrictUndefined, finalize=_finalize).from_string(source)


def _finalize(value: object) -> object:
    """Make the value of an expression printable."""
    return printable(value) if type(value) is str else value
