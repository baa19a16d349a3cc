"""Who commits: on PostgreSQL each for itself, on SQLite one for all who wait.

SQLite has one writer at a time, and a commit costs it a write to the disk. So while one thread commits, the
others queue up, and the next one commits for all of them at once.
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
    """A transition that is to happen."""

    transition: Transition
    parameters: Parameters


class Committer(Protocol):
    """Lets transitions happen, each if it can."""

    def run(self, writes: Sequence[Write]) -> list[bool]:
        """Have transitions happen, one after the other, and wait until that is durable.

        Returns:
            Of each, whether it happened.

        Raises:
            StoreUnavailable: The database is away, or cannot write.
        """
        ...


class AutoCommitter:
    """One statement a transition, in autocommit.

    Args:
        database: The database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def run(self, writes: Sequence[Write]) -> list[bool]:
        """As :meth:`Committer.run`."""
        with self._database.writing() as connection:
            return [write.transition.run(connection, write.parameters) for write in writes]


class GroupCommitter:
    """Transitions that wait at the same time share a commit.

    Args:
        database: The database, on SQLite.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._begin_anew()
        database.after_fork.append(self._begin_anew)

    def _begin_anew(self) -> None:
        """Nobody waits, and nobody commits; of a fork's parent, somebody may."""
        self._waiting: deque[_Ticket] = deque()
        self._committing = Lock()

    def run(self, writes: Sequence[Write]) -> list[bool]:
        """As :meth:`Committer.run`."""
        ticket = _Ticket(writes)
        self._waiting.append(ticket)
        with self._committing:
            if not ticket.is_finished:
                self._commit_for_all()
        if ticket.error is not None:
            raise ticket.own_error()
        return ticket.happened

    def _commit_for_all(self) -> None:
        tickets = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            self._commit(tickets)
        except StoreUnavailable as error:
            for ticket in tickets:
                ticket.fail(error)
        except Exception:  # noqa: BLE001 - it is raised where the ticket is from
            for ticket in tickets:  # one of them is to blame, the others are not
                try:
                    self._commit([ticket])
                except Exception as error:  # noqa: BLE001 - likewise
                    ticket.fail(error)
        except BaseException:  # of this thread alone, such as a server's abort
            for ticket in tickets:
                ticket.fail(StoreUnavailable())
            raise

    def _commit(self, tickets: Sequence[_Ticket]) -> None:
        with self._database.writing() as connection:
            if len(tickets) == 1 == len(tickets[0].writes):
                transition, parameters = tickets[0].writes[0]
                happened = [[transition.run(connection, parameters)]]
            else:
                cursor = connection.cursor()
                cursor.execute("BEGIN IMMEDIATE")
                happened = [
                    [write.transition.run_within(connection, write.parameters) for write in ticket.writes]
                    for ticket in tickets
                ]
                cursor.execute("COMMIT")
        for ticket, outcome in zip(tickets, happened, strict=True):
            ticket.succeed(outcome)


class _Ticket:
    """Somebody's transitions, and how they went."""

    def __init__(self, writes: Sequence[Write]) -> None:
        self.writes = writes
        self.is_finished = False
        self.happened: list[bool] = []
        self.error: Exception | None = None

    def succeed(self, happened: list[bool]) -> None:
        self.happened, self.is_finished = happened, True

    def fail(self, error: Exception) -> None:
        self.error, self.is_finished = error, True

    def own_error(self) -> Exception:
        """The error, for this thread alone, as each adds to its traceback."""
        assert self.error is not None, "there was one"
        if isinstance(self.error, StoreUnavailable):
            own = StoreUnavailable()
            own.__cause__ = self.error.__cause__
            return own
        return self.error
