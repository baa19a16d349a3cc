"""Encryption at rest: all data from platforms and handlers is encrypted before it is stored.

Encryption is AES-256-GCM by `cryptography`. It binds a value to its place in the database: a value that was
copied to another row or column cannot be decrypted there. The first key encrypts, and every key decrypts. So
a new key can be added in front of the old keys. The old keys can be removed after everything has been
reencrypted.

Earlier versions encrypted with Fernet, which binds nothing. A store that they wrote accepts both forms until
its keys are rotated.
"""

from __future__ import annotations

import hmac
import logging
import os
import stat
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .._internal.files import create_atomically, write_atomically
from .errors import StoreError
from .places import Place

_logger = logging.getLogger(__name__)

_T = TypeVar("_T")
_encoder = msgspec.json.Encoder()
_decoders: dict[object, msgspec.json.Decoder[object]] = {}

KEY_COMMAND = 'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'
"""A shell command that prints a new key."""

_BOUND = b"\x01"
"""The first byte of a value that is bound to its place. A Fernet token begins with ``g``."""

_KEY_ID, _SALT, _NONCE = 8, 12, 12
"""Numbers of bytes. A bound value is: version, id of the key, salt, nonce, ciphertext with its tag."""

_SALT_STARTS = len(_BOUND) + _KEY_ID
_NONCE_STARTS = _SALT_STARTS + _SALT
_TEXT_STARTS = _NONCE_STARTS + _NONCE


def new_key() -> str:
    """Generate a random key."""
    return Fernet.generate_key().decode()


def is_bound(token: bytes) -> bool:
    """Whether an encrypted value is bound to its place."""
    return token[:1] == _BOUND


class _Key(NamedTuple):
    """The keys that are derived from a configured key.

    Args:
        id: A public value that identifies the key.
        secret: The key from which each value's own key is derived.
    """

    id: bytes
    secret: bytes

    @classmethod
    def of(cls, fernet_key: bytes) -> _Key:
        """Derive the keys from the 32 bytes of a Fernet key."""
        derived = [
            HKDF(SHA256(), size, salt=None, info=b"brokerkit store, AES-256-GCM, " + label).derive(fernet_key)
            for label, size in ((b"key id", _KEY_ID), (b"values", 32))
        ]
        return cls(*derived)

    def cipher(self, salt: bytes) -> AESGCM:
        """Return the cipher of one value.

        One key with random nonces of 96 bits is safe for only 2**32 values, and a store may write more than
        that during the life of a key. So each value has its own key, as in XChaCha20. Salt and nonce together
        are 192 random bits, which do not repeat.
        """
        return AESGCM(hmac.digest(self.secret, salt, "sha256"))


class _KeyRing(NamedTuple):
    """All configured keys.

    Args:
        newest: The key that encrypts.
        by_id: All keys, by their ids.
        fernet: Decrypts the values of earlier versions with any key.
        newest_fernet: Decrypts those that were encrypted with the newest key.
    """

    newest: _Key
    by_id: dict[bytes, _Key]
    fernet: MultiFernet
    newest_fernet: Fernet


class Encryptor:
    """Encryption and decryption with a list of keys.

    Args:
        keys: Fernet keys (32 bytes in URL-safe base64), the newest first.
        accepts_unbound: Whether to decrypt values of earlier versions, which are not bound to their place.
            Defaults to False.

    Raises:
        StoreError: The list is empty, or an entry is not a valid key.
    """

    def __init__(self, keys: Sequence[str | bytes], *, accepts_unbound: bool = False) -> None:
        self.accepts_unbound = accepts_unbound
        self._ring = _key_ring(keys)

    def encrypt(self, value: object, place: Place) -> bytes:
        """Encode a struct or a JSON value, and encrypt it with the newest key for its place.

        Raises:
            TypeError: JSON cannot represent the value.
            ValueError: JSON cannot represent the value.
            RecursionError: The value is nested too deeply.
        """
        return self._encrypt(_encoder.encode(value), place)

    def decrypt(self, token: bytes, kind: type[_T], place: Place) -> _T:
        """Decrypt and decode a value.

        Args:
            token: The encrypted value.
            kind: The type to decode.
            place: The place that the value was read from.

        Raises:
            StoreError: None of the keys decrypts it, it belongs to another place, or it is damaged. The
                message names the place.
        """
        decoder = _decoders.get(kind)
        if decoder is None:
            decoder = _decoders[kind] = msgspec.json.Decoder(kind)
        try:
            return decoder.decode(self._decrypt(token, place))  # type: ignore[return-value]
        except msgspec.MsgspecError:  # without its message, which can contain a part of the value
            raise StoreError(
                f"the {place} cannot be read: its format is not one of this brokerkit or of an earlier"
                " version"
            ) from None

    def reencrypt(self, token: bytes, place: Place) -> bytes | None:
        """Encrypt a value again with the newest key. Return None if that key has encrypted it for its place.

        Raises:
            StoreError: None of the keys decrypts it, it belongs to another place, or it is damaged.
        """
        value = self._decrypt(token, place)
        if is_bound(token) and _key_id_of(token) == self._ring.newest.id:
            return None
        return self._encrypt(value, place)

    def has_newest_key(self, token: bytes, place: Place) -> bool:
        """Whether a value was encrypted with the newest key, in either form.

        Raises:
            StoreError: None of the keys decrypts it, it belongs to another place, or it is damaged.
        """
        self._decrypt(token, place)
        if is_bound(token):
            return _key_id_of(token) == self._ring.newest.id
        try:
            self._ring.newest_fernet.decrypt(token)
        except InvalidToken:
            return False
        return True

    def _encrypt(self, value: bytes, place: Place) -> bytes:
        random = os.urandom(_SALT + _NONCE)
        salt, nonce = random[:_SALT], random[_SALT:]
        key = self._ring.newest
        return b"".join(
            (_BOUND, key.id, random, key.cipher(salt).encrypt(nonce, value, _encode_place(place)))
        )

    def _decrypt(self, token: bytes, place: Place) -> bytes:
        """Decrypt a value.

        Raises:
            StoreError: The value cannot be decrypted.
        """
        if not is_bound(token):
            return self._decrypt_unbound(token, place)
        key = self._ring.by_id.get(_key_id_of(token))
        if key is None:
            raise StoreError(_unknown_key(place))
        cipher = key.cipher(token[_SALT_STARTS:_NONCE_STARTS])
        try:
            return cipher.decrypt(
                token[_NONCE_STARTS:_TEXT_STARTS], token[_TEXT_STARTS:], _encode_place(place)
            )
        except (InvalidTag, ValueError):  # a truncated value has no nonce
            raise StoreError(
                f"the {place} has a value that does not belong there or is damaged; find out who changed the"
                " database, and restore the row from a backup"
            ) from None

    def _decrypt_unbound(self, token: bytes, place: Place) -> bytes:
        if not self.accepts_unbound:
            raise StoreError(
                f"the {place} has a value that is not bound to its place, although all values of this store"
                " are; find out who changed the database, and restore the row from a backup"
            )
        try:
            return self._ring.fernet.decrypt(token)
        except InvalidToken:
            raise StoreError(_unknown_key(place)) from None


def _encode_place(place: Place) -> bytes:
    """Encode a place unambiguously: JSON quotes the separators that occur in an id."""
    return _encoder.encode(place)


def _key_id_of(token: bytes) -> bytes:
    return token[len(_BOUND) : _SALT_STARTS]


def _unknown_key(place: Place) -> str:
    return (
        f"the {place} was encrypted with a key that is not in encryption_keys; add that key at the end of the"
        " list"
    )


def _key_ring(keys: Sequence[str | bytes]) -> _KeyRing:
    if isinstance(keys, str | bytes):
        raise StoreError("encryption_keys is a single string; pass a list of keys, the newest first")
    if not keys:
        raise StoreError(
            f"encryption_keys is empty; pass at least one key. To generate a key, run: {KEY_COMMAND}"
        )
    fernets = [_fernet(key, number) for number, key in enumerate(keys)]
    derived = [_Key.of(urlsafe_b64decode(key)) for key in keys]
    return _KeyRing(derived[0], {key.id: key for key in derived}, MultiFernet(fernets), fernets[0])


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
        accepts_unbound: As for :class:`Encryptor`. Defaults to False.
    """

    def __init__(self, file: KeyFile, keys: Sequence[str], *, accepts_unbound: bool = False) -> None:
        super().__init__(keys, accepts_unbound=accepts_unbound)
        self._file = file
        self._version: tuple[int, int] | None = None

    def encrypt(self, value: object, place: Place) -> bytes:
        """Encrypt a value as :meth:`Encryptor.encrypt` does, with the newest key in the file."""
        self._reload()
        return super().encrypt(value, place)

    def _decrypt(self, token: bytes, place: Place) -> bytes:
        try:
            return super()._decrypt(token, place)
        except StoreError:
            if not self._reload():
                raise
        return super()._decrypt(token, place)

    def _reload(self) -> bool:
        """Read a changed key file, and return whether new keys were loaded.

        An unreadable file is logged, and the keys that were loaded earlier stay in use.
        """
        version = self._file.version()
        if version is None or version == self._version:
            return False
        self._version = version
        try:
            ring = _key_ring(self._file.read() or ())
        except StoreError as error:
            _logger.error("Cannot reload the key file: %s; keeping the loaded keys", error)
            return False
        self._ring = ring
        return True
