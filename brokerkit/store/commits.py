"""Commits: one for each transition on PostgreSQL, one for all waiting threads on SQLite.

SQLite allows one writer at a time, and every commit writes to the disk. So while one thread commits, the
other threads queue their writes. The next commit contains all of these writes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from threading import Lock
from typing import NamedTuple, Protocol

from .database import Database
from .errors import StoreUnavailable
from .transitions import Parameters, Transition


class Write(NamedTuple):
    """A transition to run, with its parameters."""

    transition: Transition
    parameters: Parameters


class Committer(Protocol):
    """A strategy to run and commit transitions."""

    def run(self, writes: Sequence[Write]) -> list[bool]:
        """Run transitions in order, and wait until they are durable.

        Returns:
            For each transition, whether it was applied.

        Raises:
            StoreUnavailable: The database cannot be reached, or cannot write.
        """
        ...


class AutoCommitter:
    """A committer that runs each transition as one statement in autocommit mode.

    Args:
        database: The database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def run(self, writes: Sequence[Write]) -> list[bool]:
        """Run transitions as :meth:`Committer.run` describes."""
        with self._database.writing() as connection:
            return [write.transition.run(connection, write.parameters) for write in writes]


class GroupCommitter:
    """A committer that shares one commit between all waiting threads.

    Args:
        database: The SQLite database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reset()
        database.after_fork.append(self._reset)

    def _reset(self) -> None:
        """Empty the queue. A forked child must not wait for threads of its parent."""
        self._waiting: deque[_Ticket] = deque()
        self._committing = Lock()

    def run(self, writes: Sequence[Write]) -> list[bool]:
        """Run transitions as :meth:`Committer.run` describes."""
        ticket = _Ticket(writes)
        self._waiting.append(ticket)
        with self._committing:
            if not ticket.is_finished:
                self._commit_waiting()
        if ticket.error is not None:
            raise ticket.error_for_thread()
        return ticket.results

    def _commit_waiting(self) -> None:
        tickets = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            self._commit(tickets)
        except StoreUnavailable as error:
            for ticket in tickets:
                ticket.fail(error)
        except Exception:  # noqa: BLE001 - raised again in the ticket's thread
            for ticket in tickets:  # a ticket failed; commit each one separately
                try:
                    self._commit([ticket])
                except Exception as error:  # noqa: BLE001 - raised again in the ticket's thread
                    ticket.fail(error)
        except BaseException:  # concerns only this thread, for example an aborted request
            for ticket in tickets:
                ticket.fail(StoreUnavailable())
            raise

    def _commit(self, tickets: Sequence[_Ticket]) -> None:
        with self._database.writing() as connection:
            if len(tickets) == 1 == len(tickets[0].writes):
                transition, parameters = tickets[0].writes[0]
                results = [[transition.run(connection, parameters)]]
            else:
                cursor = connection.cursor()
                cursor.execute("BEGIN IMMEDIATE")
                results = [
                    [write.transition.run_within(connection, write.parameters) for write in ticket.writes]
                    for ticket in tickets
                ]
                cursor.execute("COMMIT")
        for ticket, outcome in zip(tickets, results, strict=True):
            ticket.succeed(outcome)


class _Ticket:
    """The writes of one thread, and their results."""

    def __init__(self, writes: Sequence[Write]) -> None:
        self.writes = writes
        self.is_finished = False
        self.results: list[bool] = []
        self.error: Exception | None = None

    def succeed(self, results: list[bool]) -> None:
        self.results, self.is_finished = results, True

    def fail(self, error: Exception) -> None:
        self.error, self.is_finished = error, True

    def error_for_thread(self) -> Exception:
        """Return a copy of the error, because each thread adds to the traceback of its own."""
        assert self.error is not None, "the ticket has no error"
        if isinstance(self.error, StoreUnavailable):
            copy = StoreUnavailable()
            copy.__cause__ = self.error.__cause__
            return copy
        return self.error
