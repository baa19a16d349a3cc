"""A pytest plugin: tests cite the rules of ``docs/rules.md``, and a report counts the tests of each rule.

A test cites rules with ``@pytest.mark.rule("R-PROV-6")``. A rule that ``docs/rules.md`` does not have is a
collection error. ``pytest --rules-report`` prints the report, with or without ``--collect-only`` and xdist.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator, Iterable
from pathlib import Path

import pytest

RULES_FILE = Path(__file__).parents[2] / "docs/rules.md"

_SECTION = re.compile(r"#+ ")
_PREFIX = re.compile(r"\((R-[A-Z]+)\)")
_ITEM = re.compile(r"(\d+)\. ")


def rule_ids(text: str) -> tuple[str, ...]:
    """Return the ids of the rules in a Markdown text, in its order.

    The numbered items below a heading ``Provision (R-PROV)`` are R-PROV-1, R-PROV-2 and so on. A heading with
    two prefixes gives each item two ids. A section without numbered items is one rule, such as R-GETI.
    """
    sections: list[tuple[list[str], list[str]]] = []
    for line in text.splitlines():
        if _SECTION.match(line):
            sections.append((_PREFIX.findall(line), []))
        elif sections and (item := _ITEM.match(line)):
            sections[-1][1].append(item[1])
    return tuple(
        rule
        for prefixes, numbers in sections
        for prefix in prefixes
        for rule in ([f"{prefix}-{number}" for number in numbers] or [prefix])
    )


def report(rules: Iterable[str], counts: dict[str, int]) -> str:
    """Return the lines of the report: each rule with its number of tests, then the rules without one."""
    lines = [f"{rule:<10} {counts.get(rule, 0):>4}" for rule in rules]
    uncited = [rule for rule in rules if not counts.get(rule)]
    lines.append(f"Rules without a test: {', '.join(uncited) or 'none'}")
    return "\n".join(lines)


class RulesPlugin:
    """Checks the rules that tests cite, and counts the tests of each rule.

    Args:
        rules: The ids of the rules that there are.
    """

    def __init__(self, rules: tuple[str, ...]) -> None:
        self.rules = rules
        self.counts: dict[str, int] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self,
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Replace the tests of a module or class that cites an unknown rule by an error."""
        collected = yield
        items = [node for node in collected.result or () if isinstance(node, pytest.Item)]
        unknown = {
            f"{item.nodeid}: unknown rule {rule!r}; use an id of docs/rules.md"
            for item in items
            for rule in _cited(item)
            if rule not in self.rules
        }
        if unknown:
            collected.outcome = "failed"
            collected.longrepr = "\n".join(sorted(unknown))
            collected.result = []
        return collected

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Count the test functions of each rule, before ``-k`` and ``-m`` deselect some of them."""
        citations = {(rule, item.nodeid.partition("[")[0]) for item in items for rule in _cited(item)}
        self.counts = dict(Counter(str(rule) for rule, _ in citations))
        if (output := getattr(config, "workeroutput", None)) is not None:
            output["rules"] = self.counts

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object) -> None:
        """Take over the counts of an xdist worker: each worker collects all tests."""
        self.counts = getattr(node, "workeroutput", {}).get("rules", self.counts)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the report, if ``--rules-report`` is set."""
        if terminalreporter.config.getoption("rules_report"):
            terminalreporter.section("rules")
            terminalreporter.write_line(report(self.rules, self.counts))


def _cited(item: pytest.Item) -> Iterable[object]:
    for mark in item.iter_markers("rule"):
        yield from mark.args or ("",)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option ``--rules-report``."""
    parser.addoption("--rules-report", action="store_true", help="Print the number of tests of each rule.")


def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin. The marker ``rule`` is registered in ``pyproject.toml``."""
    config.pluginmanager.register(RulesPlugin(rule_ids(RULES_FILE.read_text(encoding="utf-8"))))
