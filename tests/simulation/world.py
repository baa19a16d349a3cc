"""The world beside the store: what handlers made and removed, each with a token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .actors import Actor
from .clock import request_name


@dataclass
class Thing:
    """An instance or binding as a real service would have it.

    Args:
        token: Its identity. A thing that is made again has another token.
        operation: The id of the operation that made it.
        is_delivered: Whether the handler returned it, and its process lived on until the store had it.
    """

    token: str
    operation: str
    is_delivered: bool = False


@dataclass(eq=False)
class Call:
    """A handler that runs.

    Args:
        kind: The operation.
        instance: The id of the instance.
        binding: The id of the binding. None for an operation on the instance.
        operation: The id of the operation.
        actor: The actor that runs the handler.
    """

    kind: str
    instance: str
    binding: str | None
    operation: str
    actor: Actor


class World:
    """The things that handlers made.

    Args:
        violate: Reports a violation of an invariant, by its name and a description.

    Attributes:
        things: The instances and bindings, by the ids of the instance and the binding.
        calls: The handlers that run.
        runs: The number of runs of each synchronous handler, by the id of the operation.
        has_strays: Whether a suspect process changed the world. Then what exists is no longer compared.
    """

    def __init__(self, violate: Callable[[str, str], None]) -> None:
        self.things: dict[tuple[str, str | None], Thing] = {}
        self.calls: list[Call] = []
        self.runs: dict[str, int] = {}
        self.has_strays = False
        self._violate = violate
        self._tokens = 0

    def enter(self, call: Call) -> None:
        """Record that a handler begins, and check that it runs alone.

        Handlers of a process that was paused for longer than a lease and its grace period are excluded.
        Another process must assume that it is dead. Only the service that a handler uses can stop it then.
        """
        if call.actor.name == request_name(call.operation):
            self.runs[call.operation] = self.runs.get(call.operation, 0) + 1
        for other in self.calls:
            if other.instance != call.instance or other.actor.is_suspect or call.actor.is_suspect:
                continue
            if other.binding == call.binding or None in (other.binding, call.binding):
                self._violate(
                    "overlap",
                    f"{call.kind} of {call.actor.name} runs beside {other.kind} of {other.actor.name}",
                )
        self.calls.append(call)

    def leave(self, call: Call) -> None:
        """Record that a handler ended."""
        if call in self.calls:
            self.calls.remove(call)

    def make(self, call: Call) -> Thing:
        """Make the instance or binding of a handler, or return what an earlier attempt made."""
        key = (call.instance, call.binding)
        if call.actor.is_suspect:
            self.has_strays = True
        thing = self.things.get(key)
        if thing is not None and thing.operation == call.operation:
            return thing
        if thing is not None and not self.has_strays:
            name = f"{call.kind} of {call.actor.name}"
            self._violate("orphan", f"{name} finds {thing.token}, which was not removed")
        self._tokens += 1
        name = call.instance if call.binding is None else f"{call.instance}/{call.binding}"
        self.things[key] = thing = Thing(f"{name}#{self._tokens}", call.operation)
        return thing

    def remove(self, call: Call) -> None:
        """Remove the instance with its bindings, or the binding of a handler."""
        if call.actor.is_suspect:
            self.has_strays = True
        for key in list(self.things):
            if key[0] == call.instance and call.binding in (None, key[1]):
                del self.things[key]

    def receive(self, call: Call, token: str | None) -> None:
        """Check the token that a deprovision or unbind received."""
        thing = self.things.get((call.instance, call.binding))
        if thing is None or thing.token == token or self.has_strays or call.actor.is_suspect:
            return
        if token is None and not thing.is_delivered:
            return
        self._violate("token", f"{call.kind} of {call.actor.name} received {token}, but {thing.token} exists")

    def lose_process(self, process: object) -> None:
        """Forget the running handlers of a process that was killed."""
        self.calls = [call for call in self.calls if call.actor.process is not process]
