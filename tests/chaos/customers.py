"""Customers of the databases: they order, use, change and give back, and insist while everything dies."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

import psycopg

from ..resilience.processes import Answer, Gone, Server
from ..resilience.requests import CAN_POLL, binding_path, instance_path

SERVICE = "2f6a1c52-6f0e-4c37-9a39-4f5f1c7d0001"
SMALL = "2f6a1c52-6f0e-4c37-9a39-4f5f1c7d0011"
LARGE = "2f6a1c52-6f0e-4c37-9a39-4f5f1c7d0012"
RESTORED = "2f6a1c52-6f0e-4c37-9a39-4f5f1c7d0013"

PATIENCE = 90.0
"""For how many seconds a customer waits for one thing; nothing takes so long but what hangs."""

MEMORIES = 3
"""How many databases it leaves behind before it remembers the first of them."""


class _Over(Exception):
    """It is told to leave everything as it is."""


class Customer:
    """Somebody who orders databases, one after the other.

    Args:
        number: Which one; the same number decides in the same way.
        servers: Who may be asked; any of them, each time.
    """

    def __init__(self, number: int, servers: Sequence[Server]) -> None:
        self._chance = random.Random(number)
        self._servers = servers
        self.accepted: list[str] = []
        """The operations that it was told of."""

        self.kept: dict[str, Any] = {}
        """The URIs of the users that it has not given back, by the paths of their bindings."""

        self._left: list[tuple[str, str]] = []
        self._is_over: Callable[[], bool] = lambda: False
        self.lives: Counter[str] = Counter()
        """What kinds of lifecycles it got through."""

    def live_until(self, is_over: Callable[[], bool]) -> None:
        """Lead lifecycles, and leave the last one as it is."""
        lives = (self._whole, self._whole, self._rotated, self._resent, self._halted, self._abandoned)
        self._is_over = is_over
        try:
            while True:
                life = self._chance.choice(lives)
                plan = self._chance.choice((SMALL, RESTORED))
                life(str(uuid4()), plan)
                self.lives[life.__name__.strip("_")] += 1
        except _Over:
            self._is_over = lambda: False

    # Lifecycles

    def _whole(self, instance: str, plan: str) -> None:
        """Make a database, change it, use it, give it back."""
        if self._make(instance_path(instance), self._order(plan)):
            plan = self._changed(instance, plan)
            binding = binding_path(instance, str(uuid4()))
            self._bind(binding, plan)
            self.remove(binding, plan)
        self.remove(instance_path(instance), plan)

    def _rotated(self, instance: str, plan: str) -> None:
        """Replace a user by its successor."""
        if self._make(instance_path(instance), self._order(plan)):
            first, second = str(uuid4()), str(uuid4())
            if self._bind(binding_path(instance, first), plan):
                self._bind(binding_path(instance, second), plan, predecessor_binding_id=first)
                self.remove(binding_path(instance, first), plan)
                self.remove(binding_path(instance, second), plan)
        self.remove(instance_path(instance), plan)

    def _resent(self, instance: str, plan: str) -> None:
        """Send all of it twice, to two servers."""
        path, order = instance_path(instance), self._order(plan)
        self._say("PUT", path, order)
        if self._make(path, order):
            self._make(path, order)
        self._say("DELETE", path, None, self._deletion(plan))
        self.remove(path, plan)

    def _halted(self, instance: str, plan: str) -> None:
        """Want it no more while it is being made."""
        path = instance_path(instance)
        self._say("PUT", path, self._order(plan))
        if self._chance.random() < 0.5:
            self._pause()
        self.remove(path, plan)

    def _abandoned(self, instance: str, plan: str) -> None:
        """Make a database and leave it."""
        path = instance_path(instance)
        if self._chance.random() < 0.5:
            self._say("PUT", path, self._order(plan))
        elif self._make(path, self._order(plan)):
            self._bind(binding_path(instance, str(uuid4())), plan)
        self._left.append((path, plan))
        if len(self._left) > MEMORIES:  # of all the others, disks would be full one day
            self._find_again(*self._left.pop(0))

    def _find_again(self, path: str, plan: str) -> None:
        """Delete what was abandoned, with its users."""
        for binding in [kept for kept in self.kept if kept.startswith(f"{path}/")]:
            self.remove(binding, plan)
        self.remove(path, plan)

    # What they consist of

    def _changed(self, instance: str, plan: str) -> str:
        """Change the plan, or the extensions; the plan that it has then."""
        change: dict[str, Any] = {"service_id": SERVICE, "parameters": {"extensions": ["hstore"]}}
        wanted = LARGE if plan == SMALL else plan
        if wanted != plan:
            change["plan_id"] = wanted
        answer = self._settled("PATCH", instance_path(instance), change)
        assert answer.status in (200, 500), answer
        return wanted if went_well(answer) else plan

    def _make(self, path: str, order: dict[str, Any]) -> bool:
        """Order it, and order it anew if that fails. False if it is not to be had now."""
        for _ in range(3):
            answer = self._settled("PUT", path, order)
            assert answer.status in (200, 201, 409, 500), answer
            if went_well(answer):
                return True
            self.remove(path, order["plan_id"])  # R-DEL-5: what could not be made is cleaned up
        return False

    def _bind(self, path: str, plan: str, **more: Any) -> bool:
        """Get a user, and log in as it."""
        order = {"service_id": SERVICE, "plan_id": plan, **more}
        if not self._make(path, order):
            return False
        answer = self._settled("GET", path, None)
        assert answer.status == 200, answer
        uri = answer.body["credentials"]["uri"]
        log_in(uri)
        self.kept[path] = uri
        return True

    def remove(self, path: str, plan: str) -> None:
        """Give it back, as often as it takes."""
        self.kept.pop(path, None)
        ends = time.monotonic() + PATIENCE
        while True:
            answer = self._settled("DELETE", path, None, self._deletion(plan))
            if went_well(answer):
                return
            assert answer.status in (200, 500), answer
            assert time.monotonic() < ends, f"it cannot be deleted: {answer}"

    def _settled(self, method: str, path: str, order: Any, query: str = "") -> Answer:
        """Send until there is an answer that says how it ended; a poll's, if there was a 202."""
        ends = time.monotonic() + PATIENCE
        while True:
            assert time.monotonic() < ends, f"{method} {path} comes to no end"
            answer = self._say(method, path, order, query)
            if answer is None or answer.status == 503 or answer.is_busy:
                self._pause()
            elif answer.status == 202:
                return self._polled(path, answer.body["operation"])
            else:
                return answer

    def _polled(self, path: str, operation: str) -> Answer:
        ends = time.monotonic() + PATIENCE
        while True:
            self._pause()
            answer = self._say("GET", f"{path}/last_operation", None, f"operation={operation}")
            assert time.monotonic() < ends, f"{path}: the operation {operation} comes to no end: {answer}"
            if answer is None or answer.status == 503:
                continue
            assert answer.status in (200, 410), answer
            if answer.body.get("state") != "in progress":
                return answer

    def _say(self, method: str, path: str, order: Any, query: str = "") -> Answer | None:
        """Send something to somebody; None if there is no answer."""
        if self._is_over():
            raise _Over
        server = self._chance.choice(self._servers)
        asked = query if method == "GET" else "&".join(part for part in (query, CAN_POLL) if part)
        try:
            answer = server.send(method, path, order, asked, timeout=20)
        except (Gone, TimeoutError):
            return None
        if answer.status == 202:
            self.accepted.append(answer.body["operation"])
        return answer

    def _pause(self) -> None:
        time.sleep(self._chance.uniform(0.05, 0.4))

    @staticmethod
    def _order(plan: str) -> dict[str, Any]:
        somebody = str(uuid4())
        return {
            "service_id": SERVICE,
            "plan_id": plan,
            "organization_guid": somebody,
            "space_guid": somebody,
        }

    @staticmethod
    def _deletion(plan: str) -> str:
        return f"service_id={SERVICE}&plan_id={plan}"


def went_well(answer: Answer) -> bool:
    """Is it made, changed, or gone?"""
    return answer.status in (200, 201, 410) and answer.body.get("state", "succeeded") == "succeeded"


def log_in(uri: str) -> None:
    """With the credentials of a binding; as soon as there is a database server.

    Raises:
        AssertionError: They are refused.
    """
    ends = time.monotonic() + PATIENCE
    while True:
        try:
            with psycopg.connect(uri, connect_timeout=10) as connection:
                connection.execute("SELECT 1")
            return
        except psycopg.OperationalError as error:
            told = str(error)
            assert "authentication failed" not in told, told
            assert "does not exist" not in told, told
            assert time.monotonic() < ends, told
        time.sleep(0.2)
