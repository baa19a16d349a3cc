"""`CeleryExecutor`: background operations on Celery's workers.

A message has the id of an operation and nothing else. The operation's row in the store is the truth, so a
message may be lost, come twice or come late.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from threading import Thread
from typing import Any
from weakref import WeakKeyDictionary

try:
    from celery import Celery, signals
    from celery.exceptions import Reject
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        f"CeleryExecutor needs {missing.name}: pip install 'celery[redis]'", name=missing.name
    ) from None

from .background.queue_executor import QueueExecutor, WorkerHost

_VISIBILITY_TIMEOUT = 3600.0
"""In seconds: after so long, kombu has Redis deliver again what no worker has acknowledged."""

_LONGEST_DELAY = 900.0
"""In seconds. A worker holds what is delayed unacknowledged; RabbitMQ lets it do that for half an hour."""

_RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
"""Once more, on a new connection: one that was idle may have died unnoticed."""

_NAMES: WeakKeyDictionary[Celery, set[str]] = WeakKeyDictionary()


class CeleryExecutor(QueueExecutor):
    """Runs background operations on Celery's workers, any number of them, by Redis or RabbitMQ.

    So::

        celery_app = Celery("databases", broker="redis://localhost")
        broker = Broker(catalog, auth=auth, store=…, executor=CeleryExecutor(celery_app))

    A worker is started with the module that attaches the broker to its Flask app: ``celery -A
    databases:celery_app worker``. It needs no requests; processes that serve requests run no background work.

    Args:
        celery_app: The Celery app. `task_routes` and the like see the task by its name.
        name: Of the broker, in the task's name, ``"brokerkit.run"`` unless told. Brokers that share a queue
            need different ones.
        queue: Where the messages go, if not where Celery sends them by itself.
        priority: Of the messages, as Celery has it.

    Raises:
        TypeError: `celery_app` is no Celery app.
        ValueError: It has an executor of this name already.
        ModuleNotFoundError: celery is not installed.
    """

    def __init__(
        self,
        celery_app: Celery,
        *,
        name: str = "brokerkit",
        queue: str | None = None,
        priority: int | None = None,
    ) -> None:
        if not isinstance(celery_app, Celery):
            raise TypeError(
                f"CeleryExecutor: celery_app is of the type {type(celery_app).__name__}; give a Celery app,"
                ' such as Celery("databases", broker="redis://localhost")'
            )
        names = _NAMES.setdefault(celery_app, set())
        if name in names:
            raise ValueError(
                f"CeleryExecutor(name={name!r}): the Celery app has one of this name; give each broker's"
                " another name"
            )
        names.add(name)
        options = {"queue": queue, "priority": priority}
        self._celery_app = celery_app
        self._options: Any = {option: value for option, value in options.items() if value is not None}

        @celery_app.task(
            name=f"{name}.run",
            shared=False,
            acks_late=True,
            reject_on_worker_lost=True,
            ignore_result=True,
        )
        def run(operation_id: str) -> None:
            """Run an attempt of a background operation."""
            if self.host.is_stopping:
                raise Reject("this worker is about to end", requeue=True)
            self.work(operation_id)

        self._task = run

    def __repr__(self) -> str:
        return f"CeleryExecutor({self._task.name!r})"

    def attach(self, place: WorkerHost) -> None:
        """As `QueueExecutor.attach`. Processes of workers begin and end with what the broker needs there."""
        super().attach(place)
        self._worker = _WorkerProcess(self._celery_app, place)

    @property
    def longest_delay(self) -> float:
        """As `QueueExecutor.longest_delay`: well within the time after which a message is delivered again."""
        if self._celery_app.conf.task_always_eager:  # which waits for nothing
            return 0.0
        told = (self._celery_app.conf.broker_transport_options or {}).get("visibility_timeout")
        return min(float(told or _VISIBILITY_TIMEOUT) / 4, _LONGEST_DELAY)

    def publish(self, operation_id: str, delay: float) -> None:
        """As `QueueExecutor.publish`."""
        options = {**self._options, "countdown": delay} if delay > 0 else self._options
        self._task.apply_async((operation_id,), retry=True, retry_policy=_RETRY_POLICY, **options)


class _WorkerProcess:
    """Begins and ends with each process of a Celery worker what a broker needs there.

    The process that was started by hand knows first that it is to end. It tells its children by closing a
    connection that they have inherited, which also tells them when it was killed.

    Args:
        celery_app: The app whose workers it is about.
        place: What runs in a process for the broker.
    """

    def __init__(self, celery_app: Celery, place: WorkerHost) -> None:
        self._celery_app = celery_app
        self._place = place
        self._main_pid: int | None = None
        self._started_pid: int | None = None
        signals.worker_init.connect(self._prepare)
        signals.worker_process_init.connect(self._start)
        signals.worker_ready.connect(self._start_without_children)
        signals.worker_shutting_down.connect(self._tell)
        signals.worker_process_shutdown.connect(self._stop)
        signals.worker_shutdown.connect(self._stop)

    def _prepare(self, sender: Any, **_: object) -> None:
        """A worker begins; it has no children yet."""
        if sender.app is self._celery_app:
            self._main_pid = os.getpid()
            self._ours, self._childrens = socket.socketpair()

    def _start(self, **_: object) -> None:
        """In a child; or in the only process, if it runs the tasks itself."""
        if self._main_pid is None or self._started_pid == os.getpid() or not self._place.is_attached:
            return
        self._started_pid = os.getpid()
        if self._started_pid != self._main_pid:
            self._ours.close()
        Thread(target=self._watch, name="brokerkit-watch", daemon=True).start()
        self._place.ensure_started()

    def _start_without_children(self, sender: Any, **_: object) -> None:
        from celery.concurrency import prefork

        if not isinstance(sender.pool, prefork.TaskPool):
            self._start()

    def _watch(self) -> None:
        self._childrens.recv(1)
        self._place.drain()

    def _tell(self, **_: object) -> None:
        """It is about to end. This runs in a handler of the system's signal, where little is allowed."""
        if self._main_pid == os.getpid():
            with suppress(OSError):  # it was told before
                self._ours.shutdown(socket.SHUT_RDWR)

    def _stop(self, **_: object) -> None:
        if self._started_pid == os.getpid():
            self._started_pid = None
            self._tell()  # so that nobody watches any more
            self._place.stop()
