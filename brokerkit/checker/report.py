"""What a check found: a verdict for each rule, and what could not be deleted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from ..client.exchange import Exchange


class Level(StrEnum):
    """How bad it is to break a rule."""

    MUST = "MUST"  # the specification requires it
    SHOULD = "SHOULD"  # the specification recommends it
    INTEROP = "INTEROP"  # a platform in the field needs it


class Outcome(StrEnum):
    """What became of a rule."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


class Failure(Struct, frozen=True, kw_only=True):
    """One time that a rule was broken.

    Args:
        where: The offering and plan, ``"hello-db/small"``; or what else it is about.
        fault: What is wrong, in a sentence that begins with what the broker did.
        exchange: The request, and the answer that is wrong.
        before: The exchanges that it contradicts, in order; none if the answer is wrong by itself.
    """

    where: str
    fault: str
    exchange: Exchange
    before: Sequence[Exchange] = ()


class Verdict(Struct, frozen=True, kw_only=True):
    """What became of one rule.

    Args:
        key: The rule's number and the name of this part of it: ``"R-PROV-3.again"``.
        level: How bad it is to break it.
        sentence: What it asks for.
        judged: How many times it was looked at.
        failures: The times that it was broken.
        why: Why it was skipped; None if it was not.
    """

    key: str
    level: Level
    sentence: str
    judged: int = 0
    failures: Sequence[Failure] = ()
    why: str | None = None

    @property
    def rule(self) -> str:
        """The rule's number: ``"R-PROV-3"``."""
        return self.key.partition(".")[0]

    @property
    def outcome(self) -> Outcome:
        """Passed, failed or skipped."""
        if self.failures:
            return Outcome.FAILED
        return Outcome.PASSED if self.judged else Outcome.SKIPPED


class Leftover(Struct, frozen=True, kw_only=True):
    """What the check made and could not delete.

    Args:
        what: ``"service instance"`` or ``"service binding"``.
        instance_id: The id of the instance, or of the binding's instance.
        binding_id: The id of the binding.
        why: What the broker said to the last try.
        curl: The command that tries again.
    """

    what: str
    instance_id: str
    binding_id: str | None
    why: str
    curl: str


class Report(Struct, frozen=True, kw_only=True):
    """What a check found.

    Args:
        url: Where the broker is.
        started_at: When the check began, in UTC.
        seconds: How long it took.
        requests: How many requests it sent.
        plans: The plans that it worked through: ``"hello-db/small"``.
        verdicts: One for each rule, in the order of the rules.
        leftovers: What could not be deleted.
        trouble: Why the check could not be done, or not to its end; None if it could.
    """

    url: str
    started_at: datetime
    seconds: float
    requests: int
    plans: Sequence[str]
    verdicts: Sequence[Verdict]
    leftovers: Sequence[Leftover] = ()
    trouble: str | None = None

    def count(self, outcome: Outcome, *levels: Level) -> int:
        """How many rules passed, failed or were skipped; of some levels, or of all."""
        return sum(each.outcome is outcome and (not levels or each.level in levels) for each in self.verdicts)

    @property
    def exit_code(self) -> int:
        """1 if the broker breaks what it MUST do; else 2 if that could not be found out; else 0."""
        if self.count(Outcome.FAILED, Level.MUST):
            return 1
        return 2 if self.trouble or self.leftovers else 0
