"""Invariants of the store and of the responses, checked after every commit and at rest."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

TERMINAL = ("succeeded", "failed")

_BUSY = """
SELECT i.id, i.busy_bindings, (
    SELECT count(*) FROM brokerkit_operations o
    WHERE o.instance_id = i.id AND o.binding_id IS NOT NULL
        AND (o.state = 'in progress' OR o.lease_until IS NOT NULL)
) AS running
FROM brokerkit_instances i WHERE i.busy_bindings != running
"""
_STATES = "SELECT id, state FROM brokerkit_operations WHERE plan_id = 'plan'"
_UNFINISHED = """
SELECT id, kind, state, lease_until, wake_at, mode FROM brokerkit_operations
WHERE (state = 'in progress' OR lease_until IS NOT NULL) AND plan_id = 'plan'
"""


class Invariants:
    """The invariants of one run.

    Args:
        connection: The connection to the database.
        violate: Reports a violation of an invariant, by its name and a description.
    """

    def __init__(self, connection: sqlite3.Connection, violate: Callable[[str, str], None]) -> None:
        self._connection = connection
        self._violate = violate
        self._ended: dict[str, str] = {}
        self._polled: dict[str, str] = {}

    def check_commit(self) -> None:
        """Check the counts of busy bindings, and that ended operations stay as they ended."""
        for instance, stored, running in self._connection.execute(_BUSY):
            self._violate(
                "busy", f"busy_bindings of {instance} is {stored}, but {running} binding operations may run"
            )
        for operation, state in self._connection.execute(_STATES):
            ended = self._ended.get(operation)
            if ended is not None and state != ended:
                self._violate("stored state", f"{operation} was {ended}, and is now {state}")
            if state in TERMINAL:
                self._ended[operation] = state

    def reported(self, operation: str) -> str | None:
        """Return the end of an operation that a poll has reported, or None."""
        return self._polled.get(operation)

    def polled(self, operation: str, state: str, before: str | None) -> None:
        """Check that a reported end of an operation stays.

        Args:
            operation: The id of the operation.
            state: The reported state.
            before: The end that had been reported when the poll began, or None. Concurrent polls can return
                in any order.
        """
        ended = self._polled.get(operation) if state in TERMINAL else before
        if ended is not None and state != ended:
            self._violate("polled state", f"{operation} was reported as {ended}, and now as {state}")
        if state in TERMINAL:
            self._polled[operation] = state

    def retried(self, operation: str) -> None:
        """Forget how an operation ended, because an operator retries it."""
        self._ended.pop(operation, None)
        self._polled.pop(operation, None)

    def unfinished(self, *, with_polled: bool) -> list[str]:
        """Return descriptions of the operations that are in progress or have a lease.

        Args:
            with_polled: Whether operations count that continue outside of the broker until their deadline.
                After the database's clock was set back, that is a long time if no platform polls them.
        """
        return [
            f"{operation} ({kind}, {state}, lease until {lease}, wakes at {wake})"
            for operation, kind, state, lease, wake, mode in self._connection.execute(_UNFINISHED)
            if with_polled or mode != "polled"
        ]

    def has_end_stored(self, operation: str) -> bool:
        """Whether an operation has ended and no attempt of it may run."""
        row = self._connection.execute(
            "SELECT state, lease_until FROM brokerkit_operations WHERE id = ?", (operation,)
        ).fetchone()
        return row is None or (row[0] in TERMINAL and row[1] is None)
