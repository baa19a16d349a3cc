"""Brokers that provision in the background: how that is asked for, and how its end is awaited."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Condition
from typing import Any
from wsgiref.types import WSGIApplication

from blinker import NamedSignal

from brokerkit import Executor, ProvisionRequest, ThreadExecutor

from .stored import served, stored_broker
from .traffic import Question, ask

_TIMEOUT = 300.0


class Nobody:
    """The executor of a process that dies before it runs anything."""

    def start(self, run: Callable[[str], None]) -> None:
        """Never call it."""

    def submit(self, operation_id: str, delay: float = 0) -> None:
        """Lose it."""

    def stop(self) -> None:
        """Nothing runs."""


class Background:
    """A broker that works in the background, and counts.

    Args:
        app: What serves it.
    """

    def __init__(self, app: WSGIApplication) -> None:
        self.app = app
        self.counted = 0
        self._changed = Condition()

    def submit(self, questions: Sequence[Question]) -> list[str]:
        """Ask for provisions, one after the other.

        Returns:
            The ids of their operations.
        """
        return [begun(self.app, question) for question in questions]

    def count(self, sender: object, **facts: object) -> None:
        """A signal's receiver."""
        with self._changed:
            self.counted += 1
            self._changed.notify_all()

    def wait_for(self, count: int) -> None:
        """Until the signal was sent so often.

        Raises:
            AssertionError: It was not, in a long time; or more often.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.counted >= count, _TIMEOUT)
            if self.counted != count:
                raise AssertionError(f"{self.counted} operations got where {count} were to get")


def begun(app: WSGIApplication, provision: Question) -> str:
    """Ask for a provision in the background; the id of its operation."""
    status, document = ask(app, provision.fresh_environ())
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
    """A broker that is served.

    Args:
        url: The database's.
        provision: The background handler.
        counted: The signal that tells that an operation got where it must get.
        executor: Runs it.
    """
    broker = stored_broker(url, provision, executor or ThreadExecutor())
    with served(broker) as app:
        background = Background(app)
        with counted.connected_to(background.count, sender=broker):
            yield background
