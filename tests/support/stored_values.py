"""Encrypted values of a store, read and written with direct SQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import msgspec
from cryptography.fernet import Fernet
from sqlalchemy import Column, LargeBinary, select, text

from brokerkit.store.places import IDENTITY, Place, column_place
from brokerkit.store.store import Store
from brokerkit.store.tables import metadata

from .stateful import KEY


def read_values(url: str, keys: Sequence[str] | None = (KEY,)) -> dict[Place, bytes]:
    """Return all encrypted values of a store."""
    with closing(Store(url, encryption_keys=keys)) as store:
        return {place: value for _, place, value in _values(store)}


def write_value(url: str, place: Place, value: bytes | None) -> None:
    """Replace an encrypted value, as an attacker with access to the database can."""
    with closing(Store(url, encryption_keys=[KEY])) as store:
        _write(store, metadata.tables[place.table].c[place.column], place, value)


def change(url: str, statement: str, **parameters: Any) -> None:
    """Run an SQL statement that must change a row."""
    with closing(Store(url, encryption_keys=[KEY])) as store, store.database.engine.begin() as connection:
        assert connection.execute(text(statement), parameters).rowcount


def encrypt_for(url: str, place: Place, content: object) -> None:
    """Replace a value by other content that is encrypted for the same place."""
    with closing(Store(url, encryption_keys=[KEY])) as store:
        store.open()
        value = store.encryptor.encrypt(content, place)
    write_value(url, place, value)


def write_unbound(url: str, keys: Sequence[str] | None = (KEY,), key: str = KEY) -> None:
    """Rewrite a store as earlier versions did, with Fernet tokens that are not bound to a place.

    Args:
        url: The URL of the store.
        keys: The keys of the store. None for those of the key file. Defaults to `KEY`.
        key: The key that encrypts the tokens. Defaults to `KEY`.
    """
    with closing(Store(url, encryption_keys=keys)) as store:
        store.open()
        for column, place, value in list(_values(store)):
            content = store.encryptor.decrypt(value, msgspec.Raw, place)
            _write(store, column, place, Fernet(key).encrypt(bytes(content)))


def operation_value(url: str, operation_id: str, column: str) -> Place:
    """Return the place of a value of an operation."""
    places = read_values(url)
    return next(place for place in places if (place.row[0], place.column) == (operation_id, column))


def _values(store: Store) -> Iterator[tuple[Column[Any], Place, bytes]]:
    with store.database.engine.connect() as connection:
        for table in metadata.tables.values():
            identity = IDENTITY[table]
            for column in (column for column in table.columns if isinstance(column.type, LargeBinary)):
                for *row, value in connection.execute(select(*identity, column)):
                    if value:
                        yield column, column_place(column, tuple(row)), value


def _write(store: Store, column: Column[Any], place: Place, value: bytes | None) -> None:
    table = metadata.tables[place.table]
    statement = table.update().values({column.name: value})
    for key, part in zip(table.primary_key.columns, place.row, strict=False):
        statement = statement.where(key == part)
    with store.database.engine.begin() as connection:
        assert connection.execute(statement).rowcount == 1
