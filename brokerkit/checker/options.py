"""The options of a check, and its progress."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from .._internal.masked_struct import Masked
from ..client.platforms import PLATFORMS, Platform
from .report import Level


class Progress(NamedTuple):
    """The progress of a check.

    Args:
        done: The number of finished steps.
        total: The number of steps, as far as it is known.
        doing: The current step, such as ``"hello-db/small: bind"``.
    """

    done: int
    total: int
    doing: str


class Options(Masked, frozen=True, kw_only=True):
    """The options of a check. Its repr shows no secrets.

    Args:
        username: The username for basic authentication (R-REQ-2). Defaults to none.
        password: The password for basic authentication. Defaults to none.
        token: A bearer token, instead of username and password. Defaults to none.
        platform: The platform to act as, or its name in `brokerkit.client.PLATFORMS`. Defaults to no specific
            platform.
        plans: The plans to check, each ``"offering"`` or ``"offering/plan"``, by name or id. Defaults to
            all.
        parameters: The parameters to send, from :func:`~brokerkit.checker.parameter_file.read_parameters`.
            Defaults to examples made from the schemas.
        level: The least severe level to evaluate. Defaults to INTEROP, which means all levels.
        only: Evaluate only rules with these prefixes: ``"R-PROV"``, ``"R-PROV-4"``,
            ``"R-PROV-4.same-operation"``. Defaults to all rules.
        skip: Skip rules with these prefixes. Defaults to none.
        timeout: The seconds to wait for a response. Defaults to 30.
        operation_timeout: The seconds to wait for an asynchronous operation. Defaults to 600.
        jobs: The number of offerings to check concurrently. Plans of one offering are checked in sequence.
            Defaults to 4.
        verify: Whether to verify the server's certificate, or the path of a file with trusted certificates.
            Defaults to True.

    Raises:
        ValueError: The platform is unknown, or a number is out of range.
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
            raise ValueError(f"platform {self.platform!r} is unknown; use one of {', '.join(PLATFORMS)}")
        for name in ("plans", "only", "skip"):
            if isinstance(getattr(self, name), str):  # its characters would be used as names
                raise ValueError(f"{name} is a string; use a list of strings")
        for name, maximum in _MAXIMA.items():
            value = getattr(self, name)
            if not 0 < value <= maximum:  # also false for NaN
                raise ValueError(f"{name} is {value}; use a number above 0 and at most {maximum}")

    def wants(self, key: str, level: Level) -> bool:
        """Return whether a rule is to be evaluated.

        Args:
            key: The rule's key, such as ``"R-PROV-4.same-operation"``.
            level: The severity of breaking it.
        """
        if _LEVELS.index(level) > _LEVELS.index(self.level):
            return False
        if any(key_matches(key, prefix) for prefix in self.skip):
            return False
        return not self.only or any(key_matches(key, prefix) for prefix in self.only)


def key_matches(key: str, prefix: str) -> bool:
    """Return whether a rule's key has a prefix that ends at a ``.``, a ``-`` or the key's end.

    ``R-PROV-4`` matches ``R-PROV-4.same-operation``, but not ``R-PROV-40``.
    """
    return re.match(rf"{re.escape(prefix)}(?![^.-])", key, re.IGNORECASE) is not None


_LEVELS = tuple(Level)  # the most severe first
_MAXIMA = {"timeout": 86_400, "operation_timeout": 7 * 86_400, "jobs": 100}
