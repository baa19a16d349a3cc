"""The report as JUnit XML, for GitLab, Jenkins, GitHub Actions and other CI systems.

Each family of rules is a test suite, and each rule is a test case. The `classname` of a test case is the
family (``R-PROV``). Its `name` is the key and the sentence. A broken rule is a failure of the type
``MUST``, ``SHOULD`` or ``INTEROP``. All three are failures, because these systems know only success and
failure. ``--level MUST`` leaves the other levels out. The exit code of the command distinguishes them.

If the check could not finish, or could not delete a resource, that is an error in the suite ``check``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from xml.etree import ElementTree as ET

from ..._internal.text import plural, printable
from ..report import Failure, Outcome, Report, Verdict
from . import common


def junit(report: Report) -> str:
    """Render a report as JUnit XML.

    Args:
        report: The report.
    """
    root = ET.Element("testsuites", {"name": "brokerkit check", "time": f"{report.seconds:.3f}"})
    properties = {
        "url": common.url(report),
        "plans": ", ".join(report.plans),
        "requests": str(report.requests),
        "exit_code": str(report.exit_code),
        "brokerkit": common.version(),
    }
    started = report.started_at.isoformat(timespec="seconds")
    for section in common.by_section(report.verdicts):
        cases = [_case(verdict) for verdict in section.verdicts]
        _add_suite(root, f"{section.family}: {section.title}", started, properties, cases)
    if errors := list(_errors(report)):
        _add_suite(root, "check", started, properties, errors)
    _count(root, root.iter("testcase"))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _add_suite(
    root: ET.Element, name: str, started: str, properties: Mapping[str, str], cases: list[ET.Element]
) -> None:
    suite = _element(root, "testsuite", name=name, timestamp=started, time="0.000")
    shown = _element(suite, "properties")
    for key, value in properties.items():
        _element(shown, "property", name=key, value=value)
    suite.extend(cases)
    _count(suite, cases)


def _count(element: ET.Element, cases: Iterable[ET.Element]) -> None:
    cases = list(cases)
    element.set("tests", str(len(cases)))
    for attribute, tag in {"failures": "failure", "errors": "error", "skipped": "skipped"}.items():
        element.set(attribute, str(sum(case.find(tag) is not None for case in cases)))


def _case(verdict: Verdict) -> ET.Element:
    name = f"{verdict.key}: {verdict.sentence}"
    case = _element(None, "testcase", classname=common.family(verdict.key), name=name, time="0.000")
    if verdict.outcome is Outcome.FAILED:
        first, *others = verdict.failures
        more = f" (and {len(others)} more)" if others else ""
        message = f"{first.where}: {common.bounded(first.fault)}{more}"
        body = "\n\n".join(_describe(failure) for failure in verdict.failures)
        _element(case, "failure", text=body, type=verdict.level.value, message=message)
    elif verdict.outcome is Outcome.SKIPPED:
        _element(case, "skipped", message=verdict.why or "")
    return case


def _describe(failure: Failure) -> str:
    lines = [f"{failure.where}: {common.bounded(failure.fault)}"]
    lines += [f"  {part.label:<8} {part.text}" for part in common.exchanges(failure, headers=True)]
    return "\n".join([*lines, "  repeat with:", *common.commands(failure)])


def _errors(report: Report) -> Iterable[ET.Element]:
    problem = common.problem(report)
    if problem is not None:
        case = _element(None, "testcase", classname="check", name="The check finishes", time="0.000")
        _element(case, "error", type="problem", message=problem)
        yield case
    if report.leftovers:
        case = _element(
            None, "testcase", classname="check", name="The check deletes its resources", time="0.000"
        )
        lines = [
            f"{common.leftover_name(leftover)}: {common.bounded(leftover.why)}\n{leftover.curl}"
            for leftover in report.leftovers
        ]
        first = common.leftover_name(report.leftovers[0])
        message = f"{plural(len(lines), 'resource')} could not be deleted: {first}"
        _element(case, "error", text="\n\n".join(lines), type="leftovers", message=message)
        yield case


def _element(parent: ET.Element | None, tag: str, text: str | None = None, **attributes: str) -> ET.Element:
    """Create an element whose texts are valid in XML 1.0."""
    clean = {name: printable(value) for name, value in attributes.items()}
    element = ET.Element(tag, clean) if parent is None else ET.SubElement(parent, tag, clean)
    if text is not None:
        element.text = "\n".join(printable(line) for line in text.split("\n"))
    return element
