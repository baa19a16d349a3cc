"""The report of a check: a verdict for each rule, and the leftovers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from ..client.exchange import Exchange


class Level(StrEnum):
    """The severity of breaking a rule."""

    MUST = "MUST"  # the specification requires it
    SHOULD = "SHOULD"  # the specification recommends it
    INTEROP = "INTEROP"  # a platform in use requires it


class Outcome(StrEnum):
    """The outcome of a rule."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


class Failure(Struct, frozen=True, kw_only=True):
    """One violation of a rule.

    Args:
        where: The offering and plan, such as ``"hello-db/small"``, or another subject.
        fault: The fault, as a sentence whose subject is the broker: ``"returned 404, expected 410"``.
        exchange: The request and the response that violates the rule.
        before: The earlier exchanges that the response contradicts, in order. Empty if the response is wrong
            by itself.
    """

    where: str
    fault: str
    exchange: Exchange
    before: Sequence[Exchange] = ()


class Verdict(Struct, frozen=True, kw_only=True):
    """The verdict on one rule.

    Args:
        key: The rule's number and the name of this part of it: ``"R-PROV-3.again"``.
        level: The severity of breaking it.
        sentence: The requirement.
        judged: The number of times that it was evaluated.
        failures: The violations.
        why: The reason for skipping the rule. None if it was evaluated.
    """

    key: str
    level: Level
    sentence: str
    judged: int = 0
    failures: Sequence[Failure] = ()
    why: str | None = None

    @property
    def rule(self) -> str:
        """The rule's number, such as ``"R-PROV-3"``."""
        return self.key.partition(".")[0]

    @property
    def outcome(self) -> Outcome:
        """The outcome: passed, failed or skipped."""
        if self.failures:
            return Outcome.FAILED
        return Outcome.PASSED if self.judged else Outcome.SKIPPED


class Leftover(Struct, frozen=True, kw_only=True):
    """A resource that the check created and could not delete.

    Args:
        what: ``"service instance"`` or ``"service binding"``.
        instance_id: The id of the instance, or of the binding's instance.
        binding_id: The id of the binding. None for an instance.
        why: The broker's response to the last attempt.
        curl: The command that repeats the deletion.
    """

    what: str
    instance_id: str
    binding_id: str | None
    why: str
    curl: str


class Report(Struct, frozen=True, kw_only=True):
    """The result of a check.

    Args:
        url: The broker's URL.
        started_at: The start of the check, in UTC.
        seconds: The duration of the check.
        requests: The number of requests sent.
        plans: The plans that were checked, such as ``"hello-db/small"``.
        verdicts: One for each rule, in the order of the rules.
        leftovers: The resources that could not be deleted.
        problem: The reason why the check could not run or not finish. None if it finished.
    """

    url: str
    started_at: datetime
    seconds: float
    requests: int
    plans: Sequence[str]
    verdicts: Sequence[Verdict]
    leftovers: Sequence[Leftover] = ()
    problem: str | None = None

    def count(self, outcome: Outcome, *levels: Level) -> int:
        """Count the rules with an outcome, of the given levels. Defaults to all levels."""
        return sum(
            verdict.outcome is outcome and (not levels or verdict.level in levels)
            for verdict in self.verdicts
        )

    @property
    def exit_code(self) -> int:
        """The exit code: 1 if a MUST rule is broken, 2 if the check is incomplete, else 0."""
        if self.count(Outcome.FAILED, Level.MUST):
            return 1
        return 2 if self.problem or self.leftovers else 0
