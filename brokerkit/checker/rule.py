"""What a rule is: a number, a level, a sentence, and a function that judges what was seen.

Each chapter of the rules collects its own::

    RULES: list[Rule] = []
    rule, expects = chapter(RULES)

    @rule("R-PROV-4.same-operation", MUST, "…", at(Situation.PROVISIONED_AGAIN_IN_PROGRESS))
    def same_operation(seen: Seen) -> str | None:
        \"\"\"Say what is wrong, or nothing.\"\"\"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from msgspec import Struct

from ..client.exchange import Exchange
from ..requests import Operation
from .report import Level
from .situations import Situation

MUST, SHOULD, INTEROP = Level.MUST, Level.SHOULD, Level.INTEROP


class Observation(Struct, frozen=True, kw_only=True):
    """A request that a journey sent, and its answer.

    Args:
        situation: Why it was sent.
        operation: What was asked.
        where: The offering and plan, ``"hello-db/small"``; or what else it is about.
        exchange: The request and the answer.
        before: Those that came before and that it is compared with, in order.
        facts: What else a rule needs to judge, by name.
    """

    situation: Situation
    operation: Operation
    where: str
    exchange: Exchange
    before: tuple[Exchange, ...] = ()
    facts: Mapping[str, Any] = {}

    @property
    def status(self) -> int:
        """The status; 0 where there was no answer."""
        return self.exchange.status or 0

    @property
    def document(self) -> dict[str, Any]:
        """The JSON object that was answered; empty if it was none."""
        return self.exchange.document or {}


Evaluate = Callable[[Observation], str | None]
When = Callable[[Observation], bool]


class Rule(NamedTuple):
    """A rule of the API that can be seen from outside.

    Args:
        key: Its number in the digest of the API, and a name for this part of it.
        level: How bad it is to break it.
        sentence: What it asks for.
        when: What it judges.
        evaluate: Says what is wrong with it, or None.
        situations: Those that it waits for; none if it judges answers in any.
    """

    key: str
    level: Level
    sentence: str
    when: When
    evaluate: Evaluate
    situations: tuple[Situation, ...] = ()


class At(Struct, frozen=True):
    """Judges what is seen in some situations."""

    situations: tuple[Situation, ...]

    def __call__(self, seen: Observation) -> bool:
        return seen.situation in self.situations


def at(*situations: Situation) -> At:
    """What is seen in one of these situations."""
    return At(situations)


def responses(*operations: Operation, statuses: tuple[int, ...]) -> When:
    """Answers to these operations, or to any, with one of these statuses, in whatever situation."""
    return lambda seen: (not operations or seen.operation in operations) and seen.status in statuses


def any_response(seen: Observation) -> bool:
    """Every answer."""
    return seen.status > 0


def refusals(seen: Observation) -> bool:
    """Every answer that is an error."""
    return seen.status >= 400


Refusal = tuple[int, str]
"""A status, and the word that must come with it (R-ERR-3)."""


class RuleSet(NamedTuple):
    """Collects the rules of a chapter."""

    rules: list[Rule]

    def rule(self, key: str, level: Level, sentence: str, when: When) -> Callable[[Evaluate], Evaluate]:
        """Make a rule of a function that judges."""

        def take(judge: Evaluate) -> Evaluate:
            situations = when.situations if isinstance(when, At) else ()
            self.rules.append(Rule(key, level, sentence, when, judge, situations))
            return judge

        return take

    def expects(self, key: str, level: Level, sentence: str, when: When, *allowed: int | Refusal) -> None:
        """Make a rule that allows some statuses, some of them only with a word."""
        self.rule(key, level, sentence, when)(lambda seen: unless_status(seen, *allowed))


def unless_status(seen: Observation, *allowed: int | Refusal) -> str | None:
    """What is wrong with an answer that is none of those allowed."""
    for each in allowed:
        status, word = each if isinstance(each, tuple) else (each, None)
        if seen.status == status and (word is None or seen.exchange.error_code == word):
            return None
    *others, last = [_written(each) for each in allowed]
    due = f"{', '.join(others)} or {last}" if others else last
    what = _of(seen)
    if not seen.status:
        return f"gave no answer{what} ({seen.exchange.failure}); {due} was due"
    word = f" {seen.exchange.error_code:.60}" if seen.status >= 400 and seen.exchange.error_code else ""
    return f"answered {seen.status}{word}{what}; {due} was due"


def unless_refused(seen: Observation, best: int | Refusal) -> str | None:
    """What is wrong with an answer that is no 4xx, of which `best` says it best."""
    return None if 400 <= seen.status < 500 else unless_status(seen, best)


def _of(seen: Observation) -> str:
    what = seen.facts.get("what")
    return f" to {what}" if what else ""


def _written(each: int | Refusal) -> str:
    return str(each) if isinstance(each, int) else f"{each[0]} {each[1]}"
