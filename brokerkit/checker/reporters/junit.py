"""A report as JUnit XML, as GitLab, Jenkins, GitHub's actions and others read it.

Each chapter is a test suite and each rule a test case: its `classname` is the family of the rule
(``R-PROV``), its `name` is the key and the sentence. A rule that was broken is a failure of the type
``MUST``, ``SHOULD`` or ``INTEROP``. All three are failures, because these systems have nothing between right
and wrong; ``--level MUST`` leaves the others out. The exit code of the command tells them apart.

If the check could not be done to its end, or could not delete what it made, that is an error in a suite
``check``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from xml.etree import ElementTree as ET

from ..._internal.text import printable
from ..report import Failure, Outcome, Report, Verdict
from . import common as telling


def junit(report: Report) -> str:
    """A report as JUnit XML.

    Args:
        report: What the check found.
    """
    root = ET.Element("testsuites", {"name": "brokerkit check", "time": f"{report.seconds:.3f}"})
    properties = {
        "url": telling.url(report),
        "plans": ", ".join(report.plans),
        "requests": str(report.requests),
        "exit_code": str(report.exit_code),
        "brokerkit": telling.version(),
    }
    started = report.started_at.isoformat(timespec="seconds")
    for chapter in telling.by_section(report.verdicts):
        cases = [_case(verdict) for verdict in chapter.verdicts]
        _add_suite(root, f"{chapter.family}: {chapter.title}", started, properties, cases)
    if trouble := list(_trouble(report)):
        _add_suite(root, "check", started, properties, trouble)
    _count(root, root.iter("testcase"))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _add_suite(
    root: ET.Element, name: str, started: str, properties: Mapping[str, str], cases: list[ET.Element]
) -> None:
    suite = _element(root, "testsuite", name=name, timestamp=started, time="0.000")
    shown = _element(suite, "properties")
    for each, value in properties.items():
        _element(shown, "property", name=each, value=value)
    suite.extend(cases)
    _count(suite, cases)


def _count(element: ET.Element, cases: Iterable[ET.Element]) -> None:
    cases = list(cases)
    element.set("tests", str(len(cases)))
    for attribute, tag in {"failures": "failure", "errors": "error", "skipped": "skipped"}.items():
        element.set(attribute, str(sum(case.find(tag) is not None for case in cases)))


def _case(verdict: Verdict) -> ET.Element:
    name = f"{verdict.key}: {verdict.sentence}"
    case = _element(None, "testcase", classname=telling.family(verdict.key), name=name, time="0.000")
    if verdict.outcome is Outcome.FAILED:
        first, *others = verdict.failures
        more = f" (and {len(others)} more)" if others else ""
        message = f"{first.where}: {telling.shortened(first.fault)}{more}"
        body = "\n\n".join(_told(each) for each in verdict.failures)
        _element(case, "failure", text=body, type=verdict.level.value, message=message)
    elif verdict.outcome is Outcome.SKIPPED:
        _element(case, "skipped", message=verdict.why or "")
    return case


def _told(failure: Failure) -> str:
    lines = [f"{failure.where}: {telling.shortened(failure.fault)}"]
    lines += [f"  {part.label:<8} {part.text}" for part in telling.exchanges(failure, headers=True)]
    return "\n".join([*lines, "  repeat with:", *telling.commands(failure)])


def _trouble(report: Report) -> Iterable[ET.Element]:
    trouble = telling.trouble(report)
    if trouble is not None:
        case = _element(
            None, "testcase", classname="check", name="The check is done to its end", time="0.000"
        )
        _element(case, "error", type="trouble", message=trouble)
        yield case
    if report.leftovers:
        case = _element(
            None, "testcase", classname="check", name="What the check made is deleted", time="0.000"
        )
        lines = [
            f"{telling.leftover_name(each)}: {telling.shortened(each.why)}\n{each.curl}"
            for each in report.leftovers
        ]
        what = telling.counted(len(lines), "thing")
        message = f"{what} could not be deleted: {telling.leftover_name(report.leftovers[0])}"
        _element(case, "error", text="\n\n".join(lines), type="leftovers", message=message)
        yield case


def _element(parent: ET.Element | None, tag: str, text: str | None = None, **attributes: str) -> ET.Element:
    """An element with texts that XML 1.0 can have."""
    clean = {name: printable(value) for name, value in attributes.items()}
    element = ET.Element(tag, clean) if parent is None else ET.SubElement(parent, tag, clean)
    if text is not None:
        element.text = "\n".join(printable(line) for line in text.split("\n"))
    return element
