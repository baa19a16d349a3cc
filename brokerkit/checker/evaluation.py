"""Evaluation of rules: from observations to verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .report import Failure, Verdict
from .rule import Observation, Rule
from .situations import Situation

_NOT_REACHED = "the check did not reach it"
_NO_SUCH_RESPONSE = "the broker returned no such response"


def evaluate(
    rules: Iterable[Rule], observations: Sequence[Observation], skipped: Mapping[Situation, str]
) -> list[Verdict]:
    """Evaluate each rule on all observations that it selects.

    Args:
        rules: The rules.
        observations: The observations.
        skipped: The reasons why some situations did not occur.
    """
    return [
        _verdict(rule, [observation for observation in observations if rule.when(observation)], skipped)
        for rule in rules
    ]


def _verdict(rule: Rule, observations: Sequence[Observation], skipped: Mapping[Situation, str]) -> Verdict:
    failures = [
        Failure(
            where=observation.where,
            fault=fault,
            exchange=observation.exchange,
            before=observation.previous,
        )
        for observation in observations
        if (fault := rule.evaluate(observation)) is not None
    ]
    why: str | None = None
    if not observations:
        reasons = [skipped[situation] for situation in rule.situations if situation in skipped]
        why = reasons[0] if reasons else _NOT_REACHED if rule.situations else _NO_SUCH_RESPONSE
    return Verdict(
        key=rule.key,
        level=rule.level,
        sentence=rule.sentence,
        judged=len(observations),
        failures=tuple(failures),
        why=why,
    )
