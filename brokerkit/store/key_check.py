"""The key check: an encrypted constant in the store shows whether the configured keys belong to it.

Its form shows whether the store may have values of earlier versions, which are not bound to their place.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from . import tables
from .database import Database
from .encryption import Encryptor, FileEncryptor, KeyFile, is_bound, new_key
from .errors import StoreError
from .places import KEY_CHECK
from .transitions import Query

_CONSTANT = "brokerkit"


def open_encryptor(database: Database, keys: Sequence[str | bytes] | None) -> Encryptor:
    """Return the encryptor for a database, after a check of its keys.

    Args:
        database: The database.
        keys: The configured keys. Defaults to those of the key file, which is created for a new SQLite
            database.

    Raises:
        StoreError: The keys do not belong to this store, or the key file is missing or invalid.
    """
    with database.engine.connect() as connection:
        key_check = connection.scalar(select(tables.keys.c.sealed).where(tables.keys.c.id == 1))
    accepts_unbound = key_check is not None and not is_bound(key_check)
    source = "encryption_keys"
    if keys is not None:
        encryptor = Encryptor(keys, accepts_unbound=accepts_unbound)
    elif database.is_in_memory:
        encryptor = Encryptor([new_key()])
    else:
        file = KeyFile(database.path)
        source = f"the key file {file.path}"
        file_keys = _load_key_file(database, file, is_new=key_check is None)
        try:
            encryptor = FileEncryptor(file, file_keys, accepts_unbound=accepts_unbound)
        except StoreError:
            raise StoreError(
                f"{source} has an entry that is not a valid key; restore it from a backup"
            ) from None
    if key_check is None:
        return _write_key_check(database, encryptor, keys)
    try:
        encryptor.decrypt(key_check, str, KEY_CHECK)
    except StoreError:
        raise StoreError(
            f"the store {database} was encrypted with a key that is not in {source}; add that key at the end,"
            " and remove it after flask broker rotate-keys"
        ) from None
    return encryptor


def is_key_check_bound(database: Database) -> bool:
    """Whether all values of a store are bound to their place, because its keys were rotated.

    Raises:
        StoreUnavailable: The database cannot be reached.
    """
    query = Query(database.engine.dialect, select(tables.keys.c.sealed).where(tables.keys.c.id == 1))
    with database.reading() as connection:
        (key_check,) = query.run(connection, {}).fetchone() or (b"",)
    return is_bound(bytes(key_check))


def _write_key_check(
    database: Database, encryptor: Encryptor, keys: Sequence[str | bytes] | None
) -> Encryptor:
    """Write the key check. If another process was first, check the keys against its key check."""
    try:
        with database.engine.connect() as connection:
            connection.execute(
                insert(tables.keys).values(id=1, sealed=encryptor.encrypt(_CONSTANT, KEY_CHECK))
            )
    except IntegrityError:
        return open_encryptor(database, keys)
    return encryptor


def _load_key_file(database: Database, file: KeyFile, *, is_new: bool) -> Sequence[str]:
    keys = file.read()
    if keys is None and not is_new:
        raise StoreError(
            f"the store {database} is encrypted, and its key file {file.path} is missing; restore the file,"
            " or pass Broker(encryption_keys=…)"
        )
    return file.create() if keys is None else keys
