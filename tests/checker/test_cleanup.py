"""Tests of the cleanup: a check deletes every resource that it created, or reports it as left over."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

import pytest
from msgspec.structs import replace

from brokerkit.checker import runner as checking
from brokerkit.checker.cleanup import clean_up, leftovers
from brokerkit.checker.options import Options, Progress
from brokerkit.checker.report import Report
from brokerkit.checker.resource_tracker import Resource
from brokerkit.checker.runner import check
from brokerkit.checker.session import CheckSession
from brokerkit.client.platforms import cloudfoundry
from brokerkit.client.transport import Login, Transport
from brokerkit.testing.live_server import serve

from . import live_broker as served
from .brokerkit_brokers import WithoutStore
from .hostile_broker import Handler, Hostile, Play, serving
from .messages import BrokerRequest, BrokerResponse, Rejection
from .reference_broker import ReferenceBroker

pytestmark = pytest.mark.integration

LOGIN = {"username": "platform", "password": "s3cret"}
ENVIRONMENT = {"BROKER_USERNAME": "platform", "BROKER_PASSWORD": "s3cret", "NO_COLOR": "1"}


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the timeouts of the check."""
    monkeypatch.setattr(checking, "_CLEANUP_SECONDS", 1.0)
    monkeypatch.setattr(checking, "_ORPHAN_SECONDS", 0.5)


def checked(url: str, **options: object) -> Report:
    return check(url, Options(**{**LOGIN, "timeout": 5.0, "operation_timeout": 2.0, **options}))  # type: ignore[arg-type]


# Interrupted checks


class Running:
    """Run `brokerkit check` in another process."""

    def __init__(self, url: str, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "brokerkit", "check", url, "--json", "-", *options],
            env={**os.environ, **ENVIRONMENT},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ends(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


@contextmanager
def running(url: str, *options: str) -> Iterator[Running]:
    checker = Running(url, *options)
    try:
        yield checker
    finally:
        if checker.process.poll() is None:
            checker.process.kill()
            checker.process.communicate()


def until(fact: Callable[[], object]) -> None:
    ends = time.monotonic() + 20
    while not fact():
        assert time.monotonic() < ends, "the condition was not met in time"
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("name", "moment"), [("SIGINT", 1), ("SIGINT", 20), ("SIGINT", 90), ("SIGTERM", 40), ("SIGHUP", 60)]
)
def test_interrupted_check_deletes_its_resources(name: str, moment: int) -> None:
    """A signal at any point of the check still deletes every resource that the check created."""
    memory = WithoutStore(polls=2)
    requests: list[str] = []
    is_told = Event()

    def wait_for_the_signal() -> None:
        requests.append("a request")
        if len(requests) >= moment:  # With more jobs a short check would end before the signal.
            is_told.wait(20)

    memory.app.before_request(wait_for_the_signal)
    with serve(memory.app) as url, running(url) as checker:
        until(lambda: len(requests) >= moment)
        checker.process.send_signal(getattr(signal, name))
        is_told.set()
        code, out, err = checker.ends()
    assert memory.instances == {}, err
    assert json.loads(out)["problem"] == "interrupted"
    assert json.loads(out)["leftovers"] == []
    assert code == 2
    assert "Traceback" not in err


def test_second_interrupt_ends_cleanup_and_lists_leftovers() -> None:
    broker = Hostile()

    def play(handler: Handler) -> None:
        if handler.command == "DELETE" and "service_bindings" not in handler.path:
            broker.over.wait(20)
        else:
            broker.answer_well(handler)

    broker.play = play
    with serving(broker) as url, running(url, "--jobs", "1") as checker:
        until(lambda: any(request.startswith("DELETE") for request in broker.requests))
        checker.process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            checker.process.communicate(timeout=0.5)
        checker.process.send_signal(signal.SIGINT)
        code, out, err = checker.ends()
    assert "Traceback" not in err
    document = json.loads(out)
    assert document["leftovers"]
    assert "interrupted again" in document["problem"]
    assert code in (1, 2)


def test_failing_progress_callback_still_cleans_up() -> None:
    """An exception from the progress callback propagates after all created resources are deleted."""
    memory = WithoutStore()

    def tell(progress: Progress) -> None:
        if memory.instances and progress.total > 1:
            raise ZeroDivisionError

    with serve(memory.app) as url, pytest.raises(ZeroDivisionError):
        check(url, Options(**LOGIN), progress=tell)  # type: ignore[arg-type]
    assert memory.instances == {}


# Failing brokers


ROUTER = BrokerResponse(
    404, b"404 Not Found: Requested route does not exist.", {"Content-Type": "text/plain"}
)
GATEWAY = BrokerResponse(502, b"<html>", {"Content-Type": "text/html"})
EXPIRED = BrokerResponse(
    401, {"error": "Expired", "description": "It is over."}, {"WWW-Authenticate": "Basic"}
)
BUSY = BrokerResponse(429, {"error": "TooManyRequests"}, {"Retry-After": "0"})


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(
    ("replacement", "problem"),
    [
        (ROUTER, "no longer responds: GET /v2/catalog: 404"),
        (GATEWAY, "no longer responds: GET /v2/catalog: 502"),
        (EXPIRED, "no longer accepts the credentials: GET /v2/catalog: 401"),
        (BUSY, "no longer responds:"),
    ],
    ids=["router", "gateway", "expired credentials", "rate limit"],
)
def test_cleanup_ignores_responses_from_intermediaries(replacement: BrokerResponse, problem: str) -> None:
    """A response of a router, a gateway or an expired login neither fails a rule nor confirms a deletion."""
    broker = ReferenceBroker()
    count = iter(range(10**9))

    def before(request: BrokerRequest) -> None:
        if next(count) > 80:
            raise Rejection(503, "Away")

    def after(request: BrokerRequest, response: BrokerResponse) -> BrokerResponse | None:
        if response.word != "Away":
            return None
        return replace(replacement, headers={**response.headers, **replacement.headers})

    broker.before.append(before)
    broker.after.append(after)
    with served.serving(broker) as url:
        report = check(url, Options(**LOGIN, plans=["db"]))  # type: ignore[arg-type]
    assert [verdict.key for verdict in report.verdicts if verdict.failures] == []
    assert report.problem is not None
    assert problem in report.problem
    assert report.exit_code == 2
    left = {(leftover.instance_id, leftover.binding_id) for leftover in report.leftovers}
    assert broker.resources.keys() <= left
    assert left


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(
    ("body", "seconds"),
    [({"description": "There is none."}, 30.0), (b"Not found", 0.1)],
    ids=["JSON", "a page"],
)
def test_cleanup_trusts_404_only_in_json(session: CheckSession, body: object, seconds: float) -> None:
    """A 404 with a JSON body from the broker confirms a deletion. A 404 page does not."""
    broker: Hostile = session.broker  # type: ignore[attr-defined]
    broker.play = lambda handler: handler.answer(404, body)
    clean_up(session, seconds, at_most=seconds, sleep=lambda _: time.sleep(0.05))
    assert bool(list(session.tracker)) is isinstance(body, bytes)


def test_cleanup_distrusts_404_given_for_catalog_too(session: CheckSession) -> None:
    """A JSON 404 does not confirm a deletion if the catalog returns the same 404."""
    broker: Hostile = session.broker  # type: ignore[attr-defined]
    broker.play = broker.catalog = lambda handler: handler.answer(404, {"message": "no such route"})
    clean_up(session, 0.1, at_most=0.1, sleep=lambda _: time.sleep(0.05))
    assert list(session.tracker)


def test_cleanup_resumes_after_broker_restart() -> None:
    broker = Hostile()
    there: list[str] = []
    with serving(broker) as url:
        port = int(url.rpartition(":")[2])
        checker = _Check(url)
        until(lambda: broker.there)
    until(lambda: not checker.thread.is_alive() or checker.said("deleting"))
    there += broker.there
    again = Hostile()
    again.there = broker.there
    with serving(again, port):
        report = checker.ends()
    assert there
    assert again.there == set()
    assert report.leftovers == ()
    assert report.problem is not None
    assert "cannot be reached" in report.problem


class _Check:
    """Run a check in a thread."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.progress: list[str] = []
        self.reports: list[Report] = []
        self.thread = Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        options = Options(**LOGIN, timeout=5.0, jobs=1)  # type: ignore[arg-type]
        self.reports.append(
            check(self.url, options, progress=lambda progress: self.progress.append(progress.doing))
        )

    def said(self, word: str) -> bool:
        return any(word in description for description in self.progress)

    def ends(self) -> Report:
        self.thread.join(30)
        return self.reports[0]


@pytest.mark.usefixtures("hurried")
def test_unreachable_broker_leftovers_have_curl_commands() -> None:
    """Every resource left on an unreachable broker is listed with a curl command that deletes it."""
    broker = Hostile()
    with serving(broker) as url:
        port = int(url.rpartition(":")[2])
        checker = _Check(url)
        until(lambda: broker.there)
    report = checker.ends()
    left = {
        f"/v2/service_instances/{leftover.instance_id}"
        + (f"/service_bindings/{leftover.binding_id}" if leftover.binding_id else "")
        for leftover in report.leftovers
    }
    assert broker.there
    assert broker.there <= left
    assert all("cannot be reached" in leftover.why for leftover in report.leftovers)
    assert "s3cret" not in str(report)
    again = Hostile()
    again.there = set(broker.there)
    with serving(again, port):
        for leftover in report.leftovers:
            run_in_a_shell(leftover.curl)
    assert again.there == set()


def run_in_a_shell(command: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    subprocess.run(
        ["bash", "-c", command],
        env={**os.environ, **ENVIRONMENT},
        check=True,
        capture_output=True,
        timeout=20,
    )


def refusing(status: int, body: object, times: int) -> Hostile:
    """A broker that rejects the first deletion of each resource."""
    broker = Hostile()
    refused: dict[str, int] = {}

    def play(handler: Handler) -> None:
        exists = handler.command == "DELETE" and handler.path.partition("?")[0] in broker.there
        with broker.lock:
            count = refused[handler.path] = refused.get(handler.path, 0) + exists
        if exists and count <= times:
            handler.answer(status, body)
        else:
            broker.answer_well(handler)

    broker.play = play
    return broker


@pytest.mark.parametrize(
    ("status", "body"),
    [(422, {"error": "ConcurrencyError", "description": "wait"}), (500, {}), (503, b"<html>")],
)
def test_cleanup_retries_temporarily_refused_deletes(status: int, body: object) -> None:
    broker = refusing(status, body, times=2)
    with serving(broker) as url:
        report = checked(url, only=["R-PROV-3"])
    assert broker.there == set()
    assert report.leftovers == ()


class Late(Hostile):
    """A broker that creates nothing until the first DELETE request, like a busy broker."""

    def __init__(self) -> None:
        super().__init__()
        self._was_asked_to_delete, self._was_asked_again = Event(), Event()

    def take(self, handler: Handler) -> None:
        if handler.command == "PUT":
            self._was_asked_to_delete.wait(30)
            self._was_asked_again.wait(0.3)
        super().take(handler)
        if handler.command == "DELETE":
            (self._was_asked_again if self._was_asked_to_delete.is_set() else self._was_asked_to_delete).set()


def test_cleanup_deletes_resource_created_after_deletion() -> None:
    """A resource that appears after its deletion, from a late provision, is deleted again."""
    broker = Late()
    with serving(broker) as url:
        report = checked(url, only=["R-ERR-4.orphans"])
    assert any(request.startswith("PUT") for request in broker.requests)
    assert broker.there == set()
    assert report.leftovers == ()


@pytest.mark.usefixtures("hurried")
def test_undeletable_resource_is_listed_with_broker_error() -> None:
    broker = refusing(500, {"description": "no disk"}, times=10**6)
    with serving(broker) as url:
        report = checked(url, only=["R-CAT", "R-PROV-3.again"])
    assert len(report.leftovers) == len(broker.there) > 0
    assert all("no disk" in leftover.why for leftover in report.leftovers)
    assert report.exit_code != 0


@pytest.mark.usefixtures("hurried")
def test_refused_creation_is_not_a_leftover() -> None:
    """A rejected resource is not listed, even if its deletion fails too."""
    broker = Hostile(lambda handler: handler.answer(400 if handler.command == "PUT" else 500))
    with serving(broker) as url:
        report = checked(url, skip=["R-ERR-4.orphans"])  # The fate of an orphan is unknown.
    assert report.leftovers == ()


def test_cleanup_deletes_resource_created_despite_refusal() -> None:
    broker = Hostile()

    def play(handler: Handler) -> None:
        if handler.command == "PUT":
            handler.answer(400)
        else:
            broker.answer_well(handler)

    broker.play = play
    with serving(broker) as url:
        checked(url)
    assert broker.there == set()


def deleting(broker: Hostile, polls: int) -> Play:
    """A broker whose deletions take a number of polls."""
    left: dict[str, int] = {}

    def play(handler: Handler) -> None:
        path = handler.path.partition("?")[0].removesuffix("/last_operation")
        if handler.command == "DELETE" and path in broker.there:
            left.setdefault(path, polls)
            handler.answer(202, {"operation": "delete"})
        elif path in left:
            left[path] -= 1
            if not left[path]:
                broker.there.discard(path)
            handler.answer(200, {"state": "in progress" if left[path] else "succeeded"})
        else:
            broker.answer_well(handler)

    return play


@pytest.fixture
def session() -> Iterator[CheckSession]:
    """Build a session whose tracker has an instance with a binding."""
    broker = Hostile()
    with serving(broker) as url:
        session = CheckSession(Transport(url, Login(**LOGIN), timeout=5), cloudfoundry())
        for resource in (BINDING, INSTANCE):
            session.tracker.requested(resource, "s-id", "p-id")
        broker.there = {INSTANCE_PATH, f"{INSTANCE_PATH}/service_bindings/b1"}
        session.broker = broker  # type: ignore[attr-defined]
        yield session


INSTANCE, BINDING = Resource("i1"), Resource("i1", "b1")
INSTANCE_PATH = "/v2/service_instances/i1"


def test_cleanup_waits_for_asynchronous_deletions(session: CheckSession) -> None:
    """Cleanup polls a slow deletion to its end and deletes bindings before their instance."""
    broker: Hostile = session.broker  # type: ignore[attr-defined]
    broker.play = deleting(broker, polls=25)
    clean_up(session, 1.0, at_most=20, sleep=lambda _: time.sleep(0.05))
    assert broker.there == set()
    assert list(session.tracker) == []
    first = broker.requests.index(f"DELETE {INSTANCE_PATH}")
    assert f"GET {INSTANCE_PATH}/service_bindings/b1/last_operation" in broker.requests[:first]


def test_cleanup_limits_wait_for_asynchronous_deletions(session: CheckSession) -> None:
    broker: Hostile = session.broker  # type: ignore[attr-defined]
    broker.play = deleting(broker, polls=10**6)
    clean_up(session, 0.2, at_most=0.5, sleep=lambda _: time.sleep(0.05))
    (instance, binding) = sorted(leftovers(session), key=lambda leftover: leftover.binding_id or "")
    assert instance.why == "deletion was not attempted"
    assert "in progress" in binding.why


def test_cleanup_retries_failed_asynchronous_deletion(session: CheckSession) -> None:
    broker: Hostile = session.broker  # type: ignore[attr-defined]
    well = deleting(broker, polls=1)
    failed: list[str] = []

    def play(handler: Handler) -> None:
        if handler.path.partition("?")[0].endswith("/last_operation") and len(failed) < 2:
            failed.append(handler.path)
            handler.answer(200, {"state": "failed"})
        else:
            well(handler)

    broker.play = play
    clean_up(session, 5, at_most=5, sleep=lambda _: None)
    assert list(session.tracker) == []
    assert len(failed) == 2
