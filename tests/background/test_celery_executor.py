"""`CeleryExecutor` within one process: what it takes, what it refuses, and two brokers in one Celery app."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, current_thread
from typing import Any

import pytest
from celery import Celery, signals
from celery.contrib.testing.worker import start_worker

from brokerkit import Broker, ProvisionRequest, Retry
from brokerkit.background.queue_executor import QueueExecutor
from brokerkit.celery import CeleryExecutor
from brokerkit.testing.step_executor import step_by_step

from ..support.broker import INSTANCE, PROVISION, Recorder, make_app, make_broker, make_offering
from ..support.stateful import CAN_POLL, Platform, poll_until_done, stop


@pytest.fixture
def celery_app() -> Celery:
    """Return a Celery app with a queue in this process."""
    app: Celery = Celery("tests", broker="memory://", set_as_current=False)
    app.conf.update(broker_transport_options={"polling_interval": 0.01}, worker_hijack_root_logger=False)
    return app


MakeBroker = Callable[..., tuple[Broker, Platform]]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeBroker]:
    """Return a factory of brokers with a background handler and a store each, and their platforms."""
    brokers: list[Broker] = []

    def make(
        executor: Any, provision: Callable[[ProvisionRequest], Any] = lambda request: None
    ) -> tuple[Broker, Platform]:
        store = f"sqlite:///{tmp_path / f'{len(brokers)}.db'}?lease=1"
        broker = make_broker(Recorder(), make_offering(), store=store, executor=executor)
        broker.provision(plan="large", background=True)(provision)
        brokers.append(broker)
        return broker, Platform(make_app(broker))

    yield make
    for broker in brokers:
        stop(broker)


@contextmanager
def working(celery_app: Celery) -> Iterator[None]:
    """Run a worker in this process."""
    root = logging.getLogger()
    level = root.level
    try:
        with start_worker(celery_app, pool="solo", perform_ping_check=False):
            yield
    finally:
        root.setLevel(level)  # Celery raises it, and later tests would miss log records
    # As a worker does that a signal ends; what watches for that would be left otherwise.
    signals.worker_shutting_down.send(sender=celery_app)


def order(platform: Platform, instance: str = INSTANCE) -> None:
    answer = platform.put(instance, {**PROVISION, "plan_id": "large-id"}, query=CAN_POLL)
    assert answer.status_code == 202, answer.json


def test_two_brokers_share_one_celery_app(celery_app: Celery, make: MakeBroker) -> None:
    """With different names each broker gets only its own operations."""
    calls: list[str] = []
    _, one = make(CeleryExecutor(celery_app), lambda request: calls.append("one"))
    _, other = make(CeleryExecutor(celery_app, name="other"), lambda request: calls.append("other"))
    with working(celery_app):
        for platform in (one, other):
            order(platform)
            assert poll_until_done(platform, INSTANCE)["state"] == "succeeded"
    assert calls == ["one", "other"]


def test_celery_executor_name_must_be_unique(celery_app: Celery) -> None:
    CeleryExecutor(celery_app, name="caches")
    with pytest.raises(ValueError, match=r"CeleryExecutor\(name='caches'\).*a different name"):
        CeleryExecutor(celery_app, name="caches")


def test_celery_executor_belongs_to_one_broker(celery_app: Celery, make: MakeBroker) -> None:
    executor = CeleryExecutor(celery_app)
    make(executor)
    with pytest.raises(ValueError, match="another broker already; create one for each broker"):
        make(executor)


def test_celery_executor_requires_celery_app() -> None:
    with pytest.raises(TypeError, match=r"of the type str; give a Celery app, such as Celery\("):
        CeleryExecutor("redis://localhost")  # type: ignore[arg-type]


@pytest.mark.integration
def test_celery_executor_import_names_missing_package() -> None:
    program = "import sys; sys.modules['celery'] = None\nfrom brokerkit.celery import CeleryExecutor"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert last == "ModuleNotFoundError: CeleryExecutor needs celery: pip install 'osb-brokerkit[celery]'"


@pytest.mark.parametrize(
    ("options", "seconds"),
    [({}, 900.0), ({"visibility_timeout": 60}, 15.0), ({"visibility_timeout": 43_200}, 900.0)],
    ids=["default", "a minute", "half a day"],
)
def test_celery_delay_is_limited_by_visibility_timeout(
    celery_app: Celery, options: dict[str, Any], seconds: float
) -> None:
    """The limit is a quarter of the visibility timeout and at most 900 seconds, because RabbitMQ limits
    unacknowledged messages to 30 minutes.
    """
    celery_app.conf.broker_transport_options = options
    assert CeleryExecutor(celery_app).longest_delay == seconds


def test_eager_celery_runs_outside_request_thread(celery_app: Celery, make: MakeBroker) -> None:
    """With `task_always_eager` the handler runs in the publisher thread, retries included."""
    celery_app.conf.task_always_eager = True
    threads: list[str] = []

    def provision(request: ProvisionRequest) -> None:
        threads.append(current_thread().name)
        if request.attempt == 1:
            raise Retry(after=0.1)

    _, platform = make(CeleryExecutor(celery_app), provision)
    order(platform)
    assert poll_until_done(platform, INSTANCE)["state"] == "succeeded"
    assert threads == ["brokerkit-publisher"] * 2


def test_celery_executor_supports_step_by_step(celery_app: Celery, make: MakeBroker) -> None:
    broker, platform = make(CeleryExecutor(celery_app))
    with step_by_step(broker) as work:
        order(platform)
        assert [step.state for step in work.run_pending()] == ["succeeded"]


def test_celery_worker_without_flask_app_raises_error(celery_app: Celery, tmp_path: Path) -> None:
    executor = CeleryExecutor(celery_app)
    make_broker(Recorder(), store=f"sqlite:///{tmp_path / 'broker.db'}", executor=executor)
    with pytest.raises(RuntimeError, match="not attached to a Flask app in this worker; create the app in"):
        executor.work("any")


class Stuck(QueueExecutor):
    """A queue that blocks until it is released."""

    def __init__(self) -> None:
        self.called, self.released = Event(), Event()

    def publish(self, operation_id: str, delay: float) -> None:
        self.called.set()
        assert self.released.wait(30)
        self.work(operation_id)


def test_hanging_queue_does_not_block_requests(make: MakeBroker) -> None:
    """Requests return 202, and the operations run when the queue responds again."""
    executor = Stuck()
    _, platform = make(executor)
    for number in range(3):
        order(platform, f"{INSTANCE}{number}")
    assert executor.called.wait(30)
    executor.released.set()
    for number in range(3):
        assert poll_until_done(platform, f"{INSTANCE}{number}")["state"] == "succeeded"
