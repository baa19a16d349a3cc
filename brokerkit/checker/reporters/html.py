"""A report as one page to hand on: nothing is loaded for it, and no script runs in it.

All that a broker says is hostile here: it is escaped, and what would not be seen or would deceive a reader is
written out.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

from jinja2 import Environment, StrictUndefined, Template

from ..._internal.text import printable
from ..report import Level, Outcome, Report
from . import common as telling

SHOWN = 3
"""How many failures of a rule are open at first."""


def html(report: Report) -> str:
    """A report as a page of HTML.

    Args:
        report: What the check found.
    """
    broken = telling.broken(report)
    page = _template().render(
        report=report,
        telling=telling,
        Level=Level,
        Outcome=Outcome,
        broken=broken,
        anchors={verdict.key: f"failed-{number}" for number, verdict in enumerate(broken, 1)},
        chapters=telling.by_section(report.verdicts),
        shown=SHOWN,
    )
    return f"{page}\n"


@cache
def _template() -> Template:
    source = resources.files(__package__).joinpath("page.html.jinja").read_text(encoding="utf-8")
    return Environment(autoescape=True, undefined=StrictUndefined, finalize=_seen).from_string(source)


def _seen(value: object) -> object:
    """What an expression of the page shows."""
    return printable(value) if type(value) is str else value
