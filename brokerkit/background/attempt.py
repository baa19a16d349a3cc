"""The end of an attempt, for background and synchronous handlers: store it, then publish it."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from msgspec import Struct

from ..lifecycle.conversion import dump_request
from ..lifecycle.outcomes import accepted_outcome, failure_change
from ..requests import InstanceRequest, Operation
from ..results import Accepted
from ..store.models import (
    Attempt,
    BindingRecord,
    BindingResult,
    Change,
    InstanceRecord,
    InstanceResult,
    Outcome,
    Progress,
)
from ..store.retry import follower_of
from ..store.store import Store

_logger = logging.getLogger(__name__)

StoredResult: TypeAlias = InstanceResult | BindingResult | None


class AttemptEnding(Struct, frozen=True):
    """The end of an attempt, before it is stored.

    Args:
        write: Stores the end. Returns False if the operation was cancelled or taken over.
        leads_to: The state of the operation after the write.
        publish: Publishes the end after the write. Defaults to None.
        outcome: The outcome of a failure. Defaults to None.
        result: The result to release if the operation was cancelled. Defaults to None.
    """

    write: Callable[[], bool]
    leads_to: Progress
    publish: Callable[[], None] | None = None
    outcome: Outcome | None = None
    result: StoredResult = None


class AttemptProtocol(ABC):
    """A base class that stores the end of an attempt and then publishes it.

    If the operation was cancelled or taken over, the attempt is released instead. A subclass defines how
    writes are retried and what is published.

    Args:
        store: The store.
        attempt: The attempt.
        request: The request of the handler.
        instance: The instance before the attempt.
        binding: The binding before the attempt.
        submit: Submits an operation to the executor, after a delay in seconds.
    """

    def __init__(
        self,
        store: Store,
        attempt: Attempt,
        request: InstanceRequest,
        instance: InstanceRecord | None,
        binding: BindingRecord | None,
        submit: Callable[[str, float], None],
    ) -> None:
        self._store = store
        self._attempt = attempt
        self._request: Any = request
        self._instance = instance
        self._binding = binding
        self._submit = submit

    def succeeded(self, result: object, change: Change, outcome: Outcome | None) -> bool:
        """Store and publish a success.

        Args:
            result: The result of the handler.
            change: The change of the instance or binding.
            outcome: The outcome to store. None keeps the stored one.

        Returns:
            Whether the success is stored. Otherwise the attempt is released.

        Raises:
            StoreUnavailable: The store stayed unavailable.
        """
        write = partial(self._store.end, self._attempt, Progress.SUCCEEDED, outcome, change)
        publish = partial(self._publish_success, result)
        return self._end(AttemptEnding(write, Progress.SUCCEEDED, publish, result=change.result))

    def accepted(self, result: Accepted) -> bool:
        """Store and publish that the operation continues outside of the broker.

        Returns:
            Whether the acceptance is stored. Otherwise the attempt is released.

        Raises:
            StoreUnavailable: The store stayed unavailable.
        """
        outcome, stored = accepted_outcome(self._attempt.kind, result, self._instance, self._binding)
        write = partial(self._store.accept, self._attempt, outcome, dump_request(self._request), stored)
        publish = partial(self._publish_acceptance, result)
        return self._end(AttemptEnding(write, Progress.IN_PROGRESS, publish, result=stored))

    def failed(self, outcome: Outcome) -> bool:
        """Store and publish a failure.

        Returns:
            Whether the failure is stored. Otherwise the attempt is released.

        Raises:
            StoreUnavailable: The store stayed unavailable.
        """
        change = failure_change(self._attempt.kind)
        write = partial(self._store.end, self._attempt, Progress.FAILED, outcome, change)
        publish = partial(self._publish_failure, outcome)
        return self._end(AttemptEnding(write, Progress.FAILED, publish, outcome))

    def released(self, result: StoredResult) -> None:
        """Store that the attempt of a cancelled operation ended, and submit the operation that waits for it.

        Args:
            result: The result to store for the operation that deletes the resource.

        Raises:
            StoreUnavailable: The store is unavailable.
        """
        if self._attempt.kind is Operation.UPDATE:
            result = None  # a failed update has no result (R-UPD-5)
        if not self._write_release(partial(self._store.release, self._attempt, result)):
            _logger.warning(
                "Attempt of the operation %s ended after its lease was lost; its result is not stored",
                self._attempt.operation_id,
            )
        elif follower := follower_of(self._store, self._attempt):
            self._submit(follower, 0.0)

    def _end(self, ending: AttemptEnding) -> bool:
        # Settle outside of `_write`: an error of the release or of a receiver must not defer the write again.
        written = self._write(ending)
        return self._settle(ending, written)

    def _settle(self, ending: AttemptEnding, written: bool) -> bool:
        if not written:
            self.released(ending.result)
        elif ending.publish is not None:
            ending.publish()
        return written

    @abstractmethod
    def _write(self, ending: AttemptEnding) -> bool:
        """Store an ending. Return False if the operation was cancelled or taken over."""

    @abstractmethod
    def _write_release(self, write: Callable[[], bool]) -> bool:
        """Store a release. Return False if the attempt had lost its lease."""

    @abstractmethod
    def _publish_success(self, result: Any) -> None:
        """Publish a stored success."""

    @abstractmethod
    def _publish_acceptance(self, result: Accepted) -> None:
        """Publish a stored acceptance."""

    @abstractmethod
    def _publish_failure(self, outcome: Outcome) -> None:
        """Publish a stored failure."""
