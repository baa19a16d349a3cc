"""Secrets at rest: all that a platform or handler said is sealed before it is stored.

Sealing is `cryptography`'s Fernet (AES-128-CBC with HMAC-SHA-256). The first key seals, every key opens, so a
new one can be put in front of the old ones, and the old ones go when everything is sealed anew.
"""

from __future__ import annotations

import logging
import os
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from .errors import StoreError

_logger = logging.getLogger("brokerkit")

_T = TypeVar("_T")
_encoder = msgspec.json.Encoder()
_decoders: dict[object, msgspec.json.Decoder[object]] = {}

KEY_COMMAND = 'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'
"""A command that prints a key."""


def new_key() -> str:
    """A key that nobody else has."""
    return Fernet.generate_key().decode()


class Encryptor:
    """Seals and opens.

    Args:
        keys: Fernet keys (32 bytes in URL-safe base64), the newest first.

    Raises:
        StoreError: There is none, or one is no key.
    """

    def __init__(self, keys: Sequence[str | bytes]) -> None:
        if isinstance(keys, str | bytes):
            raise StoreError("encryption_keys is one text; give a list of keys, the newest first")
        if not keys:
            raise StoreError(
                f"encryption_keys is empty; give at least one key. This makes one: {KEY_COMMAND}"
            )
        fernets = [_fernet(key, number) for number, key in enumerate(keys)]
        self._newest, self._fernet = fernets[0], MultiFernet(fernets)

    def encrypt(self, value: object) -> bytes:
        """A struct or JSON value, so that only who has a key can read it.

        Raises:
            TypeError: JSON cannot hold it. Also a ValueError or RecursionError.
        """
        return self._fernet.encrypt(_encoder.encode(value))

    def decrypt(self, sealed: bytes, kind: type[_T]) -> _T:
        """What was sealed.

        Raises:
            StoreError: With none of the keys.
        """
        decoder = _decoders.get(kind)
        if decoder is None:
            decoder = _decoders[kind] = msgspec.json.Decoder(kind)
        return decoder.decode(self._decrypt(sealed))  # type: ignore[return-value]

    def reencrypt(self, sealed: bytes) -> bytes | None:
        """The same, sealed with the newest key; None if it is.

        Raises:
            StoreError: It was sealed with none of the keys.
        """
        try:
            self._newest.decrypt(sealed)
        except InvalidToken:
            return self._fernet.encrypt(self._decrypt(sealed))
        return None

    def _decrypt(self, sealed: bytes) -> bytes:
        try:
            return self._fernet.decrypt(sealed)
        except InvalidToken:
            raise StoreError(
                "what is stored was sealed with a key that is not among encryption_keys; add it at their end"
            ) from None


def _fernet(key: str | bytes, number: int) -> Fernet:
    try:
        return Fernet(key)
    except (ValueError, TypeError):
        raise StoreError(
            f"encryption_keys[{number}] is no key: a key is 32 bytes in URL-safe base64. This makes one:"
            f" {KEY_COMMAND}"
        ) from None


class KeyFile:
    """The key of a SQLite store, in a file beside its database: `broker.db.key`, mode 0600."""

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(f"{database.name}.key")

    def read(self) -> list[str] | None:
        """The keys in it, a line each, the newest first; None if there is no file.

        Raises:
            StoreError: It cannot be read, or others than its owner can read it.
        """
        try:
            with self.path.open() as file:
                mode = os.fstat(file.fileno()).st_mode
                keys = file.read().split()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"the key file {self.path} cannot be read: {error.strerror}") from None
        if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
            raise StoreError(
                f"the key file {self.path} can be read by others than its owner; chmod 600 it, and think"
                " about who has read it"
            )
        if not keys:
            raise StoreError(f"the key file {self.path} is empty; put back the one that there was")
        return keys

    def create(self) -> list[str]:
        """Make it, unless another process does at the same time; then that one's.

        Raises:
            StoreError: The folder cannot be written to.
        """
        draft = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}")
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(f"{new_key()}\n".encode())
                    file.flush()
                    os.fsync(file.fileno())
                os.link(draft, self.path)  # whole, or not at all
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        except OSError as error:
            raise StoreError(f"the key file {self.path} cannot be made: {error.strerror}") from None
        keys = self.read()
        assert keys is not None, "it was made just now"
        return keys

    def replace(self, keys: Sequence[str]) -> None:
        """Put other keys into it, as a whole or not at all; its owner stays.

        Raises:
            StoreError: It cannot be written.
        """
        path = self.path.resolve()
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            owner = path.stat()
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    if os.name == "posix":
                        os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
                    file.write("".join(f"{key}\n" for key in keys).encode())
                    file.flush()
                    os.fsync(file.fileno())
                draft.replace(path)
            finally:
                draft.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"the key file {self.path} cannot be written: {error.strerror}") from None

    def version(self) -> tuple[int, int] | None:
        """Another one whenever other keys are in it; None if it cannot be looked at."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns


class FileEncryptor(Encryptor):
    """Seals and opens with the keys that are in a key file now: a new one need not be told to who runs.

    Args:
        file: The key file.
        keys: What was in it.
    """

    def __init__(self, file: KeyFile, keys: Sequence[str]) -> None:
        super().__init__(keys)
        self._file = file
        self._stamp: tuple[int, int] | None = None

    def encrypt(self, value: object) -> bytes:
        """As :meth:`Encryptor.encrypt`."""
        self._look()
        return super().encrypt(value)

    def _decrypt(self, sealed: bytes) -> bytes:
        try:
            return super()._decrypt(sealed)
        except StoreError:
            if not self._look():
                raise
        return super()._decrypt(sealed)

    def _look(self) -> bool:
        """Read the file again, if it is another one. What cannot be read is told, and the keys stay."""
        stamp = self._file.version()
        if stamp is None or stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            keys = self._file.read()
            vault = Encryptor(keys) if keys else self
        except StoreError as error:
            _logger.error("%s", error)
            return False
        self._newest, self._fernet = vault._newest, vault._fernet
        return True
