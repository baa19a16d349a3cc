"""What befalls a site, one thing after the other."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from threading import Event

from .deployment import Site

PAUSE = 1.5
"""How many seconds there are, about, between two things that happen."""


class Havoc:
    """Kills and restarts, until it is stopped.

    Args:
        site: Where.
        seed: Decides what happens when.
    """

    def __init__(self, site: Site, seed: int) -> None:
        self._site = site
        self._chance = random.Random(seed)
        self._deeds: list[Callable[[], None]] = [
            *(self.web_worker_killed,) * 4,
            *(self.web_server_killed,) * 2,
            *(self.celery_child_killed,) * 3,
            *(self.celery_worker_killed,) * 2,
            self.celery_worker_replaced,
            self.redis_restarted,
            self.postgresql_restarted,
        ]
        self.stopped, self.settled = Event(), Event()
        self.done: Counter[str] = Counter()

    def wreak(self) -> None:
        """Each of them happens about as often as it is in the list; then nothing more does."""
        try:
            self._wreak()
        finally:
            self._clear_up()

    def _wreak(self) -> None:
        while True:
            self._chance.shuffle(self._deeds)
            for deed in self._deeds:
                if self.stopped.wait(self._chance.uniform(0.5, 1.5) * PAUSE):
                    return
                self._note("started again by its supervisor", self._site.tend())
                deed()
                self._note(deed.__name__.replace("_", " "), 1)

    def _clear_up(self) -> None:
        """Go on starting what ends, until all is settled."""
        while not self.settled.wait(PAUSE):
            self._note("started again by its supervisor", self._site.tend())

    def _note(self, what: str, times: int) -> None:
        if times:
            self.done[what] += times

    def web_worker_killed(self) -> None:
        """gunicorn makes another one."""
        self._site.kill_one(self._chance.choice(self._site.webs), self._chance)

    def web_server_killed(self) -> None:
        """A machine dies, and another one takes its place."""
        web = self._chance.choice(self._site.webs)
        self._site.kill(web)
        self._wait(1.0)
        web.start()

    def celery_child_killed(self) -> None:
        """Celery makes another one."""
        self._site.kill_one(self._chance.choice(self._site.workers[:2]), self._chance)

    def celery_worker_killed(self) -> None:
        """A machine dies, and another one takes its place."""
        worker = self._chance.choice(self._site.workers)
        self._site.kill(worker)
        worker.start()

    def celery_worker_replaced(self) -> None:
        """It is asked to end, as when a new version is rolled out."""
        worker = self._chance.choice(self._site.workers)
        worker.terminate()
        self._site.kill(worker)
        worker.start()

    def redis_restarted(self) -> None:
        """It crashes, and comes back after a while."""
        self._site.queue.kill()
        self._wait(2.0)
        self._site.queue.start()

    def postgresql_restarted(self) -> None:
        """It crashes, with the store and all databases, and comes back after a while."""
        self._site.cluster.server.stop("immediate")
        self._wait(1.0)
        self._site.cluster.server.start()

    def _wait(self, seconds: float) -> None:
        self.stopped.wait(self._chance.uniform(0.2, 1.0) * seconds)
