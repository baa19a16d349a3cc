"""An executor that runs a broker's background work step by step, on request of a test, without waiting."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from threading import Semaphore, Thread, current_thread
from typing import TYPE_CHECKING, cast

from msgspec import Struct

from ..broker import Broker, runtime_of
from ..requests import Operation

if TYPE_CHECKING:
    from ..background.runtime import Runtime
    from ..store.models import OperationRecord

_DUE_LIMIT = 500


class NothingDue(AssertionError):
    """An error: no background operation is due. Its text lists the waiting operations with their times."""


class StillRunning(AssertionError):
    """An error because a handler reached neither a `yield` nor its end in time; its text shows the stack."""


class Step(Struct, frozen=True, kw_only=True):
    """The state of a background operation after a part of its work.

    Args:
        operation: Its id, with which platforms poll it.
        kind: The requested operation.
        instance_id: The id of the instance.
        binding_id: The id of the binding; None for an operation of the instance.
        state: ``"in progress"``, ``"succeeded"`` or ``"failed"``, as in the response to a poll.
        description: The latest description from its handler, as in the response to a poll.
    """

    operation: str
    kind: Operation
    instance_id: str
    binding_id: str | None
    state: str
    description: str | None


class StepByStep:
    """An executor that runs a broker's background work only when a test calls it.

    Args:
        runtime: The background runtime of the broker.
        timeout: The maximum number of seconds from one `yield` of a handler to the next.
    """

    def __init__(self, runtime: Runtime, timeout: float) -> None:
        self._runtime = runtime
        self._timeout = timeout
        self._attempts: dict[str, _Attempt] = {}

    def step(self, operation: str | None = None) -> Step:
        """Run one step of one operation: up to the next `yield` of its handler, or to its end.

        An operation that has started runs first, until its end. The longest waiting operation is next.

        Args:
            operation: The id of the operation, as in `Accepted`. Defaults to the first in this order.

        Returns:
            The state of the operation after the step.

        Raises:
            NothingDue: No operation is due, or not the given one.
            StillRunning: The handler exceeded the timeout.
        """
        __tracebackhide__ = True
        for operation_id in self._due():
            if operation in (None, operation_id):
                step = self._work(operation_id, to_its_end=False)
                if step is not None:
                    return step
        raise NothingDue(self._describe_waiting(operation))

    def run_pending(self) -> tuple[Step, ...]:
        """Run all due operations to the end of their attempts, including those that become due meanwhile.

        Each operation runs at most one attempt.

        Returns:
            The state of each operation that ran.

        Raises:
            StillRunning: A handler exceeded the timeout.
        """
        __tracebackhide__ = True
        steps: dict[str, Step | None] = {}
        while due := [operation_id for operation_id in self._due() if operation_id not in steps]:
            for operation_id in due:
                steps[operation_id] = self._work(operation_id, to_its_end=True)
        return tuple(step for step in steps.values() if step is not None)

    def advance(self, seconds: float) -> None:
        """Let time pass for the operations: a `Retry` becomes due, or a `maximum_polling_duration` ends.

        Args:
            seconds: The time to advance by, at least 0.

        Raises:
            ValueError: `seconds` is negative, infinite or not a number.
        """
        from .time_travel import advance_time  # here, because it imports SQLAlchemy, an optional dependency

        if not 0 <= seconds < inf:
            raise ValueError(f"advance({seconds!r}): give a number of seconds, 0 or more")
        self._runtime.ensure_started()
        advance_time(self._runtime.store, seconds)
        self._due()  # fails the operations that are past their deadline

    def sleep(self, seconds: float) -> None:
        """Call :meth:`advance` and then :meth:`run_pending`; for ``BrokerClient.wait(…, sleep=….sleep)``.

        Args:
            seconds: The time to advance by.
        """
        __tracebackhide__ = True
        self.advance(seconds)
        self.run_pending()

    # The methods of an `Executor`

    def start(self, run: Callable[[str], None]) -> None:
        """Implement `Executor.start`."""
        self._run: Callable[[str], None] = run

    def submit(self, operation_id: str, delay: float = 0) -> None:
        """Implement `Executor.submit`: do nothing, because the store knows the due operations."""

    def stop(self) -> None:
        """Implement `Executor.stop`: stop each generator at its `yield`, and run its `finally` clauses."""
        for attempt in self._attempts.values():
            attempt.run_freely()
        for attempt in self._attempts.values():
            attempt.join(self._timeout)
        self._attempts.clear()

    def _due(self) -> list[str]:
        """Return the ids of the due operations: those that have started, then those that wait."""
        from ..store.models import Mode

        self._runtime.ensure_started()
        store, waiting = self._runtime.store, []
        for record, now in [*store.due_running(_DUE_LIMIT), *store.due_waiting(_DUE_LIMIT)]:
            if record.is_late_at(now):
                self._runtime.fail_late(record)
            elif record.mode is Mode.BACKGROUND and record.id not in self._attempts:
                waiting.append(record.id)
        return [*self._attempts, *waiting]

    def _work(self, operation_id: str, *, to_its_end: bool) -> Step | None:
        """Run one step or the rest of an attempt; return None if no attempt could start."""
        __tracebackhide__ = True
        attempt = self._attempts.get(operation_id)
        previous_attempt = None
        if attempt is None:
            previous_attempt = self._find(operation_id).attempt
            attempt = self._attempts[operation_id] = _Attempt(self._run, operation_id)
            attempt.start()
        has_paused = attempt.resume(self._timeout, to_its_end=to_its_end)
        record = self._find(operation_id)
        if not has_paused:
            raise StillRunning(
                f"the handler of {_describe(record)} is still running after {self._timeout:g} s, here:\n"
                f"{attempt.stack}"
            )
        if attempt.has_finished:
            del self._attempts[operation_id]
        if record.attempt == previous_attempt:
            return None
        return Step(
            operation=record.id,
            kind=record.kind,
            instance_id=record.instance_key,
            binding_id=record.binding_key,
            state=record.state.value,
            description=self._runtime.store.outcome_of(record).description,
        )

    def _find(self, operation_id: str) -> OperationRecord:
        row = self._runtime.store.find_operation(operation_id)
        assert row is not None, "an operation in progress is never deleted"
        return row[0]

    def _describe_waiting(self, operation: str | None) -> str:
        from .time_travel import waiting_operations

        subject = "no operation is due" if operation is None else f"the operation {operation} is not due"
        lines = [
            f"  {_describe(record)}: in {wait:.0f} seconds"
            for record, wait in waiting_operations(self._runtime.store)
            if record.lease_until is None and wait > 0
        ]
        if not lines:
            return f"{subject}, and none is waiting"
        return "\n".join([f"{subject}; these are waiting (call advance(…) to let time pass):", *lines])


class _Attempt(Thread):
    """A thread with an attempt of an operation, which pauses at each `yield` until it is resumed."""

    def __init__(self, run: Callable[[str], None], operation_id: str) -> None:
        super().__init__(name="brokerkit-step", daemon=True)
        self._run = run
        self._operation_id = operation_id
        self._resumed, self._paused = Semaphore(0), Semaphore(0)
        self._to_its_end = False
        self._is_late = False
        self.has_finished = False

    def run(self) -> None:
        """Run the attempt."""
        self._resumed.acquire()
        try:
            self._run(self._operation_id)
        finally:
            self.has_finished = True
            self._paused.release()

    def pause(self) -> None:
        """Wait until the attempt is resumed. Called in the thread of the attempt."""
        if not self._to_its_end:
            self._paused.release()
            self._resumed.acquire()

    def resume(self, timeout: float, *, to_its_end: bool) -> bool:
        """Resume the attempt, and return whether it paused or finished within the timeout."""
        self._to_its_end = to_its_end
        if not self._is_late:
            self._resumed.release()
        self._is_late = not self._paused.acquire(timeout=timeout)
        return not self._is_late

    def run_freely(self) -> None:
        """Resume the attempt without further pauses."""
        self._to_its_end = True
        self._resumed.release()

    @property
    def stack(self) -> str:
        """The last lines of the thread's stack."""
        frame = sys._current_frames().get(self.ident or 0)
        return "".join(traceback.format_stack(frame)[-3:]).rstrip() if frame else "  (at its end)"


@contextmanager
def step_by_step(broker: Broker, *, timeout: float = 10.0) -> Iterator[StepByStep]:
    """Run the background work of a broker step by step, in place of its executor.

    For example::

        with step_by_step(broker) as work:
            assert work.step().description == "Making a volume"
            work.run_pending()

    Operations in progress are stopped at their next `yield`, and continue step by step. At the end they are
    stopped again, and the broker gets its own executor back.

    Args:
        broker: A broker with a store.
        timeout: The maximum number of seconds from one `yield` of a handler to the next. Defaults to 10.0.

    Raises:
        TypeError: `broker` is not a `Broker`.
        ValueError: The broker has no store.
    """
    if not isinstance(broker, Broker):
        raise TypeError(f"step_by_step takes a Broker, not a {type(broker).__name__}")
    runtime = runtime_of(broker)
    if runtime is None:
        raise ValueError("step_by_step: the broker has no store, so it has no background work")
    work = StepByStep(runtime, timeout)
    previous = runtime.replace_executor(work, _at_yield)
    try:
        yield work
    finally:
        runtime.replace_executor(*previous)


def is_step_by_step(broker: Broker) -> bool:
    """Whether a :class:`StepByStep` is the executor of a broker."""
    runtime = runtime_of(broker)
    return runtime is not None and isinstance(runtime.executor, StepByStep)


def _at_yield() -> None:
    cast(_Attempt, current_thread()).pause()


def _describe(record: OperationRecord) -> str:
    resource = (
        record.instance_key if record.binding_key is None else f"{record.instance_key}/{record.binding_key}"
    )
    return f"the {record.kind} of {resource!r}"
