"""The types of what the fixtures give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from ..checker.report import Report

Login = tuple[str, str] | str | None
"""How to authenticate: a username and password, a bearer token, or None for not at all."""


class CheckBroker(Protocol):
    """What the fixture `check_broker` is: it checks a broker, each rule as a subtest."""

    def __call__(self, target: WSGIApplication | str | None = None, /, **options: Any) -> Report:
        """Check a broker.

        Args:
            target: Its app, or its URL; that of `broker_url` unless told.
            **options: Those of :class:`~brokerkit.checker.options.Options`, such as ``level="MUST"``. The
                login of an app is its own unless told.

        Returns:
            What was found.
        """
        ...
