"""Tests of the plugin that counts the tests of each rule."""

from __future__ import annotations

import re

import pytest

from .rules import RULES_FILE, report, rule_ids

pytest_plugins = "pytester"

WITH_XDIST = pytest.param(("-p", "xdist", "-n", "1"), marks=pytest.mark.integration)

TEXT = """\
# The API

1. Not a rule.

## Provision (R-PROV)

Body: `service_id`.

1. 201 when created;
   10. indented text is no item.
2. 200 when it exists.

## Fetch (R-GETI)

404 when it does not exist.

## Unbind (R-UNB) and deprovision (R-DEL)

1. 200.
"""

TESTS = """
    import pytest

    @pytest.mark.rule("R-PROV-6", "R-GETI")
    @pytest.mark.parametrize("number", [1, 2])
    def test_one(number):
        pass

    @pytest.mark.rule("R-PROV-6")
    class TestTwo:
        def test_three(self):
            pass
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project whose conftest has the plugin."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    # Workers of xdist do not inherit the path of a controller that runs inside this process.
    pytester.makeconftest(
        f"import sys\nsys.path.insert(0, {str(RULES_FILE.parents[1])!r})\n"
        'pytest_plugins = ["tests.support.rules"]'
    )
    pytester.makeini("[pytest]\naddopts = --strict-markers\nmarkers = rule(id)")
    pytester.makepyfile(TESTS)
    return pytester


def test_rule_ids_of_text() -> None:
    assert rule_ids(TEXT) == ("R-PROV-1", "R-PROV-2", "R-GETI", "R-UNB-1", "R-DEL-1")


def test_rule_ids_of_documentation() -> None:
    text = RULES_FILE.read_text(encoding="utf-8")
    rules = rule_ids(text)
    assert len(set(rules)) == len(rules)
    assert {"R-REQ-1", "R-REQ-10", "R-GETI", "R-GETB", "R-DEL-3", "R-UNB-5", "R-LAST-5"} <= set(rules)
    assert {rule[: rule.find("-", 2)] if rule[-1].isdigit() else rule for rule in rules} == set(
        re.findall(r"\((R-[A-Z]+)\)", text)
    )


def test_report_lists_uncited_rules() -> None:
    lines = [line.split() for line in report(("R-A-1", "R-A-2"), {"R-A-1": 12}).splitlines()]
    assert lines == [["R-A-1", "12"], ["R-A-2", "0"], ["Rules", "without", "a", "test:", "R-A-2"]]
    assert report(("R-A-1",), {"R-A-1": 1}).endswith("Rules without a test: none")


@pytest.mark.parametrize("options", [("--collect-only", "-q"), (), WITH_XDIST, ("-k", "one")])
def test_report_counts_test_functions(project: pytest.Pytester, options: tuple[str, ...]) -> None:
    result = project.runpytest_inprocess("--rules-report", *options)
    assert result.ret == 0
    result.stdout.re_match_lines(
        [
            "R-PROV-5 +0",
            "R-PROV-6 +2",
            "R-GETI +1",
            r"Rules without a test: R-REQ-1, .*R-PROV-5, R-PROV-7, .*",
        ]
    )


def test_no_report_without_option(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess()
    result.assert_outcomes(passed=3)
    result.stdout.no_fnmatch_line("*Rules without*")


@pytest.mark.parametrize("options", [(), WITH_XDIST, ("--collect-only",)])
def test_unknown_rule_is_error(project: pytest.Pytester, options: tuple[str, ...]) -> None:
    project.makepyfile(test_other='import pytest\n\n@pytest.mark.rule("R-PROV-99")\ndef test_two(): pass\n')
    result = project.runpytest_inprocess(*options)
    assert result.ret in {pytest.ExitCode.INTERRUPTED, pytest.ExitCode.TESTS_FAILED}  # the latter by xdist
    result.stdout.fnmatch_lines(
        ["*test_other.py::test_two: unknown rule 'R-PROV-99'; use an id of docs/rules.md"]
    )


@pytest.mark.parametrize(
    "test",
    [
        "@pytest.mark.rule()\ndef test_two(): pass",
        '@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.rule("R"))])\ndef test_a(x): pass',
        'class TestTwo:\n    @pytest.mark.rule("PROV-1")\n    def test_two(self): pass',
    ],
)
def test_unknown_rule_of_other_tests(project: pytest.Pytester, test: str) -> None:
    project.makepyfile(test_other=f"import pytest\n\n{test}\n")
    result = project.runpytest_inprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*unknown rule *"])
