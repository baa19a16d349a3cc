"""How a store knows its keys: by a word that was sealed when it was made."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from . import tables
from .database import Database
from .encryption import Encryptor, FileEncryptor, KeyFile, new_key
from .errors import StoreError

WORD = "brokerkit"


def open_encryptor(database: Database, keys: Sequence[str | bytes] | None) -> Encryptor:
    """What seals and opens what is in a database.

    Args:
        database: The database.
        keys: The keys; on SQLite None for those of the key file, which is made for a new database.

    Raises:
        StoreError: They are not those that it was sealed with, or the key file is gone.
    """
    with database.engine.connect() as connection:
        sealed = connection.scalar(select(tables.keys.c.sealed).where(tables.keys.c.id == 1))
    where = "encryption_keys"
    if keys is not None:
        vault = Encryptor(keys)
    elif database.is_in_memory:
        vault = Encryptor([new_key()])
    else:
        file = KeyFile(database.path)
        where = f"the key file {file.path}"
        keys_of_file = _keys_of_file(database, file, is_new=sealed is None)
        try:
            vault = FileEncryptor(file, keys_of_file)
        except StoreError:
            raise StoreError(f"{where} holds what is no key; put back the one that there was") from None
    if sealed is None:
        return _leave_word(database, vault, keys)
    try:
        vault.decrypt(sealed, str)
    except StoreError:
        raise StoreError(
            f"the store {database} was sealed with a key that is not in {where}; add it at the end, and take"
            " it out after flask broker rotate-keys"
        ) from None
    return vault


def _leave_word(database: Database, vault: Encryptor, keys: Sequence[str | bytes] | None) -> Encryptor:
    """Leave the word; who comes second reads that of the first."""
    try:
        with database.engine.connect() as connection:
            connection.execute(insert(tables.keys).values(id=1, sealed=vault.encrypt(WORD)))
    except IntegrityError:
        return open_encryptor(database, keys)
    return vault


def _keys_of_file(database: Database, file: KeyFile, *, is_new: bool) -> Sequence[str]:
    keys = file.read()
    if keys is None and not is_new:
        raise StoreError(
            f"the store {database} is sealed, and its key file {file.path} is gone; put it back, or give"
            " Broker(encryption_keys=…)"
        )
    return file.create() if keys is None else keys
