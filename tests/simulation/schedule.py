"""Schedules: what a run does, as a literal that can be pasted into a regression test."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

CHANGES = ("provision", "update", "deprovision", "bind", "unbind")


class _Literal:
    """A base class of dataclasses whose `repr` omits the defaults."""

    def __repr__(self) -> str:
        parts: list[str] = []
        for number, field in enumerate(fields(self)):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if value == field.default:
                continue
            is_positional = number == len(parts) and number < 3
            parts.append(repr(value) if is_positional else f"{field.name}={value!r}")
        return f"{type(self).__name__}({', '.join(parts)})"


@dataclass(frozen=True, repr=False)
class Request(_Literal):
    """A request of the platform, or a command of an operator.

    Args:
        name: The name of its actor.
        kind: One of :data:`CHANGES`; or "retry" or "purge", the commands of an operator.
        at: The virtual time of the request. Defaults to 0.
        process: The number of the process that serves it. Defaults to 0.
        binding: The id of the binding. Defaults to "a".
        seconds: The duration of the handler. Defaults to 1.
        long: Whether a synchronous handler returns `Accepted`, and a background handler is a generator.
            Defaults to False.
        polls: Whether the platform accepts 202 and polls. Defaults to True.
        size: The parameter of the request. Defaults to 1.
    """

    name: str
    kind: str
    at: float = 0.0
    process: int = 0
    binding: str = "a"
    seconds: float = 1.0
    long: bool = False
    polls: bool = True
    size: int = 1

    @property
    def of_binding(self) -> bool:
        """Whether the request is about a binding."""
        return self.kind in ("bind", "unbind")


@dataclass(frozen=True, repr=False)
class At(_Literal):
    """A deviation from the normal course at a point of an actor. Without such a point, it has no effect.

    Args:
        actor: The name of the actor.
        point: The number of the point, from 1.
        action: What happens. :mod:`tests.simulation.faults` lists the actions.
        seconds: Its duration, or the size of a step of the clock. Defaults to 0.
    """

    actor: str
    point: int
    action: str
    seconds: float = 0.0


@dataclass(frozen=True)
class Schedule:
    """All that determines a run.

    Args:
        requests: The requests.
        deviations: The delays and faults.
        background: The operations with background handlers. Defaults to none.
        processes: The number of processes. Defaults to 2.
        backlog: The number of other operations that are due all the time, because no process has a handler
            for them. Defaults to 0.
    """

    requests: tuple[Request, ...]
    deviations: tuple[At, ...] = ()
    background: tuple[str, ...] = ()
    processes: int = 2
    backlog: int = 0

    def __repr__(self) -> str:
        def lines(items: tuple[Any, ...]) -> str:
            return "".join(f"        {item!r},\n" for item in items)

        text = f"Schedule(\n    requests=(\n{lines(self.requests)}    ),\n"
        if self.deviations:
            text += f"    deviations=(\n{lines(self.deviations)}    ),\n"
        if self.background:
            text += f"    background={self.background!r},\n"
        if self.processes != 2:
            text += f"    processes={self.processes},\n"
        if self.backlog:
            text += f"    backlog={self.backlog},\n"
        return text + ")"
