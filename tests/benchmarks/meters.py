"""Meters of a machine and a PostgreSQL server. Those of processes need `/proc`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any, NamedTuple, Self

import psycopg
from psycopg.sql import SQL, Identifier, Literal
from sqlalchemy import make_url

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAUSE = 0.05


class Ticks(NamedTuple):
    """Seconds of CPU time.

    Args:
        machine: All processes of the machine.
        own: This process.
        trees: The given processes with their children, by process id.
    """

    machine: float
    own: float
    trees: dict[int, float]

    def since(self, before: Ticks) -> Ticks:
        """Return the usage since an earlier reading."""
        trees = {pid: seconds - before.trees[pid] for pid, seconds in self.trees.items()}
        return Ticks(self.machine - before.machine, self.own - before.own, trees)


def ticks(*roots: int) -> Ticks:
    """Return the CPU time used so far, or 0 where the system does not report it.

    Args:
        roots: The processes to read with their children.
    """
    if not (_PROC / "stat").exists():
        return Ticks(0.0, 0.0, dict.fromkeys(roots, 0.0))
    user, nice, system, _, _, irq, softirq, *_ = _fields(_PROC / "stat", "cpu ")
    machine = sum(map(int, (user, nice, system, irq, softirq))) / _TICKS
    return Ticks(machine, sum(os.times()[:2]), {root: _tree(root) for root in roots})


def _fields(path: Path, after: str) -> list[str]:
    return path.read_text("ascii", errors="replace").partition("\n")[0].rpartition(after)[2].split()


def _tree(pid: int) -> float:
    """Return the ticks of a process, its live children and its reaped children."""
    try:
        children = (_PROC / f"{pid}/task/{pid}/children").read_text("ascii").split()
        used = sum(map(int, _fields(_PROC / f"{pid}/stat", ") ")[11:15])) / _TICKS
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return used + sum(_tree(int(child)) for child in children)


class Written(NamedTuple):
    """The writes of PostgreSQL.

    Args:
        commits: The number of writing transactions.
        wal: Bytes of write-ahead log.
    """

    commits: float = 0.0
    wal: float = 0.0

    def since(self, before: Written) -> Written:
        """Return the writes since an earlier reading."""
        return Written(self.commits - before.commits, self.wal - before.wal)

    def and_then(self, more: Written) -> Written:
        """Return the sum of two periods."""
        return Written(self.commits + more.commits, self.wal + more.wal)

    def each_of(self, count: int) -> Written:
        """Return the writes per lifecycle."""
        return Written(self.commits / count, self.wal / count)


class Size(NamedTuple):
    """The size of a table.

    Args:
        rows: The number of rows.
        heap: Bytes of the table.
        indexes: Bytes of all its indexes.
        index_depths: The number of pages per index that a lookup reads.
    """

    rows: int
    heap: int
    indexes: int
    index_depths: list[int]


class PostgresMeter:
    """A meter of a PostgreSQL server, with its own connection.

    Args:
        url: The SQLAlchemy URL of one of its databases.
    """

    def __init__(self, url: str) -> None:
        self._url = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)

    def __enter__(self) -> Self:
        self._connection = psycopg.connect(self._url, autocommit=True)
        backend = self._connection.info.backend_pid
        status = _PROC / f"{backend}/stat"
        self.pid = int(_fields(status, ") ")[1]) if status.exists() else 0
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    def written(self) -> Written:
        """Return the writes of all databases of the server so far."""
        row = self._connection.execute(
            "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint,"
            " pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
        ).fetchone()
        assert row is not None
        return Written(*row)

    def size_of(self, table: str) -> Size:
        """Return the size of a table in the meter's database."""
        self._connection.execute("CREATE EXTENSION IF NOT EXISTS pageinspect")
        depths = self._connection.execute(
            "SELECT level + 1 FROM pg_index, bt_metap(indexrelid::regclass::text)"
            " WHERE indrelid = %s::regclass ORDER BY indexrelid",
            [table],
        ).fetchall()
        row = self._connection.execute(
            SQL("SELECT count(*), pg_table_size({0}), pg_indexes_size({0}) FROM {1}").format(
                Literal(table), Identifier(table)
            )
        ).fetchone()
        assert row is not None
        rows, heap, indexes = row
        return Size(rows, heap, indexes, [depth for (depth,) in depths])

    def changes_of(self, table: str) -> tuple[int, ...]:
        """Return the numbers of rows inserted, updated, updated without new index entries, and deleted."""
        row = self._connection.execute(
            "SELECT n_tup_ins, n_tup_upd, n_tup_hot_upd, n_tup_del FROM pg_stat_user_tables"
            " WHERE relid = %s::regclass",
            [table],
        ).fetchone()
        assert row is not None
        return row

    @contextmanager
    def sampling(self, database: str, samples: Samples) -> Iterator[None]:
        """Sample the activity of the connections to a database.

        Args:
            database: The name of the database.
            samples: Receives the samples.
        """
        stopped = Event()

        def sample() -> None:
            with psycopg.connect(self._url, autocommit=True) as connection:
                while not stopped.wait(_PAUSE):
                    samples.add(connection.execute(_DOING, [database]).fetchall())

        thread = Thread(target=sample)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()


_DOING = """
SELECT CASE WHEN state <> 'active' THEN 'idle' ELSE coalesce(wait_event, 'CPU') END, count(*)
FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid() GROUP BY 1
"""


class Samples:
    """Samples of the activity of connections."""

    def __init__(self) -> None:
        self.connections = 0
        self._doing: Counter[str] = Counter()

    def add(self, rows: list[tuple[Any, ...]]) -> None:
        """Add a sample."""
        self.connections = max(self.connections, sum(count for _, count in rows))
        self._doing.update(dict(rows))

    def busiest(self) -> str:
        """Return the activities of busy connections, most frequent first."""
        busy = {name: count for name, count in self._doing.items() if name != "idle"}
        total = sum(busy.values()) or 1
        return ", ".join(f"{name} {count / total:.0%}" for name, count in Counter(busy).most_common(3))
