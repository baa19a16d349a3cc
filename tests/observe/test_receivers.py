"""Signal receivers cannot change responses, for any signal, over real HTTP."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from blinker import NamedSignal

from brokerkit import Accepted, Broker, LastOperation, Provisioned, Retry, signals
from brokerkit.testing import serve

from ..support.broker import BINDING, DELETE_QUERY, IDS, INSTANCE, PROVISION, Recorder, make_app, make_broker
from ..support.stateful import until
from .conftest import Answered, ask

pytestmark = pytest.mark.integration

SIGNALS = {name: signal for name, signal in vars(signals).items() if isinstance(signal, NamedSignal)}
LATER = "/v2/service_instances/later"


def work(request: Any) -> Generator[str, None, Provisioned]:
    yield "Making it"
    if request.attempt == 1:
        raise Retry(after=0.01)
    return Provisioned()


def give_up(request: Any) -> Accepted | None:
    return Accepted() if request.plan.name == "small" else None


def make(store: Path) -> Broker:
    recorder = Recorder()
    recorder.answers["deprovision"] = give_up
    recorder.answers["last_operation"] = LastOperation.failed("No way")
    broker = make_broker(recorder, store=f"sqlite:///{store}")
    broker.provision(plan="large", background=True)(work)
    return broker


@pytest.fixture
def broker(tmp_path: Path) -> Broker:
    return make(tmp_path / "broker.db")


def journey(broker: Broker) -> list[Answered]:
    """Send requests for every signal; return the responses, with the last polls only and without ids."""
    answers: list[Answered] = []
    with serve(make_app(broker)) as url:

        def send(method: str, path: str, body: object = None, **headers: str) -> Answered:
            answered = ask(url, method, path, body, **headers)
            if "operation" in answered.body:
                answered = Answered(answered.status, {**answered.body, "operation": "…"})
            answers.append(answered)
            return answered

        def through() -> Answered | None:
            answered = ask(url, "GET", f"{LATER}/last_operation")
            return None if answered.body.get("state") == "in progress" else answered

        send("GET", "/v2/catalog", Authorization="Basic no")
        send("GET", "/v2/catalog")
        send("PUT", INSTANCE, PROVISION)
        send("PATCH", INSTANCE, {**IDS, "parameters": {"size": 3}})
        send("PUT", BINDING, IDS)
        send("DELETE", f"{BINDING}?{DELETE_QUERY}")
        send("PUT", f"{LATER}?accepts_incomplete=true", {**PROVISION, "plan_id": "large-id"})
        answers.append(until(through))
        send("DELETE", f"{LATER}?{DELETE_QUERY.replace('small', 'large')}")
        send("DELETE", f"{INSTANCE}?{DELETE_QUERY}&accepts_incomplete=true")
        send("GET", f"{INSTANCE}/last_operation")
    broker.close()
    return answers


@contextmanager
def receiving(receiver: Callable[[str], None], sender: Broker) -> Iterator[set[str]]:
    """Call a receiver for the first of each signal; yield the names of the received signals."""
    heard: set[str] = set()
    receivers = []
    for name, signal in SIGNALS.items():

        def receive(broker: object, name: str = name, **facts: object) -> None:
            first = name not in heard
            heard.add(name)
            if first:
                receiver(name)

        receivers.append((signal, receive))
        signal.connect(receive, sender=sender)
    try:
        yield heard
    finally:
        for signal, receive in receivers:
            signal.disconnect(receive, sender=sender)


@pytest.fixture
def undisturbed(tmp_path: Path) -> list[Answered]:
    """Return the responses without receivers."""
    answers = journey(make(tmp_path / "undisturbed.db"))
    assert [answer.status for answer in answers] == [401, 200, 201, 200, 201, 200, 202, 200, 200, 202, 200]
    return answers


def fail(name: str) -> None:
    raise LookupError("inside")


def block(name: str) -> None:
    if name in ("provisioned", "attempt_finished", "request_finished"):
        time.sleep(1)  # a slow receiver


def leave(name: str) -> None:
    class Gone(BaseException): ...

    raise Gone


@pytest.mark.parametrize("receiver", [fail, block, leave])
def test_signal_receivers_cannot_change_responses(
    broker: Broker, undisturbed: list[Answered], receiver: Callable[[str], None]
) -> None:
    with receiving(receiver, broker) as heard:
        assert journey(broker) == undisturbed
    assert heard == SIGNALS.keys()


def test_collected_receiver_does_not_change_responses(broker: Broker, undisturbed: list[Answered]) -> None:
    """Receivers without a strong reference are collected and receive no signals."""
    heard: list[str] = []

    def forget() -> None:
        """Connect receivers without a strong reference."""
        for name, signal in SIGNALS.items():
            signal.connect(lambda sender, name=name, **facts: heard.append(name), sender=broker)

    forget()
    gc.collect()
    assert journey(broker) == undisturbed
    assert not heard
