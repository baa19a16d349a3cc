"""A platform that gets its way, though the broker dies once under its hands."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from .processes import Answer, Gone, Server
from .requests import CAN_POLL, binding_body, binding_path, body, change, deletion, instance_path
from .wait import until

INSTANCE, BINDING = "i1", "b1"


class GaveUp(Exception):
    """The broker died while it made something, and this platform does not want it any more."""


class Insisting:
    """Sends the same again when there was no answer, or deletes what was to be made.

    Args:
        plan: What it orders.
        server: Who answers at first.
        successor: Gives who answers when that one is dead.
        query: ``accepts_incomplete=true``, or nothing.
        resends: Whether it sends the same again; if not, it only makes and deletes.
    """

    def __init__(
        self,
        plan: str,
        server: Server,
        successor: Callable[[], Server],
        *,
        query: str = CAN_POLL,
        resends: bool = True,
    ) -> None:
        self._plan, self._server, self._successor = plan, server, successor
        self._query, self._resends = query, resends
        self._gives_up = False
        self.was_interrupted = False
        self.accepted: list[str] = []
        """The operations that it was told of."""

    @property
    def orders(self) -> list[str]:
        """What it makes a broker do that does not die."""
        changes = ["update"] if self._resends else []
        return ["provision", *changes, "bind", "unbind", "deprovision"]

    def live(self) -> None:
        """Make an instance, change it, bind and unbind it, delete it; at the end nothing is left."""
        instance, binding = instance_path(INSTANCE), binding_path(INSTANCE, BINDING)
        try:
            self._make(instance, body(self._plan, data="1"))
            if self._resends:
                self._change(instance, change(data="2"))
            self._make(binding, binding_body(self._plan))
            self._remove(binding)
        except GaveUp:
            self._remove(binding)
        self._remove(instance)
        assert self._send("DELETE", instance, None, deletion(self._plan)).status == 410
        assert self._send("GET", instance, None, "").status == 404

    def _make(self, path: str, order: dict[str, Any]) -> None:
        self._gives_up = not self._resends
        for _ in range(3):
            answer = self._settled("PUT", path, order, self._query)
            if answer.status in (200, 201) and answer.body.get("state") != "failed":
                return
            assert self.was_interrupted, answer
            assert answer.status in (200, 409), answer
            self._remove(path)  # R-DEL-5: what could not be made is cleaned up
        raise AssertionError("it could not be made")

    def _change(self, path: str, order: dict[str, Any]) -> None:
        for _ in range(3):
            answer = self._settled("PATCH", path, order, self._query)
            if answer.status == 200 and answer.body.get("state") != "failed":
                return
            assert self.was_interrupted, answer
        raise AssertionError("it could not be changed")

    def _remove(self, path: str) -> None:
        self._gives_up = False
        for _ in range(3):
            query = "&".join(part for part in (deletion(self._plan), self._query) if part)
            answer = self._settled("DELETE", path, None, query)
            if answer.status in (200, 410) and answer.body.get("state") != "failed":
                return
            assert self.was_interrupted, answer
        raise AssertionError("it could not be deleted")

    def _settled(self, method: str, path: str, order: Any, query: str) -> Answer:
        """Send until there is an answer that says how it ended; a poll's, if there was a 202."""
        ends = time.monotonic() + 60
        while True:
            assert time.monotonic() < ends, "it is busy for ever"
            answer = self._send(method, path, order, query)
            if answer.status == 202:
                self.accepted.append(answer.body["operation"])
                return self._polled(path, answer.body["operation"])
            if not answer.is_busy:
                assert answer.status < 500, answer
                return answer
            assert self.was_interrupted, "nobody else does anything"
            time.sleep(0.05)

    def _polled(self, path: str, operation: str) -> Answer:
        def ended() -> Answer | None:
            answer = self._send("GET", f"{path}/last_operation", None, f"operation={operation}")
            assert answer.status == 200, answer
            return None if answer.body["state"] == "in progress" else answer

        found: Answer = until(ended, timeout=60, pause=0.01)
        return found

    def _send(self, method: str, path: str, order: Any, query: str) -> Answer:
        try:
            return self._server.send(method, path, order, query)
        except Gone:
            assert not self.was_interrupted, "it dies once"
            self.was_interrupted = True
            self._server = self._successor()
            if self._gives_up:
                raise GaveUp from None
            return self._server.send(method, path, order, query)
