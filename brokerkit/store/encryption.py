"""Encryption at rest: all data from platforms and handlers is encrypted before it is stored.

Encryption is `cryptography`'s Fernet (AES-128-CBC with HMAC-SHA-256). The first key encrypts, and every key
decrypts. So a new key can be added in front of the old keys. The old keys can be removed after everything has
been reencrypted.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from .._internal.files import create_atomically, write_atomically
from .errors import StoreError

_logger = logging.getLogger(__name__)

_T = TypeVar("_T")
_encoder = msgspec.json.Encoder()
_decoders: dict[object, msgspec.json.Decoder[object]] = {}

KEY_COMMAND = 'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'
"""A shell command that prints a new key."""


def new_key() -> str:
    """Generate a random key."""
    return Fernet.generate_key().decode()


class Encryptor:
    """Encryption and decryption with a list of keys.

    Args:
        keys: Fernet keys (32 bytes in URL-safe base64), the newest first.

    Raises:
        StoreError: The list is empty, or an entry is not a valid key.
    """

    def __init__(self, keys: Sequence[str | bytes]) -> None:
        if isinstance(keys, str | bytes):
            raise StoreError("encryption_keys is a single string; pass a list of keys, the newest first")
        if not keys:
            raise StoreError(
                f"encryption_keys is empty; pass at least one key. To generate a key, run: {KEY_COMMAND}"
            )
        fernets = [_fernet(key, number) for number, key in enumerate(keys)]
        self._newest, self._fernet = fernets[0], MultiFernet(fernets)

    def encrypt(self, value: object) -> bytes:
        """Encode a struct or a JSON value, and encrypt it with the newest key.

        Raises:
            TypeError: JSON cannot represent the value.
            ValueError: JSON cannot represent the value.
            RecursionError: The value is nested too deeply.
        """
        return self._fernet.encrypt(_encoder.encode(value))

    def decrypt(self, token: bytes, kind: type[_T]) -> _T:
        """Decrypt and decode a value.

        Args:
            token: The encrypted value.
            kind: The type to decode.

        Raises:
            StoreError: None of the keys decrypts it.
        """
        decoder = _decoders.get(kind)
        if decoder is None:
            decoder = _decoders[kind] = msgspec.json.Decoder(kind)
        return decoder.decode(self._decrypt(token))  # type: ignore[return-value]

    def reencrypt(self, token: bytes) -> bytes | None:
        """Encrypt a value again with the newest key. Return None if the newest key decrypts it already.

        Raises:
            StoreError: None of the keys decrypts it.
        """
        try:
            self._newest.decrypt(token)
        except InvalidToken:
            return self._fernet.encrypt(self._decrypt(token))
        return None

    def _decrypt(self, token: bytes) -> bytes:
        try:
            return self._fernet.decrypt(token)
        except InvalidToken:
            raise StoreError(
                "a stored value was encrypted with a key that is not in encryption_keys; add that key at the"
                " end of the list"
            ) from None


def _fernet(key: str | bytes, number: int) -> Fernet:
    try:
        return Fernet(key)
    except (ValueError, TypeError):
        raise StoreError(
            f"encryption_keys[{number}] is not a valid key, which is 32 bytes in URL-safe base64. To generate"
            f" a key, run: {KEY_COMMAND}"
        ) from None


class KeyFile:
    """The key file of a SQLite store, beside its database: `broker.db.key` with mode 0600.

    Args:
        database: The path of the database file.
    """

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(f"{database.name}.key")

    def read(self) -> list[str] | None:
        """Return the keys in the file, the newest first, or None if there is no file.

        Raises:
            StoreError: The file cannot be read, is empty, or gives access to other users than its owner.
        """
        try:
            with self.path.open() as file:
                mode = os.fstat(file.fileno()).st_mode
                keys = file.read().split()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(
                f"the key file {self.path} cannot be read: {error.strerror}; correct its permissions"
            ) from None
        if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
            raise StoreError(
                f"the key file {self.path} is readable by other users than its owner; run chmod 600 on it,"
                " and rotate the key if another user may have read it"
            )
        if not keys:
            raise StoreError(f"the key file {self.path} is empty; restore it from a backup")
        return keys

    def create(self) -> list[str]:
        """Create the file with a new key. If another process created it first, return that process's keys.

        Raises:
            StoreError: The folder is not writable.
        """
        try:
            create_atomically(self.path, f"{new_key()}\n".encode())
        except FileExistsError:
            pass
        except OSError as error:
            raise StoreError(
                f"the key file {self.path} cannot be created: {error.strerror}; give the user of this process"
                " write access to its folder"
            ) from None
        keys = self.read()
        assert keys is not None, "the key file vanished after its creation"
        return keys

    def replace(self, keys: Sequence[str]) -> None:
        """Replace the keys in the file atomically. The owner and the group of the file do not change.

        Raises:
            StoreError: The file is not writable.
        """
        path = self.path.resolve()  # if the path is a symbolic link, replace its target
        try:
            data = "".join(f"{key}\n" for key in keys).encode()
            write_atomically(path, data, like=path.stat())
        except OSError as error:
            raise StoreError(
                f"the key file {self.path} cannot be written: {error.strerror}; give the user of this process"
                " write access to its folder"
            ) from None

    def version(self) -> tuple[int, int] | None:
        """Return a value that changes with the file, or None if there is no file."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns


class FileEncryptor(Encryptor):
    """An encryptor that reads the key file again when it changes, so a new key needs no restart.

    Args:
        file: The key file.
        keys: The keys that were read from it.
    """

    def __init__(self, file: KeyFile, keys: Sequence[str]) -> None:
        super().__init__(keys)
        self._file = file
        self._version: tuple[int, int] | None = None

    def encrypt(self, value: object) -> bytes:
        """Encrypt a value as :meth:`Encryptor.encrypt` does, with the newest key in the file."""
        self._reload()
        return super().encrypt(value)

    def _decrypt(self, token: bytes) -> bytes:
        try:
            return super()._decrypt(token)
        except StoreError:
            if not self._reload():
                raise
        return super()._decrypt(token)

    def _reload(self) -> bool:
        """Read a changed key file, and return whether new keys were loaded.

        An unreadable file is logged, and the keys that were loaded earlier stay in use.
        """
        version = self._file.version()
        if version is None or version == self._version:
            return False
        self._version = version
        try:
            keys = self._file.read()
            encryptor = Encryptor(keys) if keys else self
        except StoreError as error:
            _logger.error("Cannot reload the key file: %s; keeping the loaded keys", error)
            return False
        self._newest, self._fernet = encryptor._newest, encryptor._fernet
        return True
