"""`CeleryExecutor`, an executor that runs background operations on Celery workers.

A message contains only the id of an operation. The operation's row in the store is the source of truth, so
lost, duplicate and late messages are harmless.
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
        f"CeleryExecutor needs {missing.name}: pip install 'osb-brokerkit[celery]'", name=missing.name
    ) from None

from .background.queue_executor import QueueExecutor, WorkerHost

_VISIBILITY_TIMEOUT = 3600.0
"""Kombu's default for the seconds until an unacknowledged message is redelivered from Redis."""

_LONGEST_DELAY = 900.0
"""The maximum delay in seconds. Workers do not acknowledge delayed messages; RabbitMQ allows 30 minutes."""

_RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
"""One retry with a new connection, because the message broker may have closed an idle connection."""

_NAMES: WeakKeyDictionary[Celery, set[str]] = WeakKeyDictionary()


class CeleryExecutor(QueueExecutor):
    """Runs background operations on any number of Celery workers, with Redis or RabbitMQ as the broker.

    Example::

        celery_app = Celery("databases", broker="redis://localhost")
        broker = Broker(catalog, auth=auth, store=…, executor=CeleryExecutor(celery_app))

    Start workers with the module that attaches the broker to its Flask app: ``celery -A databases:celery_app
    worker``. Processes that serve requests run no background handlers.

    Args:
        celery_app: The Celery app. Settings such as `task_routes` apply to the task.
        name: The name of the broker. The task is called ``f"{name}.run"``. Brokers that share a queue need
            different names. Defaults to ``"brokerkit"``.
        queue: The queue of the messages. Defaults to Celery's routing.
        priority: The priority of the messages. Defaults to Celery's.

    Raises:
        TypeError: `celery_app` is not a Celery app.
        ValueError: The Celery app has an executor with this name already.
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
                f"CeleryExecutor(name={name!r}): the Celery app has an executor with this name already; give"
                " each broker's executor a different name"
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
                raise Reject("this worker is shutting down", requeue=True)
            self.work(operation_id)

        self._task = run

    def __repr__(self) -> str:
        return f"CeleryExecutor({self._task.name!r})"

    def attach(self, host: WorkerHost) -> None:
        """Implement `QueueExecutor.attach`. The runtime starts and stops with each worker process."""
        super().attach(host)
        self._worker = _WorkerProcess(self._celery_app, host)

    @property
    def longest_delay(self) -> float:
        """The maximum delay in seconds, a quarter of the time until a message is redelivered."""
        if self._celery_app.conf.task_always_eager:  # eager tasks ignore delays
            return 0.0
        timeout = (self._celery_app.conf.broker_transport_options or {}).get("visibility_timeout")
        return min(float(timeout or _VISIBILITY_TIMEOUT) / 4, _LONGEST_DELAY)

    def publish(self, operation_id: str, delay: float) -> None:
        """Implement `QueueExecutor.publish`."""
        options = {**self._options, "countdown": delay} if delay > 0 else self._options
        self._task.apply_async((operation_id,), retry=True, retry_policy=_RETRY_POLICY, **options)


class _WorkerProcess:
    """The start and stop of a broker's runtime in each process of a Celery worker.

    The main process is the first to know of a shutdown. It notifies its children by closing a socket that
    they have inherited. The socket also closes when the main process is killed.

    Args:
        celery_app: The Celery app.
        host: The runtime of the broker.
    """

    def __init__(self, celery_app: Celery, host: WorkerHost) -> None:
        self._celery_app = celery_app
        self._host = host
        self._main_pid: int | None = None
        self._started_pid: int | None = None
        signals.worker_init.connect(self._prepare)
        signals.worker_process_init.connect(self._start)
        signals.worker_ready.connect(self._start_without_children)
        signals.worker_shutting_down.connect(self._notify_children)
        signals.worker_process_shutdown.connect(self._stop)
        signals.worker_shutdown.connect(self._stop)

    def _prepare(self, sender: Any, **_: object) -> None:
        """Create the socket pair in the main process, before it has children."""
        if sender.app is self._celery_app:
            self._main_pid = os.getpid()
            self._main_socket, self._child_socket = socket.socketpair()

    def _start(self, **_: object) -> None:
        """Start the runtime in a child process, or in the main process of a worker without children."""
        if self._main_pid is None or self._started_pid == os.getpid() or not self._host.is_attached:
            return
        self._started_pid = os.getpid()
        if self._started_pid != self._main_pid:
            self._main_socket.close()
        Thread(target=self._watch, name="brokerkit-watch", daemon=True).start()
        self._host.ensure_started()

    def _start_without_children(self, sender: Any, **_: object) -> None:
        from celery.concurrency import prefork

        if not isinstance(sender.pool, prefork.TaskPool):
            self._start()

    def _watch(self) -> None:
        self._child_socket.recv(1)
        self._host.drain()

    def _notify_children(self, **_: object) -> None:
        """Notify the children of the shutdown. A signal handler calls this, so it must not block or log."""
        if self._main_pid == os.getpid():
            with suppress(OSError):  # the children have been notified already
                self._main_socket.shutdown(socket.SHUT_RDWR)

    def _stop(self, **_: object) -> None:
        if self._started_pid == os.getpid():
            self._started_pid = None
            self._notify_children()  # ends the watching thread
            self._host.stop()
