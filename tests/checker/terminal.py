"""A terminal of a width, and a program in it."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).parent.parent.parent
_STYLE = re.compile(r"\x1b\[[0-9;]*m")


class Terminal:
    """Runs a module of Python in a terminal of its own; its output is read as it comes.

    Args:
        command: The module, and its arguments.
        columns: How wide the terminal is.
        rows: How high.
        environment: What to set beside the usual.
    """

    def __init__(
        self,
        *command: str,
        columns: int = 100,
        rows: int = 40,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        usual = {name: value for name, value in os.environ.items() if name not in _NOT_OURS}
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=ROOT,
            env={**usual, "TERM": "xterm-256color", **(environment or {})},
            start_new_session=True,
        )
        os.close(theirs)
        self.output = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait(15)
        os.close(self._ours)

    def read_until(self, words: str, within: float = 30) -> None:
        """Wait until the program has said something."""
        until = time.monotonic() + within
        while words not in self.output:
            assert self._read(until - time.monotonic()), self.output

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self._ours, text.encode())

    def read_all(self, within: float = 60) -> int:
        """Wait until the program has ended; its exit code."""
        until = time.monotonic() + within
        while self._read(until - time.monotonic()):
            pass
        return self.process.wait(15)

    def _read(self, within: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], max(0.0, within))
        assert ready, f"nothing more was said: {self.output}"
        try:
            got = os.read(self._ours, 65_536)
        except OSError as error:
            if error.errno == errno.EIO:  # so Linux says that the other end is closed
                return False
            raise
        self.output += got.decode(errors="replace").replace("\r\n", "\n")
        return bool(got)

    @property
    def lines(self) -> list[str]:
        """What was printed below the progress bar, without colours."""
        return _STYLE.sub("", self.output.rpartition("\x1b[2K")[2]).splitlines()


_NOT_OURS = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "COLORTERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}
