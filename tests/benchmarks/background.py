"""Brokers that provision in the background, and helpers that wait for their operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Condition
from typing import Any
from wsgiref.types import WSGIApplication

from blinker import NamedSignal

from brokerkit import Executor, ProvisionRequest, ThreadExecutor

from .stored import served, stored_broker
from .traffic import Exchange, send

_TIMEOUT = 300.0


class LosingExecutor:
    """An executor that loses all operations, like a process that is killed."""

    def start(self, run: Callable[[str], None]) -> None:
        """Do nothing."""

    def submit(self, operation_id: str, delay: float = 0) -> None:
        """Lose the operation."""

    def stop(self) -> None:
        """Do nothing."""


class Background:
    """A broker with background handlers that counts a signal.

    Args:
        app: The broker's app.
    """

    def __init__(self, app: WSGIApplication) -> None:
        self.app = app
        self.counted = 0
        self._changed = Condition()

    def submit(self, exchanges: Sequence[Exchange]) -> list[str]:
        """Send provisions, one after the other.

        Returns:
            The ids of their operations.
        """
        return [begun(self.app, exchange) for exchange in exchanges]

    def count(self, sender: object, **facts: object) -> None:
        """Receive and count the signal."""
        with self._changed:
            self.counted += 1
            self._changed.notify_all()

    def wait_for(self, count: int) -> None:
        """Wait until the signal was sent so often.

        Raises:
            AssertionError: It was sent more often, or not often enough before the timeout.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.counted >= count, _TIMEOUT)
            if self.counted != count:
                raise AssertionError(f"{self.counted} operations, expected {count}")


def begun(app: WSGIApplication, provision: Exchange) -> str:
    """Send a provision that runs in the background, and return the id of its operation."""
    status, document = send(app, provision.fresh_environ())
    if status != 202 or not isinstance(document, dict):
        raise AssertionError(f"a provision in the background got {status}, {document}")
    return str(document["operation"])


@contextmanager
def working(
    url: str,
    provision: Callable[[ProvisionRequest], Any],
    counted: NamedSignal,
    executor: Executor | None = None,
) -> Iterator[Background]:
    """Serve a broker with a background handler.

    Args:
        url: The URL of the database.
        provision: The background handler.
        counted: The signal to count.
        executor: The executor. Defaults to `ThreadExecutor()`.
    """
    broker = stored_broker(url, provision, executor or ThreadExecutor())
    with served(broker) as app:
        background = Background(app)
        with counted.connected_to(background.count, sender=broker):
            yield background
