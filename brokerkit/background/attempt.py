"""The end of an attempt, for background and synchronous handlers: store it, then publish it."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from ..handlers.group import Handler
from ..lifecycle.conversion import dump_request
from ..lifecycle.outcomes import (
    UNKNOWN_FAILURE,
    accepted_outcome,
    failure_change,
    planned_change,
    success_change,
)
from ..protocol.encoding import EMPTY_RESULTS
from ..requests import InstanceRequest, Operation
from ..results import Accepted
from ..store.errors import StoreUnavailable
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

_encoder = msgspec.json.Encoder()

StoredResult: TypeAlias = InstanceResult | BindingResult | None


class AttemptEnding(Struct, frozen=True):
    """The end of an attempt, before it is stored.

    Args:
        write: Stores the end. Returns False if the operation was cancelled or taken over.
        leads_to: The state of the operation after the write. None if the write deletes the operation.
        publish: Publishes the end after the write. Defaults to None.
        outcome: The outcome of a failure. Defaults to None.
        result: The result to release if the operation was cancelled. Defaults to None.
    """

    write: Callable[[], bool]
    leads_to: Progress | None
    publish: Callable[[], None] | None = None
    outcome: Outcome | None = None
    result: StoredResult = None


class UnstorableEnd(Exception):
    """An error: the end of an attempt could not be written for another reason than an outage."""

    def __str__(self) -> str:
        return f"the end of an attempt could not be stored: {self.__cause__!r}"


class AttemptProtocol(ABC):
    """A base class that stores the end of an attempt and then publishes it.

    If the operation was cancelled or taken over, the attempt is released instead. A subclass defines how
    writes are retried and what is published.

    Create it before the handler is called: what is stored of the request is copied then, because the handler
    may modify the request.

    Args:
        store: The store.
        attempt: The attempt.
        handler: The handler.
        request: The request of the handler.
        instance: The instance before the attempt.
        binding: The binding before the attempt.
        submit: Submits an operation to the executor, after a delay in seconds.
    """

    def __init__(
        self,
        store: Store,
        attempt: Attempt,
        handler: Handler,
        request: InstanceRequest,
        instance: InstanceRecord | None,
        binding: BindingRecord | None,
        submit: Callable[[str, float], None],
    ) -> None:
        self._store = store
        self._attempt = attempt
        self._handler = handler
        self._request: Any = request
        self._instance = instance
        self._binding = binding
        self._submit = submit
        self._planned = planned_change(attempt.kind, request, instance)
        # Only a handler of a platform that can poll returns `Accepted`.
        document = dump_request(request) if getattr(request, "accepts_incomplete", False) else {}
        self._document = msgspec.Raw(_encoder.encode(document))

    def ending_of(self, result: object) -> AttemptEnding:
        """Prepare the end of an attempt whose handler returned a result.

        The values to store are copied here, so that later changes of the result have no effect.

        Raises:
            HandlerMistake: A part of the result cannot be stored.
        """
        kind, instance, binding = self._attempt.kind, self._instance, self._binding
        if isinstance(result, Accepted):
            outcome, stored = accepted_outcome(kind, result, instance, binding)
            write = partial(self._store.accept, self._attempt, outcome, self._document, stored)
            publish = partial(self._publish_acceptance, result)
            return AttemptEnding(write, Progress.IN_PROGRESS, publish, result=stored)
        return self._success(result, success_change(kind, self._planned, result, instance, binding))

    def gone(self) -> bool:
        """Store and publish that a resource to delete does not exist. Return whether this is stored.

        Raises:
            StoreUnavailable: The store stayed unavailable.
        """
        return self.conclude(self._success(EMPTY_RESULTS[self._attempt.kind], self._planned))

    def _success(self, result: object, change: Change) -> AttemptEnding:
        write = partial(self._store.end, self._attempt, Progress.SUCCEEDED, self._success_outcome, change)
        publish = partial(self._publish_success, result)
        return AttemptEnding(write, Progress.SUCCEEDED, publish, result=change.result)

    def failed(self, outcome: Outcome) -> bool:
        """Store and publish a failure.

        Returns:
            Whether the failure is stored. Otherwise the attempt is released.

        Raises:
            StoreUnavailable: The store stayed unavailable.
        """
        return self.conclude(self._failure(outcome))

    def _failure(self, outcome: Outcome) -> AttemptEnding:
        change = failure_change(self._attempt.kind)
        write = partial(self._store.end, self._attempt, Progress.FAILED, outcome, change)
        publish = partial(self._publish_failure, outcome)
        return AttemptEnding(write, Progress.FAILED, publish, outcome)

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

    def conclude(self, ending: AttemptEnding) -> bool:
        """Store and publish the end of the attempt. It is stored as a failure if it cannot be written.

        Returns:
            Whether the end is stored. Otherwise the attempt is released.

        Raises:
            StoreUnavailable: The store stayed unavailable.
            UnstorableEnd: The end could not be written, and is stored as a failure.
        """
        # Settle outside of the `try`: an error of the release or of a receiver must not write another end.
        try:
            written = self._write(ending)
        except StoreUnavailable:
            raise
        except Exception as error:
            _logger.exception(
                "Cannot store the end of the operation %s after %s; the operation has failed",
                self._attempt.operation_id,
                self._handler,
            )
            failure = self._failure(UNKNOWN_FAILURE)
            self._settle(failure, self._write(failure))
            raise UnstorableEnd from error
        except BaseException:  # raised in this thread by another one, or by a signal handler
            if self._write(ending):
                self._settle(ending, written=True)
            raise
        return self._settle(ending, written)

    def _settle(self, ending: AttemptEnding, written: bool) -> bool:
        if not written:
            self.released(ending.result)
        elif ending.publish is not None:
            ending.publish()
        return written

    @property
    def _success_outcome(self) -> Outcome | None:
        """The outcome of a success. None keeps the stored outcome."""
        return None

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
