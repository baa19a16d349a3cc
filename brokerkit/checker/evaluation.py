"""Evaluation of rules: from observations to verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .report import Failure, Verdict
from .rule import Observation, Rule
from .situations import Situation

_NOT_COME_TO = "the check did not reach it"
_NO_SUCH_ANSWER = "the broker returned no such response"


def evaluate(
    rules: Iterable[Rule], seen: Sequence[Observation], skipped: Mapping[Situation, str]
) -> list[Verdict]:
    """Evaluate each rule on all observations that it selects.

    Args:
        rules: The rules.
        observations: The observations.
        skipped: The reasons why some situations did not occur.
    """
    return [_verdict(rule, [each for each in seen if rule.when(each)], skipped) for rule in rules]


def _verdict(rule: Rule, seen: Sequence[Observation], skipped: Mapping[Situation, str]) -> Verdict:
    failures = [
        Failure(where=each.where, fault=fault, exchange=each.exchange, before=each.before)
        for each in seen
        if (fault := rule.evaluate(each)) is not None
    ]
    why: str | None = None
    if not seen:
        reasons = [skipped[each] for each in rule.situations if each in skipped]
        why = reasons[0] if reasons else _NOT_COME_TO if rule.situations else _NO_SUCH_ANSWER
    return Verdict(
        key=rule.key,
        level=rule.level,
        sentence=rule.sentence,
        judged=len(seen),
        failures=tuple(failures),
        why=why,
    )
