"""A new key for all that is sealed, while brokers run on the store.

Every sealed value is compared and set by itself: what a request writes meanwhile is looked at once more. The
word by which a store knows its keys comes last, so whoever has the newest key alone can then read everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from msgspec import Struct
from sqlalchemy import Column, LargeBinary, Table, bindparam, select, tuple_, update

from .encryption import Encryptor, KeyFile, new_key
from .errors import StoreError
from .store import Store
from .tables import bindings, instances, keys, operations
from .transitions import Query

_BATCH = 200
"""How many rows are sealed anew in a transaction."""

_PASSES = 10
"""How often all is looked at, if there is always something that was sealed with an older key meanwhile."""


class RotationResult(Struct, frozen=True, kw_only=True):
    """What was done.

    Args:
        reencrypted: How many rows of each kind were sealed anew.
        key_made: Was a new key put into the key file?
        keys_removed: How many older keys were taken out of it.
    """

    reencrypted: Mapping[str, int]
    key_made: bool = False
    keys_removed: int = 0


def rotate(store: Store) -> RotationResult:
    """Seal everything with the newest key.

    With a key file, that is a new one, which running brokers find there. The one before stays in the file
    until the next rotation, for what a process was writing at this moment; those before that are taken out.

    Raises:
        StoreError: Something was sealed with a key that is not there; or a broker goes on sealing with an
            older one.
        StoreUnavailable: The database is away. It can be done again.
    """
    file = store.key_file
    if file is None:
        return RotationResult(reencrypted=_seal_all(store, store.encryptor))
    told, made = _with_new_key(store, file)
    sealed = _seal_all(store, Encryptor(told))
    return RotationResult(
        reencrypted=sealed, key_made=made, keys_removed=_without_old_keys(store, file, told[0])
    )


def _with_new_key(store: Store, file: KeyFile) -> tuple[Sequence[str], bool]:
    """The keys with a new one in front; one that a rotation put there which did not get through is new."""
    with _alone(store) as connection:
        told = _read(file)
        if Encryptor(told).reencrypt(_word(store, connection)) is not None:
            return told, False
        told = [new_key(), *told]
        file.replace(told)
        return told, True


def _without_old_keys(store: Store, file: KeyFile, newest: str) -> int:
    """Leave the newest key and the one before it, unless somebody else has begun another rotation."""
    with _alone(store) as connection:
        told = _read(file)
        if told[0] != newest or Encryptor(told).reencrypt(_word(store, connection)) is not None:
            return 0
        if len(told) > 2:
            file.replace(told[:2])
        return max(0, len(told) - 2)


def _read(file: KeyFile) -> list[str]:
    told = file.read()
    if told is None:
        raise StoreError(f"the key file {file.path} is gone; put it back")
    return told


@contextmanager
def _alone(store: Store) -> Iterator[Any]:
    """A transaction that no other process has at the same time. Only SQLite has a key file."""
    with store.database.writing() as connection:
        cursor = connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        yield connection
        cursor.execute("COMMIT")


def _word(store: Store, connection: Any) -> bytes:
    query = Query(store.database.engine.dialect, select(keys.c.sealed).where(keys.c.id == 1))
    (sealed,) = query.run(connection, {}).fetchone() or (b"",)
    return bytes(sealed)


# Sealing anew


def _seal_all(store: Store, vault: Encryptor) -> dict[str, int]:
    names = {"instances": instances, "bindings": bindings, "operations": operations}
    sealed = dict.fromkeys(names, 0)
    for _ in range(_PASSES):
        found = 0
        for name, table in names.items():
            older, written = _Sealing(store, table).seal(vault)
            sealed[name] += written
            found += older
        if not found:
            break
    else:
        raise StoreError(
            "a process of the broker goes on sealing with an older key; restart all of them with the newest"
            " one in front of encryption_keys, and run flask broker rotate-keys again"
        )
    _Sealing(store, keys).seal(vault)
    return sealed


class _Sealing:
    """Seals the rows of one table anew.

    Args:
        store: The store.
        table: The table.
    """

    def __init__(self, store: Store, table: Table) -> None:
        dialect = store.database.engine.dialect
        self._database = store.database
        self._key: list[Column[Any]] = list(table.primary_key.columns)
        sealed = [column for column in table.columns if isinstance(column.type, LargeBinary)]
        rows = select(*self._key, *sealed).order_by(*self._key).limit(_BATCH)
        after = tuple_(*self._key) > tuple_(*(_parameter(f"k_{column.name}", column) for column in self._key))
        self._first, self._next = Query(dialect, rows), Query(dialect, rows.where(after))
        is_it = [column == _parameter(f"k_{column.name}", column) for column in self._key]
        self._set = [
            Query(
                dialect,
                update(table)
                .values({column.name: _parameter("new", column)})
                .where(*is_it, column == _parameter("old", column)),
            )
            for column in sealed
        ]

    def seal(self, vault: Encryptor) -> tuple[int, int]:
        """Go through all rows.

        Returns:
            How many rows had something that was sealed with an older key, and how many of them have not.
        """
        query, place = self._first, dict[str, Any]()
        found = written = 0
        while True:
            with self._database.reading() as connection:
                rows = list(query.run(connection, place).fetchall())
            if not rows:
                return found, written
            width = len(self._key)
            changes = [(self._place(row), self._anew(row[width:], vault)) for row in rows]
            older = [(where, values) for where, values in changes if values]
            found += len(older)
            written += self._write(older)
            query, place = self._next, self._place(rows[-1])

    def _place(self, row: Sequence[Any]) -> dict[str, Any]:
        return {f"k_{column.name}": value for column, value in zip(self._key, row, strict=False)}

    def _anew(self, values: Sequence[Any], vault: Encryptor) -> list[tuple[Query, bytes, bytes]]:
        anew = []
        for query, value in zip(self._set, values, strict=True):
            if value:  # of what was deleted, nothing is left
                sealed = vault.reencrypt(bytes(value))
                if sealed is not None:
                    anew.append((query, value, sealed))
        return anew

    def _write(self, rows: Sequence[tuple[dict[str, Any], list[tuple[Query, bytes, bytes]]]]) -> int:
        """Write what is still as it was read."""
        if not rows:
            return 0
        written = 0
        with self._database.writing() as connection:
            cursor = connection.cursor()
            cursor.execute("BEGIN IMMEDIATE" if self._database.is_sqlite else "BEGIN")
            for place, values in rows:
                done = [
                    query.run(connection, {**place, "old": old, "new": new}).rowcount > 0
                    for query, old, new in values
                ]
                written += all(done)
            cursor.execute("COMMIT")
        return written


def _parameter(name: str, column: Column[Any]) -> Any:
    return bindparam(name, type_=column.type)
