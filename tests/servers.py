"""Brokers in a process of their own, served as the README says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def waitress(folder: Path, app: str, *arguments: str, **environment: str) -> Iterator[int]:
    """Serve an app on a free port of the loopback.

    Args:
        folder: Where its module is, and what it works in.
        app: ``"hello:app"``.
        arguments: More for waitress.
        environment: More variables.

    Yields:
        The port.
    """
    command = [sys.executable, "-m", "waitress", *(arguments or ("--listen=127.0.0.1:0",)), app]
    with subprocess.Popen(
        command, cwd=folder, env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stderr is not None
            serving = (re.search(r"Serving on http://127\.0\.0\.1:(\d+)", line) for line in server.stderr)
            yield int(next(match[1] for match in serving if match))
        finally:
            server.terminate()
