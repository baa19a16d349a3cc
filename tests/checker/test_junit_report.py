"""JUnit XML, as CI systems read it: whatever a broker says, and with nothing lost."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from brokerkit.checker.report import Level, Report
from brokerkit.checker.reporters.junit import junit

from . import sample_reports as samples


def read(report: Report) -> ET.Element:
    return ET.fromstring(junit(report).encode())


@pytest.mark.parametrize("name", samples.ALL)
def test_junit_report_is_valid_with_correct_counts(name: str) -> None:
    """Every report is well-formed XML whose test, failure, error and skip counts match its elements."""
    text = junit(samples.ALL[name])
    assert all(character == "\n" or character.isprintable() for character in text)
    root = read(samples.ALL[name])
    assert root.tag == "testsuites"
    for element in (root, *root):
        cases = list(element.iter("testcase"))
        assert element.get("tests") == str(len(cases))
        for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert element.get(attribute) == str(len(list(element.iter(tag))))
    for suite in root:
        assert [child.tag for child in suite][:1] == ["properties"]
        assert {child.tag for child in suite} == {"properties", "testcase"}
        assert all(case.keys() == ["classname", "name", "time"] for case in suite.iter("testcase"))
        assert all(len(case) <= 1 for case in suite.iter("testcase"))


def test_junit_maps_groups_to_suites_with_cases() -> None:
    """Each rule group is a test suite and each rule is a test case."""
    root = read(samples.FAULTY)
    assert [suite.get("name") for suite in root] == [
        "R-REQ: Every request",
        "R-PROV: Provision",
        "R-GETI: Fetch an instance",
    ]
    assert [
        (case.get("classname"), (case.get("name") or "").split(":")[0]) for case in root.iter("testcase")
    ] == [
        ("R-REQ", "R-REQ-1.required"),
        ("R-REQ", "R-REQ-4.echoed"),
        ("R-PROV", "R-PROV-4.same"),
        ("R-PROV", "R-PROV-1.created"),
        ("R-GETI", "R-GETI-1.found"),
    ]
    first = next(root.iter("testcase"))
    assert first.get("name") == "R-REQ-1.required: A request without a version is rejected."


def test_junit_failure_contains_exchanges_and_curl() -> None:
    first, second = read(samples.FAULTY).iter("failure")
    assert (first.get("type"), second.get("type")) == ("SHOULD", "MUST")
    assert first.get("message") == "hello-db/large: returned a different operation than before"
    assert second.get("message") == f"{first.get('message')} (and 4 more)"
    body = second.text or ""
    assert body.count("hello-db/large: returned a different operation than before") == 5
    lines = body.split("\n\n")[0].splitlines()
    body_sent = '{"service_id":"s1","parameters":{"password":"***"}}'
    request = f"PUT /v2/service_instances/i1?accepts_incomplete=true {body_sent}"
    assert lines[1:3] == [f"  before   {request}", '  response 202 {"operation":"one"}']
    assert f"  request  {request}" in lines
    assert '  response 202 {"operation":"two"}' in lines
    assert "           content-type: application/json" in lines
    commands = lines[lines.index("  repeat with:") + 1 :]
    failure = samples.FAULTY.verdicts[2].failures[0]
    assert commands == [failure.before[0].curl, failure.exchange.curl]


@pytest.mark.parametrize("level", Level)
def test_junit_failure_type_is_the_level(level: Level) -> None:
    (failure,) = read(samples.make_report(samples.failed(level=level))).iter("failure")
    assert failure.get("type") == level.value


def test_junit_skipped_case_gives_the_reason() -> None:
    (skipped,) = read(samples.CORRECT).iter("skipped")
    assert skipped.get("message") == "no offering is instances_retrievable"


def test_junit_suite_has_run_properties() -> None:
    suite = read(samples.FAULTY)[0]
    assert suite.get("timestamp") == "2026-11-24T03:00:00+00:00"
    properties = {item.get("name"): item.get("value") for item in suite.iter("property")}
    assert properties.pop("brokerkit")
    assert properties == {
        "url": samples.URL,
        "plans": "hello-db/small, hello-db/large",
        "requests": "214",
        "exit_code": "1",
    }


def test_junit_reports_leftovers_and_aborts_as_errors() -> None:
    (error,) = read(samples.INTERRUPTED).iter("error")
    assert error.get("message") == "The check did not finish: interrupted."
    (error,) = read(samples.LEFT).iter("error")
    assert error.get("message") == "2 resources could not be deleted: service instance i1"
    assert error.text == (
        "service instance i1: 500 {}\ncurl -X DELETE i1\n\n"
        "service binding b1 of the service instance i1: no response\ncurl -X DELETE b1"
    )
    assert not list(read(samples.CORRECT).iter("error"))


def test_junit_escapes_hostile_broker_text() -> None:
    """Broker text is escaped, shortened and free of secrets."""
    text = junit(samples.NASTY)
    assert "<script>" not in text
    assert samples.PASSWORD not in text
    assert samples.SECRETS[0] not in text
    assert "not-to-be-seen" not in text
    (failure,) = read(samples.NASTY).iter("failure")
    message = failure.get("message") or ""
    assert message.startswith(r"\x1b[31;1m<script>alert(1)</script>]]>&amp;\x00\x07\x9b2J\u202e\ud800 [bold]")
    assert len(text) < 100_000
