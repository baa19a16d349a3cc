"""Key rotation: reencryption of the whole store while brokers run on it.

Each encrypted value is replaced by a separate compare-and-set. If a request changes a value during the pass,
the next pass reads it again. The key check is reencrypted last. Then the newest key can decrypt everything,
and every value is bound to its place. All processes refuse other values afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from msgspec import Struct
from sqlalchemy import Column, LargeBinary, Table, bindparam, select, tuple_, update

from .encryption import Encryptor, KeyFile, new_key
from .errors import StoreError
from .places import IDENTITY, KEY_CHECK, RowIdentity, column_place
from .store import Store
from .tables import bindings, instances, keys, operations
from .transitions import Query

_BATCH = 200
"""The number of rows that are reencrypted in one transaction."""

_PASSES = 10
"""The maximum number of passes. A further pass is needed if another process still writes with an old key."""


class RotationResult(Struct, frozen=True, kw_only=True):
    """The result of a rotation.

    Args:
        reencrypted: The number of reencrypted rows for each table.
        key_made: Whether a new key was added to the key file. Defaults to False.
        keys_removed: The number of older keys that were removed from the key file. Defaults to 0.
    """

    reencrypted: Mapping[str, int]
    key_made: bool = False
    keys_removed: int = 0


def rotate(store: Store) -> RotationResult:
    """Reencrypt everything with the newest key.

    With a key file, a new key is generated, and running brokers load it from the file. The previous key stays
    in the file until the next rotation, because a process may be writing with it. Keys older than that are
    removed.

    Raises:
        StoreError: A value was encrypted with an unknown key, belongs to another place or is damaged, or a
            broker keeps encrypting with an older key.
        StoreUnavailable: The database cannot be reached. The rotation can be repeated.
    """
    file = store.key_file
    if file is None:
        return RotationResult(reencrypted=_reencrypt_all(store, store.encryptor))
    file_keys, key_made = _add_key(store, file)
    reencrypted = _reencrypt_all(store, _encryptor(store, file_keys))
    return RotationResult(
        reencrypted=reencrypted,
        key_made=key_made,
        keys_removed=_remove_old_keys(store, file, file_keys[0]),
    )


def _add_key(store: Store, file: KeyFile) -> tuple[Sequence[str], bool]:
    """Add a new key in front. Return all keys, and whether a key was added.

    If an interrupted rotation has already added a key, that key is used.
    """
    with _exclusive(store) as connection:
        file_keys = _read_keys(file)
        if _is_outdated(store, file_keys, connection):
            return file_keys, False
        file_keys = [new_key(), *file_keys]
        file.replace(file_keys)
        return file_keys, True


def _remove_old_keys(store: Store, file: KeyFile, newest: str) -> int:
    """Remove all but the two newest keys, unless another rotation has begun. Return their number."""
    with _exclusive(store) as connection:
        file_keys = _read_keys(file)
        if file_keys[0] != newest or _is_outdated(store, file_keys, connection):
            return 0
        if len(file_keys) > 2:
            file.replace(file_keys[:2])
        return max(0, len(file_keys) - 2)


def _encryptor(store: Store, file_keys: Sequence[str]) -> Encryptor:
    return Encryptor(file_keys, accepts_unbound=store.encryptor.accepts_unbound)


def _is_outdated(store: Store, file_keys: Sequence[str], connection: Any) -> bool:
    """Whether the key check was encrypted with an older key, because a rotation was interrupted."""
    query = Query(store.database.engine.dialect, select(keys.c.sealed).where(keys.c.id == KEY_CHECK.row[0]))
    (key_check,) = query.run(connection, {}).fetchone() or (b"",)
    return not _encryptor(store, file_keys).has_newest_key(bytes(key_check), KEY_CHECK)


def _read_keys(file: KeyFile) -> list[str]:
    file_keys = file.read()
    if file_keys is None:
        raise StoreError(f"the key file {file.path} is missing; restore it from a backup")
    return file_keys


@contextmanager
def _exclusive(store: Store) -> Iterator[Any]:
    """Open a transaction that excludes other writers. Only SQLite has a key file."""
    with store.database.writing() as connection:
        cursor = connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        yield connection
        cursor.execute("COMMIT")


# Reencryption


def _reencrypt_all(store: Store, encryptor: Encryptor) -> dict[str, int]:
    tables = {"instances": instances, "bindings": bindings, "operations": operations}
    reencrypted = dict.fromkeys(tables, 0)
    for _ in range(_PASSES):
        remaining = 0
        for name, table in tables.items():
            outdated, written = _TableRotation(store, table).run(encryptor)
            reencrypted[name] += written
            remaining += outdated
        if not remaining:
            break
    else:
        raise StoreError(
            "a broker process keeps encrypting with an older key; restart all processes with the newest key"
            " in front of encryption_keys, and run flask broker rotate-keys again"
        )
    _TableRotation(store, keys).run(encryptor)
    store.encryptor.accepts_unbound = False
    return reencrypted


class _Update(NamedTuple):
    """The replacement of one encrypted value."""

    query: Query
    old: bytes
    new: bytes


class _TableRotation:
    """The reencryption of one table.

    Args:
        store: The store.
        table: The table.
    """

    def __init__(self, store: Store, table: Table) -> None:
        dialect = store.database.engine.dialect
        self._database = store.database
        self._key: list[Column[Any]] = list(table.primary_key.columns)
        self._identity = IDENTITY[table]
        encrypted = [column for column in table.columns if isinstance(column.type, LargeBinary)]
        self._columns = encrypted
        rows = select(*self._identity, *encrypted).order_by(*self._key).limit(_BATCH)
        after = tuple_(*self._key) > tuple_(*(_bind(f"k_{column.name}", column) for column in self._key))
        self._first, self._next = Query(dialect, rows), Query(dialect, rows.where(after))
        is_row = [column == _bind(f"k_{column.name}", column) for column in self._key]
        self._queries = [
            Query(
                dialect,
                update(table)
                .values({column.name: _bind("new", column)})
                .where(*is_row, column == _bind("old", column)),
            )
            for column in encrypted
        ]

    def run(self, encryptor: Encryptor) -> tuple[int, int]:
        """Reencrypt all rows once.

        Returns:
            The number of rows with an outdated value, and how many of these were rewritten. A value is
            outdated if an older key or an earlier version encrypted it.
        """
        query, position = self._first, dict[str, Any]()
        outdated = written = 0
        while True:
            with self._database.reading() as connection:
                rows = list(query.run(connection, position).fetchall())
            if not rows:
                return outdated, written
            width = len(self._identity)
            changes = [
                (self._key_params(row), self._updates(tuple(row[:width]), row[width:], encryptor))
                for row in rows
            ]
            changes = [(key, updates) for key, updates in changes if updates]
            outdated += len(changes)
            written += self._write(changes)
            query, position = self._next, self._key_params(rows[-1])

    def _key_params(self, row: Sequence[Any]) -> dict[str, Any]:
        return {f"k_{column.name}": value for column, value in zip(self._key, row, strict=False)}

    def _updates(
        self, row_identity: RowIdentity, values: Sequence[Any], encryptor: Encryptor
    ) -> list[_Update]:
        updates = []
        for query, column, value in zip(self._queries, self._columns, values, strict=True):
            if value:  # a deleted instance has empty columns
                new = encryptor.reencrypt(bytes(value), column_place(column, row_identity))
                if new is not None:
                    updates.append(_Update(query, value, new))
        return updates

    def _write(self, changes: Sequence[tuple[dict[str, Any], list[_Update]]]) -> int:
        """Write values that have not changed since the read. Return the number of rows without conflict."""
        if not changes:
            return 0
        written = 0
        with self._database.writing() as connection:
            cursor = connection.cursor()
            cursor.execute("BEGIN IMMEDIATE" if self._database.is_sqlite else "BEGIN")
            for key, updates in changes:
                results = [
                    query.run(connection, {**key, "old": old, "new": new}).rowcount > 0
                    for query, old, new in updates
                ]
                written += all(results)
            cursor.execute("COMMIT")
        return written


def _bind(name: str, column: Column[Any]) -> Any:
    return bindparam(name, type_=column.type)
