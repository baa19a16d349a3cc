"""The rule type: a key, a level, a sentence, and a function that evaluates an observation.

Each module of ``rules/`` collects its own rules::

    RULES: list[Rule] = []
    rule, expects = RuleSet(RULES).rule, RuleSet(RULES).expects

    @rule("R-PROV-4.same-operation", MUST, "…", at(Situation.PROVISIONED_AGAIN_IN_PROGRESS))
    def same_operation(observation: Observation) -> str | None:
        \"\"\"Describe the fault, or return None.\"\"\"

The checker is an independent oracle: it states the expected status codes itself, from the specification. It
deliberately does not use the tables of ``brokerkit/endpoints.py``. So a mistake there cannot hide a mistake
in a broker.
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
    """A request that a scenario sent, with its response.

    Args:
        situation: Why the request was sent.
        operation: The operation of the API.
        where: The offering and plan, such as ``"hello-db/small"``, or another subject.
        exchange: The request and its response.
        previous: Earlier exchanges that a rule compares it with, in order.
        facts: Further facts for rules, by name.
    """

    situation: Situation
    operation: Operation
    where: str
    exchange: Exchange
    previous: tuple[Exchange, ...] = ()
    facts: Mapping[str, Any] = {}

    @property
    def status(self) -> int:
        """The status code; 0 if there was no response."""
        return self.exchange.status or 0

    @property
    def document(self) -> dict[str, Any]:
        """The JSON object in the response; empty if there was none."""
        return self.exchange.document or {}


Evaluate = Callable[[Observation], str | None]
When = Callable[[Observation], bool]


class Rule(NamedTuple):
    """A rule of the API that an observer can check.

    Args:
        key: The rule id of the digest, and a name for this part: ``"R-PROV-4.same-operation"``.
        level: The severity of a failure.
        sentence: The requirement in one sentence.
        when: Selects the observations to evaluate.
        evaluate: Describes the fault of an observation; returns None if there is none.
        situations: The situations that the rule evaluates; empty if it evaluates responses in any situation.
    """

    key: str
    level: Level
    sentence: str
    when: When
    evaluate: Evaluate
    situations: tuple[Situation, ...] = ()


class At(Struct, frozen=True):
    """A selector of observations by situation."""

    situations: tuple[Situation, ...]

    def __call__(self, observation: Observation) -> bool:
        return observation.situation in self.situations


def at(*situations: Situation) -> At:
    """Select the observations of these situations."""
    return At(situations)


def responses(*operations: Operation, statuses: tuple[int, ...]) -> When:
    """Select responses by status code, and by operation if any are given."""
    return lambda observation: (
        (not operations or observation.operation in operations) and observation.status in statuses
    )


def any_response(observation: Observation) -> bool:
    """Select every response."""
    return observation.status > 0


def refusals(observation: Observation) -> bool:
    """Select every error response."""
    return observation.status >= 400


Refusal = tuple[int, str]
"""A status code, and the error code that it must have (R-ERR-3)."""


class RuleSet(NamedTuple):
    """A collection of related rules."""

    rules: list[Rule]

    def rule(self, key: str, level: Level, sentence: str, when: When) -> Callable[[Evaluate], Evaluate]:
        """Decorate an evaluation function to add a rule."""

        def add(evaluate: Evaluate) -> Evaluate:
            situations = when.situations if isinstance(when, At) else ()
            self.rules.append(Rule(key, level, sentence, when, evaluate, situations))
            return evaluate

        return add

    def expects(self, key: str, level: Level, sentence: str, when: When, *allowed: int | Refusal) -> None:
        """Add a rule that allows certain status codes, some of them only with an error code."""
        self.rule(key, level, sentence, when)(lambda observation: check_status(observation, *allowed))


def check_status(observation: Observation, *allowed: int | Refusal) -> str | None:
    """Describe a response that has none of the allowed status codes."""
    actual = observation.exchange.error_code
    for expectation in allowed:
        status, error_code = expectation if isinstance(expectation, tuple) else (expectation, None)
        if observation.status == status and error_code in (None, actual):
            return None
    *first, last = [_format(expectation) for expectation in allowed]
    expected = f"{', '.join(first)} or {last}" if first else last
    description = observation.facts.get("what")
    subject = f" to {description}" if description else ""
    if not observation.status:
        return f"returned no response{subject} ({observation.exchange.failure}), expected {expected}"
    suffix = f" {actual:.60}" if observation.status >= 400 and actual else ""
    return f"returned {observation.status}{suffix}{subject}, expected {expected}"


def check_refused(observation: Observation, best: int | Refusal) -> str | None:
    """Describe a response that is not 4xx; `best` is the most suitable rejection."""
    return None if 400 <= observation.status < 500 else check_status(observation, best)


def _format(expectation: int | Refusal) -> str:
    return str(expectation) if isinstance(expectation, int) else f"{expectation[0]} {expectation[1]}"
