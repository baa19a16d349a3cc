"""`brokerkit check` with a check that is only played: ``python -m tests.checker.fake_check NAME …``.

NAME is that of a report in :mod:`tests.checker.sample_reports`; or ``wait``, which waits for Ctrl-C; or
``wait-long``, which does not heed the first one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import ModuleType

from brokerkit.checker.options import Options, Progress
from brokerkit.checker.report import Report
from brokerkit.cli.check import check as command

from . import sample_reports as samples

ProgressCallback = Callable[[Progress], None]


def fake_check(name: str) -> Callable[..., Report]:
    """Return a check that returns a prepared report."""

    def check(url: str, options: Options, *, progress: ProgressCallback | None = None) -> Report:
        assert progress is not None
        if name in samples.ALL:
            for done in range(4):
                progress(Progress(done, 3, f"[red]hello-db/small\x1b[31m{done}"))
            return samples.ALL[name]
        try:
            _wait(progress, "waiting")
        except KeyboardInterrupt:
            if name == "wait-long":
                _wait(progress, "deleting")
        return samples.INTERRUPTED

    return check


def _wait(progress: ProgressCallback, doing: str) -> None:
    progress(Progress(0, 0, doing))
    while True:
        time.sleep(0.01)


if __name__ == "__main__":
    module = ModuleType("brokerkit.checker.runner")
    module.__dict__["check"] = fake_check(sys.argv.pop(1))
    sys.modules[module.__name__] = module
    command(prog_name="brokerkit check")
