"""Random faults of a deployment, one after the other."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from threading import Event

from .deployment import Deployment

PAUSE = 1.5
"""The mean number of seconds between two faults."""


class FaultInjector:
    """Kills and restarts the parts of a deployment until it is stopped.

    Args:
        deployment: The deployment.
        seed: The seed of the random order of faults.
    """

    def __init__(self, deployment: Deployment, seed: int) -> None:
        self._deployment = deployment
        self._chance = random.Random(seed)
        self._faults: list[Callable[[], None]] = [
            *(self.web_worker_killed,) * 4,
            *(self.web_server_killed,) * 2,
            *(self.celery_child_killed,) * 3,
            *(self.celery_worker_killed,) * 2,
            self.celery_worker_replaced,
            self.redis_restarted,
            self.postgresql_restarted,
        ]
        self.stopped, self.settled = Event(), Event()
        self.injected: Counter[str] = Counter()
        """How often each fault was injected."""

    def run(self) -> None:
        """Inject faults until `stopped` is set, and restart ended processes until `settled` is set."""
        try:
            self._inject()
        finally:
            self._supervise()

    def _inject(self) -> None:
        while True:
            self._chance.shuffle(self._faults)
            for fault in self._faults:
                if self.stopped.wait(self._chance.uniform(0.5, 1.5) * PAUSE):
                    return
                self._count("restarted by the supervisor", self._deployment.restart_ended())
                fault()
                self._count(fault.__name__.replace("_", " "), 1)

    def _supervise(self) -> None:
        while not self.settled.wait(PAUSE):
            self._count("restarted by the supervisor", self._deployment.restart_ended())

    def _count(self, fault: str, times: int) -> None:
        if times:
            self.injected[fault] += times

    def web_worker_killed(self) -> None:
        """Kill a web worker. gunicorn starts another one."""
        self._deployment.kill_child(self._chance.choice(self._deployment.webs), self._chance)

    def web_server_killed(self) -> None:
        """Kill a web server with its workers, and replace it after a while."""
        web = self._chance.choice(self._deployment.webs)
        self._deployment.kill(web)
        self._wait(1.0)
        web.start()

    def celery_child_killed(self) -> None:
        """Kill a child of a Celery worker. Celery starts another one."""
        self._deployment.kill_child(self._chance.choice(self._deployment.workers[:2]), self._chance)

    def celery_worker_killed(self) -> None:
        """Kill a Celery worker with its children, and replace it."""
        worker = self._chance.choice(self._deployment.workers)
        self._deployment.kill(worker)
        worker.start()

    def celery_worker_replaced(self) -> None:
        """Shut down a Celery worker, as for a new version, and replace it."""
        worker = self._chance.choice(self._deployment.workers)
        worker.terminate()
        self._deployment.kill(worker)
        worker.start()

    def redis_restarted(self) -> None:
        """Kill Redis, and start it again after a while."""
        self._deployment.queue.kill()
        self._wait(2.0)
        self._deployment.queue.start()

    def postgresql_restarted(self) -> None:
        """Crash PostgreSQL, with the store and all databases, and start it again after a while."""
        self._deployment.cluster.server.stop("immediate")
        self._wait(1.0)
        self._deployment.cluster.server.start()

    def _wait(self, seconds: float) -> None:
        self.stopped.wait(self._chance.uniform(0.2, 1.0) * seconds)
