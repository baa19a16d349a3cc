"""Time and memory of a full `brokerkit check` of samples/hello.py, each in its own process."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, perf_counter, sleep

from .databases import Database
from .table import Table
from .verdicts import Verdicts

SECONDS, MEGABYTES = 10.0, 300.0

SAMPLES = Path(__file__).parent.parent.parent / "samples"

_LISTENS = re.compile(r"http://127\.0\.0\.1:[1-9]\d*")
_CHILD = (
    "import resource, subprocess, sys;"
    " done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL);"
    " print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
)
"""Runs a command as the only child, so that the memory of children is that of the command."""


def run(kinds: Sequence[Database], verdicts: Verdicts) -> None:
    """Measure, print and compare with the budgets."""
    table = Table(label=24, cells=(10, 9, 6))
    with _sample() as url:
        seconds, megabytes = _check(url)
    table.write("a check of hello.py", "", "budget", "")
    table.write("seconds", *verdicts.at_most(seconds, SECONDS, digits=1))
    table.write("MB at most", *verdicts.at_most(megabytes, MEGABYTES, digits=1))


def _check(url: str) -> tuple[float, float]:
    """Return the seconds and megabytes of a check."""
    started = perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, sys.executable, "-m", "brokerkit", "check", url],
        env={**os.environ, "BROKER_USERNAME": "platform", "BROKER_PASSWORD": "s3cret"},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = perf_counter() - started
    code, memory = map(int, done.stdout.split())
    if code != 0:
        raise AssertionError(f"the check ended with {code}: {done.stderr}")
    return seconds, memory * _UNIT / 1e6


_UNIT = 1 if sys.platform == "darwin" else 1024
"""The unit of `ru_maxrss` in bytes."""


@contextmanager
def _sample() -> Iterator[str]:
    """Serve the sample in a separate folder with its default settings."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        for name in ("hello.py", "catalog.yml"):
            shutil.copy(SAMPLES / name, folder)
        log = folder / "log"
        with log.open("w") as out:
            server = subprocess.Popen(
                [sys.executable, "-m", "waitress", "--listen=127.0.0.1:0", "hello:app"],
                cwd=folder,
                stdout=out,
                stderr=out,
            )
        try:
            yield _url(log)
        finally:
            server.terminate()
            server.wait()


def _url(log: Path) -> str:
    ends = monotonic() + 30
    while (match := _LISTENS.search(log.read_text())) is None:
        if monotonic() > ends:
            raise AssertionError(log.read_text())
        sleep(0.02)
    return match[0]
