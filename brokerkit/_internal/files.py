"""Files that only their owner can read, and atomic writes: a reader sees the old content or the new."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path


def write_atomically(
    path: Path, data: bytes, *, mode: int = 0o600, like: os.stat_result | None = None
) -> None:
    """Replace the content of a file, or create it.

    Args:
        path: The file. A symbolic link is replaced itself; resolve it first to replace its target.
        data: The new content.
        mode: The permissions of the new file. Defaults to 0600.
        like: The status of a file whose owner and group the new file gets. Defaults to none.

    Raises:
        OSError: The file cannot be written. It has its old content then.
    """
    _write(path, data, mode, like, Path.replace)


def create_atomically(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Create a file that must not exist yet, whole or not at all.

    Raises:
        FileExistsError: The file exists. It is unchanged.
        OSError: The file cannot be created.
    """
    _write(path, data, mode, None, os.link)


def create_private(path: Path) -> None:
    """Create an empty file with mode 0600, whatever the umask.

    Raises:
        FileExistsError: The file exists. It is unchanged.
        OSError: The file cannot be created.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        if os.name == "posix":
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def _write(
    path: Path,
    data: bytes,
    mode: int,
    like: os.stat_result | None,
    publish: Callable[[Path, Path], object],
) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if os.name == "posix":
                os.fchmod(descriptor, mode)
                if like is not None:
                    os.fchown(descriptor, like.st_uid, like.st_gid)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        publish(draft, path)
    finally:
        draft.unlink(missing_ok=True)
