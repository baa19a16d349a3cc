"""The types of the fixtures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from ..checker.report import Report

Login = tuple[str, str] | str | None
"""The credentials: a username and password, a bearer token, or None for no authentication."""


class CheckBroker(Protocol):
    """The type of the fixture `check_broker`: a function that reports each rule as a subtest."""

    def __call__(self, target: WSGIApplication | str | None = None, /, **options: Any) -> Report:
        """Check a broker.

        Args:
            target: The app or the URL of the broker. Defaults to the fixture `broker_url`.
            **options: Fields of :class:`~brokerkit.checker.options.Options`, such as ``level="MUST"``. The
                login of an app defaults to its own.

        Returns:
            The report of the check.
        """
        ...
