"""What a check is told to do, and how it tells how far it is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from .._internal.masking import Masked
from ..client.platforms import PLATFORMS, Platform
from .report import Level


class Progress(NamedTuple):
    """How far a check is.

    Args:
        done: How many of its steps are done.
        total: How many there are, as far as it is known.
        doing: What it does now, in a few words: ``"hello-db/small: bind"``.
    """

    done: int
    total: int
    doing: str


class Options(Masked, frozen=True, kw_only=True):
    """What a check is told to do. Its repr shows no secrets.

    Args:
        username: For basic authentication (R-REQ-2).
        password: For basic authentication.
        token: A bearer token instead.
        platform: The platform to speak as, or the name of one in `brokerkit.client.PLATFORMS`; None for
            none of them.
        plans: The plans to work through, ``"offering"`` or ``"offering/plan"``, names or ids; empty for all.
        parameters: What to order with, as :func:`~brokerkit.checker.parameter_file.read_parameters` gives it.
        level: The least level that is judged: with MUST only that; with INTEROP all.
        only: Judge only the rules that begin so: ``"R-PROV"``, ``"R-PROV-4"``, ``"R-PROV-4.same-operation"``.
        skip: Do not judge the rules that begin so.
        timeout: How many seconds an answer may take.
        operation_timeout: How many seconds an asynchronous operation may take.
        jobs: How many offerings to work through at a time; of each, one thing after the other.
        verify: Check the server's certificate? Or the path of a file with those to trust.

    Raises:
        ValueError: The platform is unknown, or a number makes no sense.
    """

    _secret: ClassVar[frozenset[str]] = frozenset({"password", "token", "parameters"})

    username: str | None = None
    password: str | None = None
    token: str | None = None
    platform: str | Platform | None = None
    plans: Sequence[str] = ()
    parameters: Mapping[str, Any] = {}
    level: Level = Level.INTEROP
    only: Sequence[str] = ()
    skip: Sequence[str] = ()
    timeout: float = 30.0
    operation_timeout: float = 600.0
    jobs: int = 4
    verify: bool | str = True

    def __post_init__(self) -> None:
        if isinstance(self.platform, str) and self.platform not in PLATFORMS:
            raise ValueError(f"there is no platform {self.platform!r}; give one of {', '.join(PLATFORMS)}")
        for name in ("plans", "only", "skip"):
            if isinstance(getattr(self, name), str):  # whose letters would be taken for names
                raise ValueError(f"{name} is a string; give a list of them")
        for name, most in _MOST.items():
            value = getattr(self, name)
            if not 0 < value <= most:  # NaN neither
                raise ValueError(f"{name} is {value}; give a number above 0, and at most {most}")

    def wants(self, key: str, level: Level) -> bool:
        """Is a rule to be judged?

        Args:
            key: Its key: ``"R-PROV-4.same-operation"``.
            level: How bad it is to break it.
        """
        if _LEVELS.index(level) > _LEVELS.index(self.level):
            return False
        if any(key_matches(key, prefix) for prefix in self.skip):
            return False
        return not self.only or any(key_matches(key, prefix) for prefix in self.only)


def key_matches(key: str, prefix: str) -> bool:
    """Does a rule's key begin with this, up to a ``.``, a ``-`` or its end?

    ``R-PROV-4`` begins ``R-PROV-4.same-operation``, and not ``R-PROV-40``.
    """
    return re.match(rf"{re.escape(prefix)}(?![^.-])", key, re.IGNORECASE) is not None


_LEVELS = tuple(Level)  # the worst first
_MOST = {"timeout": 86_400, "operation_timeout": 7 * 86_400, "jobs": 100}
