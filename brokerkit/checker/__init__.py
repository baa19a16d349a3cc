"""A conformance checker for service brokers, independent of their language and framework.

::

    from brokerkit.checker import Options, check

    report = check("https://broker.example.com", Options(username="platform", password="..."))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._internal.facade import lazy
from .options import Options, Progress
from .report import Failure, Leftover, Level, Outcome, Report, Verdict

if TYPE_CHECKING:
    from .runner import check

__all__ = [
    "Failure",
    "Leftover",
    "Level",
    "Options",
    "Outcome",
    "Progress",
    "Report",
    "Verdict",
    "check",
]

__getattr__ = lazy(__name__, {"check": ".runner"})
