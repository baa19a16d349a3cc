"""Has the background work of a broker done step by step, when a test says so, and without waiting."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from threading import Semaphore, Thread, current_thread
from typing import TYPE_CHECKING, cast

from msgspec import Struct

from ..broker import Broker
from ..requests import Operation

if TYPE_CHECKING:
    from ..background.runtime import Runtime
    from ..store.models import OperationRecord

_BATCH = 500


class NothingDue(AssertionError):
    """No background operation has anything to do now; the text says which wait, and for how long."""


class StillRunning(AssertionError):
    """A handler did not get to its next `yield`, nor to its end, in time; the text says where it is."""


class Step(Struct, frozen=True, kw_only=True):
    """What was done of a background operation, and how it stands now.

    Args:
        operation: Its id, as platforms poll with it.
        kind: What was asked.
        instance_id: Of which instance.
        binding_id: Of which of its bindings, if it is one's.
        state: ``"in progress"``, ``"succeeded"`` or ``"failed"``, as a poll tells it.
        description: What its handler said last, as a poll tells it.
    """

    operation: str
    kind: Operation
    instance_id: str
    binding_id: str | None
    state: str
    description: str | None


class StepByStep:
    """Does the background work of a broker when it is told to; nothing runs by itself.

    Args:
        running: What a process runs for the broker's store.
        timeout: How many seconds a handler may take from one `yield` to the next.
    """

    def __init__(self, running: Runtime, timeout: float) -> None:
        self._running = running
        self._timeout = timeout
        self._attempts: dict[str, _Attempt] = {}

    def step(self, operation: str | None = None) -> Step:
        """Do one step of one operation: up to the next `yield` of its handler, or to its end.

        One that has begun goes first, until it is done; then the one that waits for longest.

        Args:
            operation: Which; its id, as `Accepted` has it.

        Raises:
            NothingDue: There is nothing to do; or nothing of this operation.
            StillRunning: The handler took too long.
        """
        __tracebackhide__ = True
        for each in self._due():
            if operation in (None, each):
                done = self._work(each, to_its_end=False)
                if done is not None:
                    return done
        raise NothingDue(self._told_waiting(operation))

    def run_pending(self) -> tuple[Step, ...]:
        """Do all that is due to its end, also what becomes due by that; one attempt of each operation.

        Returns:
            What was done, an entry for each operation; none if nothing was due.

        Raises:
            StillRunning: A handler took too long.
        """
        __tracebackhide__ = True
        done: dict[str, Step | None] = {}
        while due := [each for each in self._due() if each not in done]:
            for each in due:
                done[each] = self._work(each, to_its_end=True)
        return tuple(step for step in done.values() if step is not None)

    def advance(self, seconds: float) -> None:
        """Let time pass for the operations: a `Retry` becomes due, a `maximum_polling_duration` ends.

        Args:
            seconds: How much.

        Raises:
            ValueError: It is no such number.
        """
        from .time_travel import advance_time  # which needs SQLAlchemy, as a broker with a store does

        if not 0 <= seconds < inf:
            raise ValueError(f"advance({seconds!r}): give a number of seconds, 0 or more")
        self._running.ensure_started()
        advance_time(self._running.store, seconds)
        self._due()  # so that what is past its deadline fails now

    def sleep(self, seconds: float) -> None:
        """:meth:`advance` and then :meth:`run_pending`, for ``BrokerClient.wait(…, sleep=….sleep)``.

        Args:
            seconds: How long to seem to sleep.
        """
        __tracebackhide__ = True
        self.advance(seconds)
        self.run_pending()

    # As an executor

    def start(self, run: Callable[[str], None]) -> None:
        """As `Executor.start`."""
        self._run: Callable[[str], None] = run

    def submit(self, operation_id: str, delay: float = 0) -> None:
        """As `Executor.submit`: the store knows what is due."""

    def stop(self) -> None:
        """As `Executor.stop`: a generator stops where it is, and its `finally` clauses run."""
        for attempt in self._attempts.values():
            attempt.let_go()
        for attempt in self._attempts.values():
            attempt.join(self._timeout)
        self._attempts.clear()

    # How

    def _due(self) -> list[str]:
        """The operations that have something to do: those that have begun, then those that wait."""
        from ..store.models import Mode

        self._running.ensure_started()
        found, now, _ = self._running.store.due(_BATCH)
        waiting = []
        for record in found:
            if record.mode is not Mode.INLINE and record.deadline <= now:
                self._running.handle_due(record, now)
            elif record.mode is Mode.BACKGROUND and record.id not in self._attempts:
                waiting.append(record.id)
        return [*self._attempts, *waiting]

    def _work(self, operation_id: str, *, to_its_end: bool) -> Step | None:
        """Do a step or all of an operation; None if nothing of it could begin."""
        __tracebackhide__ = True
        attempt = self._attempts.get(operation_id)
        begun_before = None
        if attempt is None:
            begun_before = self._find(operation_id).attempt
            attempt = self._attempts[operation_id] = _Attempt(self._run, operation_id)
            attempt.start()
        stands = attempt.go_on(self._timeout, to_its_end=to_its_end)
        record = self._find(operation_id)
        if not stands:
            raise StillRunning(
                f"the handler of {_named(record)} still runs after {self._timeout:g} seconds, here:\n"
                f"{attempt.place}"
            )
        if attempt.is_over:
            del self._attempts[operation_id]
        if record.attempt == begun_before:
            return None
        return Step(
            operation=record.id,
            kind=record.kind,
            instance_id=record.instance_key,
            binding_id=record.binding_key,
            state=record.state.value,
            description=self._running.store.outcome_of(record).description,
        )

    def _find(self, operation_id: str) -> OperationRecord:
        found = self._running.store.find_operation(operation_id)
        assert found is not None, "what is in progress is never deleted"
        return found[0]

    def _told_waiting(self, operation: str | None) -> str:
        from .time_travel import waiting_operations

        what = "nothing is due" if operation is None else f"nothing of the operation {operation} is due"
        lines = [
            f"  {_named(record)}: in {wait:.0f} seconds"
            for record, wait in waiting_operations(self._running.store)
            if record.lease_until is None and wait > 0
        ]
        if not lines:
            return f"{what}, and nothing waits"
        return "\n".join([f"{what}; these wait, and advance(…) lets the time pass:", *lines])


class _Attempt(Thread):
    """An attempt of an operation, in a thread that waits for its turn at each `yield`."""

    def __init__(self, run: Callable[[str], None], operation_id: str) -> None:
        super().__init__(name="brokerkit-step", daemon=True)
        self._run = run
        self._operation_id = operation_id
        self._turn, self._stands = Semaphore(0), Semaphore(0)
        self._to_its_end = False
        self._is_late = False
        self.is_over = False

    def run(self) -> None:
        """Run the attempt."""
        self._turn.acquire()
        try:
            self._run(self._operation_id)
        finally:
            self.is_over = True
            self._stands.release()

    def pause(self) -> None:
        """Wait for the next turn; in its own thread."""
        if not self._to_its_end:
            self._stands.release()
            self._turn.acquire()

    def go_on(self, timeout: float, *, to_its_end: bool) -> bool:
        """Have it go on, and wait until it stands again. False if it does not, in that time."""
        self._to_its_end = to_its_end
        if not self._is_late:
            self._turn.release()
        self._is_late = not self._stands.acquire(timeout=timeout)
        return not self._is_late

    def let_go(self) -> None:
        """Have it go on, and pause no more."""
        self._to_its_end = True
        self._turn.release()

    @property
    def place(self) -> str:
        """Where it is: the last lines of its stack."""
        frame = sys._current_frames().get(self.ident or 0)
        return "".join(traceback.format_stack(frame)[-3:]).rstrip() if frame else "  (at its end)"


@contextmanager
def step_by_step(broker: Broker, *, timeout: float = 10.0) -> Iterator[StepByStep]:
    """Have the background work of a broker done step by step, whatever its executor is.

    So::

        with step_by_step(broker) as work:
            assert work.step().description == "Making a volume"
            work.run_pending()

    What is in progress before is stopped at its next `yield`, and goes on step by step. At the end it is
    stopped too, and the broker has the executor that it had.

    Args:
        broker: A broker with a store.
        timeout: How many seconds a handler may take from one `yield` to the next.

    Raises:
        TypeError: It is no broker.
        ValueError: It has no store.
    """
    if not isinstance(broker, Broker):
        raise TypeError(f"step_by_step takes the Broker, not a {type(broker).__name__}")
    running = broker._runtime
    if running is None:
        raise ValueError("step_by_step: the broker has no store, so it does nothing in the background")
    work = StepByStep(running, timeout)
    before = running.replace_executor(work, _at_yield)
    try:
        yield work
    finally:
        running.replace_executor(*before)


def is_step_by_step(broker: Broker) -> bool:
    """Is the background work of a broker done only when a :class:`StepByStep` is told to?"""
    return broker._runtime is not None and isinstance(broker._runtime.executor, StepByStep)


def _at_yield() -> None:
    cast(_Attempt, current_thread()).pause()


def _named(record: OperationRecord) -> str:
    of = record.instance_key if record.binding_key is None else f"{record.instance_key}/{record.binding_key}"
    return f"the {record.kind} of {of!r}"
