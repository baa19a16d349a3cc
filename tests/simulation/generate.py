"""Random schedules, and directed ones that favour the moments at which faults are likely."""

from __future__ import annotations

from random import Random

from .actors import Actor
from .faults import is_possible
from .processes import DEADLINE, LEASE
from .schedule import CHANGES, At, Request, Schedule

_SECONDS = (0.5, 0.5, 1.0, 5.0, 12.0, 25.0, 35.0, 55.0, 70.0, 90.0, 150.0)
_DELAYS = (0.0, 0.0, 0.0, 0.2, 1.0, 5.0, 9.0, 12.0, 21.0, 31.0, 45.0, 61.0, 100.0)
_STALLS = (2.0, 6.0, 12.0, 31.0, 70.0)
_OUTAGES = (0.5, 2.0, 9.0, 12.5, 16.0, 20.0, 25.0, 40.0)
_CLOCK_STEPS = (-3600.0, -40.0, -15.0, 12.0, 21.0, 31.0, 65.0, 3600.0)
_PAUSES = (1.0, 5.0, 12.0, 15.0, 45.0)
_DOWNTIMES = (1.0, 5.0, 40.0)
_RETRIES = (0.5, 10.0, 40.0)
_BACKGROUNDS = (
    (),
    CHANGES,
    ("bind", "unbind"),
    ("provision", "update", "deprovision"),
    ("provision", "bind"),
    ("deprovision", "unbind"),
)

_WINDOWS: tuple[tuple[tuple[str, float, float], ...], ...] = (
    # A creation or change is cancelled while its handler runs, and a request for the instance follows.
    (("bind", 2.0, 35.0), ("unbind", 6.0, 1.0), ("deprovision", 9.0, 5.0)),
    (("bind", 2.0, 35.0), ("unbind", 6.0, 1.0), ("update", 9.0, 5.0)),
    (("provision", 0.0, 35.0), ("deprovision", 4.0, 1.0), ("provision", 8.0, 5.0)),
    # A handler takes longer than its deadline and than that of the deletion that waits for it.
    (("provision", 0.0, 150.0), ("deprovision", 5.0, 1.0), ("deprovision", 75.0, 1.0)),
    (("bind", 2.0, 150.0), ("unbind", 8.0, 1.0), ("unbind", 80.0, 1.0)),
    (("update", 2.0, 90.0), ("bind", 66.0, 1.0), ("deprovision", 70.0, 1.0)),
    (("bind", 2.0, 90.0), ("update", 66.0, 1.0), ("deprovision", 70.0, 1.0)),
    # An operator retries an operation whose attempt may still run, or purges the store.
    (("provision", 0.0, 70.0), ("retry", 66.0, 1.0), ("deprovision", 75.0, 1.0)),
    (("bind", 2.0, 70.0), ("retry", 75.0, 1.0), ("unbind", 78.0, 1.0)),
    (("bind", 2.0, 90.0), ("retry", 95.0, 1.0), ("update", 97.0, 1.0)),
    (("update", 2.0, 70.0), ("retry", 75.0, 1.0), ("bind", 76.0, 1.0)),
    (("bind", 2.0, 150.0), ("unbind", 8.0, 1.0), ("purge", 110.0, 1.0)),
    # A binding is made again while a request for its predecessor is on its way.
    (("bind", 2.0, 0.5), ("unbind", 5.0, 0.5), ("unbind", 5.1, 0.5), ("bind", 8.0, 0.5)),
    (("bind", 2.0, 0.5), ("unbind", 5.0, 0.5), ("bind", 7.0, 0.5), ("unbind", 9.0, 0.5)),
)
"""Sequences of requests that lead into the moments at which faults are likely: kind, start and duration."""

_BACKLOG = 520
"""More operations than a scheduler reads in one look."""

_FAULTS = (
    ("delay", 60),
    ("fail", 10),
    ("lose", 14),
    ("kill", 7),
    ("pause", 4),
    ("drain", 3),
    ("outage", 7),
    ("clock", 5),
    ("error", 10),
    ("refuse", 3),
    ("Retry", 12),
)
_ACTIONS = [action for action, _ in _FAULTS]
_WEIGHTS = [weight for _, weight in _FAULTS]


class RandomChoices:
    """Chooses deviations while a schedule runs.

    Args:
        seed: The seed.
        is_directed: Whether requests and deviations are placed into the moments at which faults are likely.
            These are right after claims, during handlers, and around deadlines and the ends of leases.
            Defaults to False.
    """

    def __init__(self, seed: int, *, is_directed: bool = False) -> None:
        self._random = Random(seed)
        self._is_directed = is_directed
        self._budget = self._random.choice((0, 1, 1, 2, 2, 3, 4, 6))
        self._stalled = (
            f"r{self._random.randint(2, 4)}" if is_directed and self._random.random() < 0.3 else ""
        )
        self._only = self._random.choice(("delay", None, None))

    def schedule(self) -> Schedule:
        """Choose requests."""
        rng = self._random
        background = rng.choice(_BACKGROUNDS)
        if self._is_directed and rng.random() < 0.5:
            return Schedule(tuple(self._window(background)), (), background)
        requests: list[Request] = []
        if rng.random() < 0.85:
            seconds = rng.choice(_SECONDS) if rng.random() < 0.3 else 0.5
            requests.append(self._request("provision", 0.0, seconds, background, number=1))
        ready = requests[0].seconds + 1 if requests and rng.random() < 0.8 else 0.0
        start = ready
        for number in range(len(requests) + 1, len(requests) + rng.randint(2, 5)):
            kind = rng.choice(
                ("update", "deprovision", "bind", "bind", "bind", "unbind", "unbind", "provision")
            )
            if rng.random() < 0.08:
                kind = rng.choice(("retry", "purge"))
            request = self._request(kind, start, rng.choice(_SECONDS), background, number=number)
            requests.append(request)
            start = self._next_start(requests, ready)
        processes = rng.choice((2, 2, 2, 3))
        backlog = _BACKLOG if rng.random() < 0.002 else 0
        return Schedule(tuple(requests), (), background, processes, backlog)

    def _window(self, background: tuple[str, ...]) -> list[Request]:
        """Choose a sequence of requests, and shift their starts a little."""
        rng = self._random
        window = rng.choice(_WINDOWS)
        requests = []
        if window[0][0] != "provision":
            requests.append(self._request("provision", 0.0, 0.5, background, number=1, binding="a"))
        for kind, start, seconds in window:
            at = start + rng.choice((0.0, 0.0, 0.1, 1.0, rng.uniform(0, 12)))
            number = len(requests) + 1
            requests.append(self._request(kind, at, seconds, background, number=number, binding="a"))
        return requests

    def _request(
        self,
        kind: str,
        at: float,
        seconds: float,
        background: tuple[str, ...],
        *,
        number: int,
        binding: str | None = None,
    ) -> Request:
        rng = self._random
        return Request(
            f"r{number}",
            kind,
            round(at, 3),
            rng.randrange(2),
            binding=binding or rng.choice(("a", "a", "a", "b")),
            seconds=seconds,
            long=rng.random() < 0.3,
            polls=kind in background or rng.random() < 0.7,
            size=rng.choice((1, 1, 2)),
        )

    def _next_start(self, requests: list[Request], ready: float) -> float:
        """Choose a start time in relation to an earlier request."""
        rng = self._random
        if not self._is_directed:
            return ready + rng.choice((0.0, 0.1, 1.0, rng.uniform(0, 30), rng.uniform(0, 150)))
        other = rng.choice(requests)
        return other.at + rng.choice(
            (
                0.0,
                other.seconds / 2,
                max(0.0, other.seconds - 0.2),
                other.seconds,
                other.seconds + 0.2,
                DEADLINE - 1.0,
                DEADLINE + 0.5,
                DEADLINE + 6.0,
                LEASE * 2 / 3 + 0.5,
                LEASE + 1.0,
                rng.uniform(0, 100),
            )
        )

    def decide(self, actor: Actor, kind: str) -> At | None:
        """Choose a deviation at a point, or None."""
        rng = self._random
        if actor.name == self._stalled and kind == "write":
            # A request that stalls before its claim continues with an old snapshot.
            self._stalled = ""
            return At(actor.name, actor.points, "delay", rng.choice(_STALLS))
        if self._budget <= 0 or rng.random() >= self._probability(actor, kind):
            return None
        action = self._only or rng.choices(_ACTIONS, _WEIGHTS)[0]
        deviation = At(actor.name, actor.points, action, self._seconds(action, actor, kind))
        if not is_possible(actor, kind, deviation):
            return None
        self._budget -= 1
        return deviation

    def _probability(self, actor: Actor, kind: str) -> float:
        if actor.request is None:
            return 0.01
        if not self._is_directed:
            return 0.08
        return {"committed": 0.2, "step": 0.2, "changed": 0.2, "write": 0.15}.get(kind, 0.06)

    def _seconds(self, action: str, actor: Actor, kind: str) -> float:
        rng = self._random
        choices = {
            "delay": _DELAYS,
            "kill": _DOWNTIMES,
            "drain": _DOWNTIMES,
            "pause": _PAUSES,
            "outage": _OUTAGES,
            "clock": _CLOCK_STEPS,
            "Retry": _RETRIES,
        }.get(action, (0.0,))
        if action == "delay" and (kind == "committed" or "/heartbeat" in actor.name):
            choices = (0.0,) if actor.request is None else (0.0, 0.0, 0.2, 1.0, 5.0)
        return rng.choice(choices)
