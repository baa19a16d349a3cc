"""Files that reports go to: told before the check begins if they cannot be there, and never written half."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

import click

STDOUT = "-"


class ReportFile(click.ParamType[str]):
    """A file to write a report to, or ``-`` for stdout."""

    name = "file"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        path = Path(str(value))
        folder = path.resolve().parent
        if value == STDOUT:
            return STDOUT
        if path.is_dir():
            self.fail(f"{path} is a folder; give the file in it", param, ctx)
        if not folder.is_dir():
            self.fail(f"{path} cannot be written: there is no folder {folder}", param, ctx)
        if not os.access(path if _is_other(path) else folder, os.W_OK):
            self.fail(f"{path} cannot be written: {folder} is not yours to write to", param, ctx)
        return str(path)


def write_file(told: str, text: str) -> None:
    """Write a file as a whole: who reads it meanwhile has the one before.

    Args:
        told: Where.
        text: What.

    Raises:
        OSError: It cannot be written. Then there is what there was before.
    """
    path = Path(told)
    if _is_other(path):
        _write_through(path, text.encode())
        return
    path = path.resolve()  # of a link, what it leads to is replaced
    with NamedTemporaryFile("w", encoding="utf-8", newline="", dir=path.parent, delete=False) as file:
        try:
            file.write(text)
            file.flush()
            Path(file.name).chmod(_mode(path))
            Path(file.name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(file.name).unlink()
            raise


def _write_through(path: Path, data: bytes) -> None:
    """Write to a pipe without a buffer, which would be emptied into it even after Ctrl-C."""
    with path.open("wb", buffering=0) as file:
        left = memoryview(data)
        while left:
            left = left[file.write(left) :]


def _is_other(path: Path) -> bool:
    """Is it there, and no file? A device or a pipe is written to, and not replaced."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _mode(path: Path) -> int:
    """The permissions of a file: those that it has, or what files get that are made here."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
