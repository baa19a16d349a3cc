"""Customers that create, use, change and delete databases, and retry while everything is killed."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

import psycopg

from ..resilience.processes import NoResponse, Response, Server
from ..resilience.requests import CAN_POLL, binding_path, instance_path

SERVICE = "2f6a1c52-6f0e-4c37-9a39-4f5f1c7d0001"
SMALL = "2f6a1c52-6f0e-4c37-9a39-4f5f1c7d0011"
LARGE = "2f6a1c52-6f0e-4c37-9a39-4f5f1c7d0012"
RESTORED = "2f6a1c52-6f0e-4c37-9a39-4f5f1c7d0013"

TIMEOUT = 90.0
"""Seconds that a customer waits for a result. Only a request that hangs takes longer."""

MAX_ABANDONED = 3
"""The number of abandoned databases after which a customer deletes the oldest one."""


class _Stopped(Exception):
    """The customer stops, and leaves its resources as they are."""


class Customer:
    """A customer that runs lifecycles of databases, one after the other.

    Args:
        number: The seed of the customer's choices.
        servers: The servers. Each request goes to any of them.
    """

    def __init__(self, number: int, servers: Sequence[Server]) -> None:
        self._chance = random.Random(number)
        self._servers = servers
        self.accepted: list[str] = []
        """The ids of the accepted operations."""

        self.credentials: dict[str, Any] = {}
        """The URIs of the existing bindings, by path."""

        self._abandoned_instances: list[tuple[str, str]] = []
        self._is_stopped: Callable[[], bool] = lambda: False
        self.lifecycles: Counter[str] = Counter()
        """The number of completed lifecycles by kind."""

    def run_until(self, is_over: Callable[[], bool]) -> None:
        """Run lifecycles until a condition is true, and leave the last one as it is."""
        lifecycles = (
            self._complete,
            self._complete,
            self._rotated,
            self._resent,
            self._cancelled,
            self._abandoned,
        )
        self._is_stopped = is_over
        try:
            while True:
                life = self._chance.choice(lifecycles)
                plan = self._chance.choice((SMALL, RESTORED))
                life(str(uuid4()), plan)
                self.lifecycles[life.__name__.strip("_")] += 1
        except _Stopped:
            self._is_stopped = lambda: False

    # Lifecycles

    def _complete(self, instance: str, plan: str) -> None:
        """Create, update, use and delete a database."""
        if self._create(instance_path(instance), self._body(plan)):
            plan = self._change_plan(instance, plan)
            binding = binding_path(instance, str(uuid4()))
            self._bind(binding, plan)
            self.remove(binding, plan)
        self.remove(instance_path(instance), plan)

    def _rotated(self, instance: str, plan: str) -> None:
        """Rotate a binding."""
        if self._create(instance_path(instance), self._body(plan)):
            first, second = str(uuid4()), str(uuid4())
            if self._bind(binding_path(instance, first), plan):
                self._bind(binding_path(instance, second), plan, predecessor_binding_id=first)
                self.remove(binding_path(instance, first), plan)
                self.remove(binding_path(instance, second), plan)
        self.remove(instance_path(instance), plan)

    def _resent(self, instance: str, plan: str) -> None:
        """Send every request twice."""
        path, body = instance_path(instance), self._body(plan)
        self._send("PUT", path, body)
        if self._create(path, body):
            self._create(path, body)
        self._send("DELETE", path, None, self._deletion(plan))
        self.remove(path, plan)

    def _cancelled(self, instance: str, plan: str) -> None:
        """Delete a database while it is being created."""
        path = instance_path(instance)
        self._send("PUT", path, self._body(plan))
        if self._chance.random() < 0.5:
            self._pause()
        self.remove(path, plan)

    def _abandoned(self, instance: str, plan: str) -> None:
        """Create a database and abandon it."""
        path = instance_path(instance)
        if self._chance.random() < 0.5:
            self._send("PUT", path, self._body(plan))
        elif self._create(path, self._body(plan)):
            self._bind(binding_path(instance, str(uuid4())), plan)
        self._abandoned_instances.append((path, plan))
        if len(self._abandoned_instances) > MAX_ABANDONED:  # otherwise the disk would fill up
            self._delete_abandoned(*self._abandoned_instances.pop(0))

    def _delete_abandoned(self, path: str, plan: str) -> None:
        """Delete an abandoned database with its bindings."""
        for binding in [binding for binding in self.credentials if binding.startswith(f"{path}/")]:
            self.remove(binding, plan)
        self.remove(path, plan)

    # The steps of lifecycles

    def _change_plan(self, instance: str, plan: str) -> str:
        """Update the plan or the extensions, and return the plan afterwards."""
        change: dict[str, Any] = {"service_id": SERVICE, "parameters": {"extensions": ["hstore"]}}
        target = LARGE if plan == SMALL else plan
        if target != plan:
            change["plan_id"] = target
        response = self._send_until_final("PATCH", instance_path(instance), change)
        assert response.status in (200, 500), response
        return target if succeeded(response) else plan

    def _create(self, path: str, body: dict[str, Any]) -> bool:
        """Create a resource with up to three requests. Return whether it was created."""
        for _ in range(3):
            response = self._send_until_final("PUT", path, body)
            assert response.status in (200, 201, 409, 500), response
            if succeeded(response):
                return True
            self.remove(path, body["plan_id"])  # R-DEL-5: the platform cleans up after a failed creation
        return False

    def _bind(self, path: str, plan: str, **more: Any) -> bool:
        """Create a binding and log in with its credentials. Return whether it was created."""
        body = {"service_id": SERVICE, "plan_id": plan, **more}
        if not self._create(path, body):
            return False
        response = self._send_until_final("GET", path, None)
        assert response.status == 200, response
        uri = response.body["credentials"]["uri"]
        log_in(uri)
        self.credentials[path] = uri
        return True

    def remove(self, path: str, plan: str) -> None:
        """Delete a resource with as many requests as necessary."""
        self.credentials.pop(path, None)
        deadline = time.monotonic() + TIMEOUT
        while True:
            response = self._send_until_final("DELETE", path, None, self._deletion(plan))
            if succeeded(response):
                return
            assert response.status in (200, 500), response
            assert time.monotonic() < deadline, f"{path} cannot be deleted: {response}"

    def _send_until_final(self, method: str, path: str, body: Any, query: str = "") -> Response:
        """Send until the response is final. After a 202, return the final response to a poll."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            assert time.monotonic() < deadline, f"{method} {path} does not end"
            response = self._send(method, path, body, query)
            if response is None or response.status == 503 or response.is_busy:
                self._pause()
            elif response.status == 202:
                return self._poll(path, response.body["operation"])
            else:
                return response

    def _poll(self, path: str, operation: str) -> Response:
        deadline = time.monotonic() + TIMEOUT
        while True:
            self._pause()
            response = self._send("GET", f"{path}/last_operation", None, f"operation={operation}")
            assert time.monotonic() < deadline, f"{path}: operation {operation} does not end: {response}"
            if response is None or response.status == 503:
                continue
            assert response.status in (200, 410), response
            if response.body.get("state") != "in progress":
                return response

    def _send(self, method: str, path: str, body: Any, query: str = "") -> Response | None:
        """Send a request to any server. Return None if there is no response."""
        if self._is_stopped():
            raise _Stopped
        server = self._chance.choice(self._servers)
        full_query = query if method == "GET" else "&".join(part for part in (query, CAN_POLL) if part)
        try:
            response = server.send(method, path, body, full_query, timeout=20)
        except (NoResponse, TimeoutError):
            return None
        if response.status == 202:
            self.accepted.append(response.body["operation"])
        return response

    def _pause(self) -> None:
        time.sleep(self._chance.uniform(0.05, 0.4))

    @staticmethod
    def _body(plan: str) -> dict[str, Any]:
        customer = str(uuid4())
        return {
            "service_id": SERVICE,
            "plan_id": plan,
            "organization_guid": customer,
            "space_guid": customer,
        }

    @staticmethod
    def _deletion(plan: str) -> str:
        return f"service_id={SERVICE}&plan_id={plan}"


def succeeded(response: Response) -> bool:
    """Whether a final response reports success."""
    return response.status in (200, 201, 410) and response.body.get("state", "succeeded") == "succeeded"


def log_in(uri: str) -> None:
    """Log in with the credentials of a binding, as soon as the database server is available.

    Raises:
        AssertionError: PostgreSQL rejected the credentials.
    """
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            with psycopg.connect(uri, connect_timeout=10) as connection:
                connection.execute("SELECT 1")
            return
        except psycopg.OperationalError as error:
            message = str(error)
            assert "authentication failed" not in message, message
            assert "does not exist" not in message, message
            assert time.monotonic() < deadline, message
        time.sleep(0.2)
