"""Options of a check: selection of rules, validation, and secrets."""

from __future__ import annotations

from typing import Any

import pytest

from brokerkit.checker.options import Options
from brokerkit.checker.report import Level

KEY = "R-PROV-4.same-operation"


@pytest.mark.parametrize(
    ("least", "wanted"),
    [
        (Level.MUST, {Level.MUST}),
        (Level.SHOULD, {Level.MUST, Level.SHOULD}),
        (Level.INTEROP, {Level.MUST, Level.SHOULD, Level.INTEROP}),
    ],
)
def test_level_option_includes_stricter_levels(least: Level, wanted: set[Level]) -> None:
    options = Options(level=least)
    assert {level for level in Level if options.wants(KEY, level)} == wanted


def test_default_options_select_all_rules() -> None:
    assert all(Options().wants(KEY, level) for level in Level)


@pytest.mark.parametrize("prefix", ["R-PROV", "R-PROV-4", "R-PROV-4.same", KEY, "r-prov-4.Same-Operation"])
def test_rule_prefix_selects_matching_rules(prefix: str) -> None:
    assert Options(only=[prefix]).wants(KEY, Level.MUST)
    assert not Options(skip=[prefix]).wants(KEY, Level.MUST)


@pytest.mark.parametrize(
    "prefix", ["R-PRO", "R-PROV-", "R-PROV-40", "R-PROV-4.sam", "PROV", "", "R.PROV", f"{KEY}s"]
)
def test_rule_prefix_matches_whole_words_only(prefix: str) -> None:
    assert not Options(only=[prefix]).wants(KEY, Level.MUST)
    assert Options(skip=[prefix]).wants(KEY, Level.MUST)


def test_rule_prefix_matches_whole_number() -> None:
    """The prefix R-PROV-4 does not select R-PROV-40."""
    assert not Options(only=["R-PROV-4"]).wants("R-PROV-40.other", Level.MUST)


def test_skip_overrides_only() -> None:
    options = Options(only=["R-PROV"], skip=["R-PROV-4"])
    assert options.wants("R-PROV-3.again", Level.MUST)
    assert not options.wants(KEY, Level.MUST)
    assert not options.wants("R-BIND-1.created", Level.MUST)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"platform": "heroku"}, "cloudfoundry, korifi, kubernetes"),
        ({"timeout": 0}, "timeout is 0"),
        ({"timeout": float("nan")}, "timeout is nan"),
        ({"operation_timeout": -1.0}, "operation_timeout is -1.0"),
        ({"jobs": 0}, "jobs is 0"),
        ({"jobs": 101}, "at most 100"),
        ({"plans": "hello-db"}, "plans is a string"),
        ({"only": "R-CAT"}, "only is a string"),
        ({"skip": "R-CAT-5"}, "skip is a string"),
    ],
)
def test_options_reject_invalid_values(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Options(**fields)


def test_options_repr_hides_secrets() -> None:
    parameters = {"*": {"provision": ({"license": "not-to-be-seen"},)}}
    shown = repr(Options(username="platform", password="not-to-be-seen", parameters=parameters))
    assert "not-to-be-seen" not in shown
    assert "platform" in shown
    assert "not-to-be-seen" not in repr(Options(token="not-to-be-seen"))
