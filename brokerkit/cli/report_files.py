"""Files for reports: checked before the check starts, and written atomically."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import click

from .._internal.files import write_atomically

STDOUT = "-"


class ReportFile(click.ParamType[str]):
    """A path to write a report to, or ``-`` for stdout."""

    name = "file"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        path = Path(str(value))
        folder = path.resolve().parent
        if value == STDOUT:
            return STDOUT
        if path.is_dir():
            self.fail(f"{path} is a folder; give a file", param, ctx)
        if not folder.is_dir():
            self.fail(f"{path} cannot be written: there is no folder {folder}", param, ctx)
        if not os.access(path if _is_special(path) else folder, os.W_OK):
            self.fail(f"{path} cannot be written: no permission to write to {folder}", param, ctx)
        return str(path)


def write_file(name: str, text: str) -> None:
    """Write a report. A regular file is replaced atomically; a pipe or a device is written to.

    Args:
        name: The path.
        text: The report.

    Raises:
        OSError: The file cannot be written. A regular file has its old content then.
    """
    path = Path(name)
    if _is_special(path):
        _write_through(path, text.encode())
        return
    path = path.resolve()  # replace the target of a symbolic link, not the link
    write_atomically(path, text.encode(), mode=_mode(path))


def _write_through(path: Path, data: bytes) -> None:
    """Write to a pipe unbuffered. A buffer would be flushed to the pipe even after Ctrl-C."""
    with path.open("wb", buffering=0) as file:
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]


def _is_special(path: Path) -> bool:
    """Whether a path is a pipe, a device or the like, which must not be replaced by a file."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _mode(path: Path) -> int:
    """Return the permissions of an existing file, or the default permissions of a new one."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
