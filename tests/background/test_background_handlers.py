"""Background handlers: execution, signals, retries and cancellation."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any

import pytest
from flask import current_app, has_request_context

from brokerkit import (
    Accepted,
    BrokerError,
    InvalidParameters,
    LastOperation,
    Provisioned,
    QuotaExceeded,
    Retry,
)
from brokerkit.background.executors import ThreadExecutor
from brokerkit.store.store import Store

from ..support.broker import (
    BINDING,
    DELETE_QUERY,
    IDS,
    INSTANCE,
    PROVISION,
    Recorder,
    make_app,
    make_broker,
)
from ..support.stateful import (
    CAN_POLL,
    CHANGING,
    KEY,
    LAST,
    SECRET,
    Gate,
    Platform,
    Serve,
    last_operation,
    poll_until_done,
    quick_offering,
    until,
)


@pytest.fixture
def platform(serve: Serve, recorder: Recorder) -> Platform:
    """A platform in front of a broker that does everything in the background."""
    return serve(recorder, background=CHANGING)


def begin(platform: Platform, **more: Any) -> str:
    response = platform.put(INSTANCE, {**PROVISION, **more}, query=CAN_POLL)
    assert response.status_code == 202, response.data
    operation: str = response.json["operation"]
    return operation


def make(platform: Platform, **more: Any) -> None:
    assert poll_until_done(platform, INSTANCE, begin(platform, **more))["state"] == "succeeded"


@pytest.mark.rule("R-PROV-1", "R-UPD-1", "R-BIND-1", "R-UNB-1", "R-DEL-1", "R-LAST-1")
def test_background_lifecycle_is_accepted_and_polled(platform: Platform, recorder: Recorder) -> None:
    """Each operation is a 202, and polls report its success."""
    recorder.answers["provision"] = Provisioned(dashboard_url="https://db.example.org")
    make(platform, parameters={"size": 3})
    assert platform.get(INSTANCE).json["dashboard_url"] == "https://db.example.org"
    changed = platform.patch(INSTANCE, {**IDS, "parameters": {"size": 4}}, query=CAN_POLL)
    assert changed.status_code == 202
    assert poll_until_done(platform, INSTANCE, changed.json["operation"])["state"] == "succeeded"
    assert platform.get(INSTANCE).json["parameters"] == {"size": 4}
    bound = platform.put(BINDING, IDS, query=CAN_POLL)
    assert (bound.status_code, bound.json.keys()) == (202, {"operation"})
    assert poll_until_done(platform, BINDING, bound.json["operation"])["state"] == "succeeded"
    assert platform.get(BINDING).json == {"credentials": {"uri": "db://secret"}}
    for path in (BINDING, INSTANCE):
        gone = platform.delete(path, query=f"{DELETE_QUERY}&{CAN_POLL}")
        assert gone.status_code == 202
        assert poll_until_done(platform, path, gone.json["operation"])["state"] == "succeeded"
        assert platform.delete(path, query=f"{DELETE_QUERY}&{CAN_POLL}").status_code == 410
    assert len(recorder.requests) == 5


@pytest.mark.rule("R-REQ-3", "R-REQ-4")
def test_background_handler_receives_complete_request(platform: Platform, recorder: Recorder) -> None:
    """The request has the same fields as in a synchronous handler, including identities and unknown body
    fields.
    """
    body = {
        **PROVISION,
        "parameters": {"size": 3},
        "context": {"platform": "cloudfoundry", "instance_name": "mine"},
        "maintenance_info": {"version": "1.0.0"},
        "vendor_field": [1, None],
    }
    identity = "cloudfoundry eyJ1c2VyX2lkIjogInUxIn0="
    headers: dict[str, str | None] = {
        "X-Broker-API-Originating-Identity": identity,
        "X-Broker-API-Request-Identity": "r1",
    }
    operation = platform.put(INSTANCE, body, query=CAN_POLL, headers=headers).json["operation"]
    poll_until_done(platform, INSTANCE, operation)
    request = recorder.request
    assert (request.offering.id, request.plan.id, request.instance_id) == ("db-id", "small-id", "i1")
    assert request.parameters == {"size": 3}
    assert request.context == {"platform": "cloudfoundry", "instance_name": "mine"}
    assert (request.organization_guid, request.space_guid) == ("o1", "s1")
    assert request.maintenance_info.version == "1.0.0"
    assert request.body == body
    assert request.accepts_incomplete is True
    assert request.headers.originating_identity.value == {"user_id": "u1"}
    assert (request.headers.request_identity, request.headers.username) == ("r1", "platform")
    assert request.attempt == 1


def test_background_handler_runs_in_app_context(platform: Platform, recorder: Recorder) -> None:
    """It runs in a daemon thread with an app context and without a request context."""
    seen: list[Any] = []

    def look(request: Any) -> None:
        seen.append((current_app.name, has_request_context(), threading.current_thread().daemon))

    recorder.answers["provision"] = look
    make(platform)
    assert seen == [("tests", False, True)]


def test_background_generator_runs_in_app_context(platform: Platform, recorder: Recorder) -> None:
    seen: list[str] = []

    def steps(request: Any) -> Iterator[str]:
        seen.append(current_app.name)
        yield "One"
        seen.append(current_app.name)

    recorder.answers["provision"] = steps
    make(platform)
    assert seen == ["tests", "tests"]


def test_background_handler_may_be_async(platform: Platform, recorder: Recorder) -> None:

    async def provision(request: Any) -> Provisioned:
        assert current_app.name == "tests"
        return Provisioned(data={"async": True})

    recorder.answers["provision"] = provision
    make(platform)
    platform.put(BINDING, IDS, query=CAN_POLL)
    until(lambda: len(recorder.requests) == 2)
    assert recorder.requests[-1].instance.data == {"async": True}


@pytest.mark.rule("R-LAST-1", "R-LAST-2")
def test_background_yields_appear_in_polls(platform: Platform, recorder: Recorder) -> None:
    """Each yielded text is the description of the next polls, with a `Retry-After` header."""
    gates = [Gate(), Gate()]

    def steps(request: Any) -> Generator[str, None, Provisioned]:
        yield "Creating volume"
        gates[0](request)
        yield "Waiting for DNS"
        gates[1](request)
        return Provisioned(dashboard_url="https://db.example.org")

    recorder.answers["provision"] = steps
    operation = begin(platform)
    for gate, said in zip(gates, ["Creating volume", "Waiting for DNS"], strict=True):
        gate.wait_until_reached()
        response = platform.get(LAST, query=f"operation={operation}")
        assert response.json == {"state": "in progress", "description": said}
        assert int(response.headers["Retry-After"]) >= 1
        gate.open()
    assert poll_until_done(platform, INSTANCE, operation)["state"] == "succeeded"
    assert platform.get(INSTANCE).json["dashboard_url"] == "https://db.example.org"


def test_retry_increments_attempt(platform: Platform, recorder: Recorder) -> None:
    attempts: list[int] = []

    def provision(request: Any) -> Provisioned:
        attempts.append(request.attempt)
        if request.attempt < 3:
            raise Retry(after=0.01, description=f"Attempt {request.attempt}")
        assert request.parameters == {"size": 3}
        return Provisioned()

    recorder.answers["provision"] = provision
    make(platform, parameters={"size": 3})
    assert attempts == [1, 2, 3]


def test_background_generator_may_retry(platform: Platform, recorder: Recorder) -> None:
    """The generator is closed after each attempt."""
    closed: list[int] = []

    def steps(request: Any) -> Iterator[str]:
        try:
            yield "Looking"
            if request.attempt == 1:
                raise Retry(after=0.01)
        finally:
            closed.append(request.attempt)

    recorder.answers["provision"] = steps
    make(platform)
    assert closed == [1, 2]


def test_retry_logs_its_cause(
    platform: Platform, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning has the traceback of the cause. The poll response has not."""

    def provision(request: Any) -> Provisioned:
        if request.attempt == 1:
            try:
                raise OSError("No route to host")
            except OSError as error:
                raise Retry(after=0.01, description="Waiting for the server") from error
        return Provisioned()

    recorder.answers["provision"] = provision
    make(platform)
    (record,) = [record for record in caplog.records if "will be retried" in record.message]
    assert record.levelname == "WARNING"
    assert "OSError: No route to host" in caplog.text
    assert "No route to host" not in platform.get(LAST).text


@pytest.mark.rule("R-LAST-2")
def test_retry_sets_description_and_retry_after(platform: Platform, recorder: Recorder) -> None:
    """`Retry-After` is close to the next attempt and at most one minute."""
    recorder.answers["provision"] = Retry(after=30, description="Waiting for DNS")
    operation = begin(platform)
    until(lambda: last_operation(platform, INSTANCE, operation).get("description"))
    response = platform.get(LAST)
    assert response.json == {"state": "in progress", "description": "Waiting for DNS"}
    assert 20 <= int(response.headers["Retry-After"]) <= 60


def test_retry_without_description_keeps_previous_one(platform: Platform, recorder: Recorder) -> None:
    def steps(request: Any) -> Iterator[str]:
        yield "Creating volume"
        raise Retry(after=3600)

    recorder.answers["provision"] = steps
    operation = begin(platform)
    until(lambda: int(platform.get(LAST).headers["Retry-After"]) > 1)
    assert last_operation(platform, INSTANCE, operation)["description"] == "Creating volume"


@pytest.mark.rule("R-DEL-5", "R-LAST-1")
def test_operation_fails_after_max_attempts(serve: Serve, recorder: Recorder) -> None:
    """The description of the last Retry is reported, and a DELETE calls the handler."""
    platform = serve(recorder, background=["provision"], max_attempts=3)
    recorder.answers["provision"] = lambda request: Retry(
        after=0.01, description=f"No DNS in attempt {request.attempt}"
    )
    result = poll_until_done(platform, INSTANCE, begin(platform))
    assert result == {"state": "failed", "description": "No DNS in attempt 3"}
    assert [request.attempt for request in recorder.requests] == [1, 2, 3]
    assert platform.delete(INSTANCE, query=DELETE_QUERY).status_code == 200


@pytest.mark.rule("R-LAST-1")
def test_handed_over_attempts_do_not_count(serve: Serve, recorder: Recorder) -> None:
    """Restarts at a `yield` use up none of the attempts, which the handler sees nevertheless."""
    entered, has_restarted = threading.Semaphore(0), threading.Event()

    def steps(request: Any) -> Iterator[str]:
        entered.release()
        while not has_restarted.is_set():
            yield "Creating volume"
        raise Retry(after=0.01)

    recorder.answers["provision"] = steps
    platform = serve(recorder, background=["provision"], max_attempts=2)
    operation = begin(platform)
    for restart in range(3):
        assert entered.acquire(timeout=15), restart
        serve.stop()
        platform = serve(recorder, background=["provision"], max_attempts=2)
        assert last_operation(platform, INSTANCE, operation)["state"] == "in progress"
    assert entered.acquire(timeout=15)
    has_restarted.set()
    result = poll_until_done(platform, INSTANCE, operation)
    assert result == {"state": "failed", "description": "The operation did not succeed in 2 attempts."}
    assert [request.attempt for request in recorder.requests] == [1, 2, 3, 4, 5]


class NoExecutor:
    """An executor that runs nothing."""

    def start(self, run: object) -> None: ...

    def submit(self, operation_id: str, delay: float = 0) -> None: ...

    def stop(self) -> None: ...


@pytest.mark.rule("R-LAST-1")
def test_interrupted_attempts_count(
    serve: Serve, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """An operation fails if the processes of all its attempts died."""
    operation = begin(serve(recorder, background=["provision"], executor=NoExecutor(), lease=1.0))
    with closing(Store(serve.url, encryption_keys=[KEY], lease=1.0)) as store:
        store.open()
        assert store.begin(operation) is not None  # the attempt of a process that dies now
    platform = serve(recorder, background=["provision"], max_attempts=1, lease=1.0)
    assert poll_until_done(platform, INSTANCE, operation)["state"] == "failed"
    assert "interrupted in each of 1 attempts" in caplog.text
    assert recorder.requests == []


@pytest.mark.rule("R-LAST-1", "R-DEL-5")
@pytest.mark.parametrize("way", ["waits", "runs", "yields"])
def test_background_operation_fails_at_polling_deadline(serve: Serve, recorder: Recorder, way: str) -> None:
    """The operation fails after `maximum_polling_duration`, whether the handler waits, runs or yields."""
    gate = Gate(Provisioned())

    def steps(request: Any) -> Iterator[str]:
        yield "Creating volume"
        gate(request)

    recorder.answers["provision"] = {"waits": Retry(after=3600), "runs": gate, "yields": steps}[way]
    platform = serve(recorder, quick_offering(), background=["provision"], lease=3.0)
    result = poll_until_done(platform, INSTANCE, begin(platform))
    assert result["state"] == "failed"
    assert result["description"]
    gate.open()
    assert platform.delete(INSTANCE, query=DELETE_QUERY).status_code == 200
    assert platform.get(INSTANCE).status_code == 404


@pytest.mark.rule("R-DEL-5", "R-ERR-1")
@pytest.mark.parametrize(
    ("error", "description"),
    [
        (QuotaExceeded("Your 3 databases are used up."), "Your 3 databases are used up."),
        (InvalidParameters("size: is too much"), "size: is too much"),
        (BrokerError("The disk is full.", status=507), "The disk is full."),
        (ValueError("inside"), None),
        (SystemExit("inside"), None),
        ("a text", None),
        (Retry, None),
    ],
    ids=str,
)
def test_background_error_fails_operation(
    platform: Platform, recorder: Recorder, error: Any, description: str | None
) -> None:
    """Only public descriptions are reported. The id is taken until a DELETE has cleaned up."""
    recorder.answers["provision"] = error
    result = poll_until_done(platform, INSTANCE, begin(platform))
    assert result["state"] == "failed"
    assert result["description"] == description or (
        description is None and "inside" not in result["description"]
    )
    assert platform.put(INSTANCE, PROVISION, query=CAN_POLL).status_code == 409
    recorder.answers["deprovision"] = None
    gone = platform.delete(INSTANCE, query=f"{DELETE_QUERY}&{CAN_POLL}").json["operation"]
    assert poll_until_done(platform, INSTANCE, gone)["state"] == "succeeded"


@pytest.mark.rule("R-LAST-1")
def test_background_handler_may_return_accepted(platform: Platform, recorder: Recorder) -> None:
    """After `Accepted` polls call the last_operation handler with the operation and data."""
    recorder.answers["provision"] = Accepted(operation="job 7", data={"job": 7})
    recorder.answers["last_operation"] = LastOperation.in_progress("Half of it")
    operation = begin(platform)
    until(lambda: last_operation(platform, INSTANCE, operation).get("description") == "Half of it")
    assert (recorder.requests[-1].operation, recorder.requests[-1].instance.data) == ("job 7", {"job": 7})
    recorder.answers["last_operation"] = LastOperation.succeeded()
    assert poll_until_done(platform, INSTANCE, operation) == {"state": "succeeded"}
    assert platform.get(INSTANCE).status_code == 200


@pytest.mark.rule("R-UPD-5", "R-ERR-2")
def test_failed_background_update_changes_nothing(platform: Platform, recorder: Recorder) -> None:
    """Polls return the usability flags, and the update can be repeated."""
    make(platform, parameters={"size": 3})
    recorder.answers["update"] = BrokerError(
        "No room", status=500, instance_usable=False, update_repeatable=False
    )
    body = {**IDS, "parameters": {"size": 4}}
    operation = platform.patch(INSTANCE, body, query=CAN_POLL).json["operation"]
    assert poll_until_done(platform, INSTANCE, operation) == {
        "state": "failed",
        "description": "No room",
        "instance_usable": False,
        "update_repeatable": False,
    }
    assert platform.get(INSTANCE).json["parameters"] == {"size": 3}
    recorder.answers["update"] = None
    again = platform.patch(INSTANCE, body, query=CAN_POLL)
    assert again.status_code == 202
    assert poll_until_done(platform, INSTANCE, again.json["operation"])["state"] == "succeeded"


def test_background_generator_must_yield_text(platform: Platform, recorder: Recorder) -> None:
    """The operation fails, and the generator is closed."""
    closed: list[bool] = []

    def steps(request: Any) -> Iterator[Any]:
        try:
            yield Provisioned()
        finally:
            closed.append(True)

    recorder.answers["provision"] = steps
    assert poll_until_done(platform, INSTANCE, begin(platform))["state"] == "failed"
    assert closed == [True]


@pytest.mark.rule("R-BIND-5")
def test_background_binds_run_concurrently(platform: Platform, recorder: Recorder) -> None:
    make(platform)
    gates = {"b1": Gate(SECRET), "b2": Gate(SECRET)}
    recorder.answers["bind"] = lambda request: gates[request.binding_id](request)
    paths = {name: f"{INSTANCE}/service_bindings/{name}" for name in gates}
    operations = {name: platform.put(path, IDS, query=CAN_POLL).json for name, path in paths.items()}
    for gate in gates.values():
        gate.wait_until_reached()
    for name, gate in reversed(gates.items()):
        gate.open()
        result = poll_until_done(platform, paths[name], operations[name]["operation"])
        assert result["state"] == "succeeded"


def test_waiting_retry_continues_after_restart(serve: Serve, recorder: Recorder) -> None:
    """The next process runs the next attempt with the original request."""
    recorder.answers["provision"] = lambda request: (
        Retry(after=0.3, description="Waiting") if request.attempt == 1 else Provisioned(data={"n": 1})
    )
    platform = serve(recorder, background=["provision"])
    operation = begin(platform, parameters={"size": 3})
    until(lambda: last_operation(platform, INSTANCE, operation).get("description") == "Waiting")
    serve.stop()
    platform = serve(recorder, background=["provision"])
    assert poll_until_done(platform, INSTANCE, operation)["state"] == "succeeded"
    assert [(request.attempt, request.parameters) for request in recorder.requests] == [
        (1, {"size": 3}),
        (2, {"size": 3}),
    ]


def test_shutdown_stops_generator_at_next_yield(serve: Serve, recorder: Recorder) -> None:
    """Its `finally` block runs, and the next process starts the next attempt."""
    gate, events = Gate(), []

    def steps(request: Any) -> Iterator[str]:
        try:
            yield "Creating volume"
            if request.attempt == 1:
                gate(request)
            yield "Waiting for DNS"
            events.append(f"done {request.attempt}")
        finally:
            events.append(f"finally {request.attempt}")

    recorder.answers["provision"] = steps
    platform = serve(recorder, background=["provision"])
    operation = begin(platform)
    gate.wait_until_reached()
    stopping = threading.Thread(target=serve.stop)
    stopping.start()
    gate.open()
    stopping.join(15)
    platform = serve(recorder, background=["provision"])
    assert poll_until_done(platform, INSTANCE, operation)["state"] == "succeeded"
    assert events[0] == "finally 1" or events[:2] == ["done 1", "finally 1"]
    (done,) = (event for event in events if event.startswith("done"))
    assert events[-2:] == [done, done.replace("done", "finally")], (
        "the last attempt, and no other, got through"
    )


def test_thread_executor_queues_excess_work(serve: Serve, recorder: Recorder) -> None:
    """Operations without a free thread wait for one."""
    platform = serve(recorder, background=["provision"], executor=ThreadExecutor(workers=2))
    paths = [f"/v2/service_instances/n{number}" for number in range(12)]
    operations = [platform.put(path, PROVISION, query=CAN_POLL).json["operation"] for path in paths]
    for path, operation in zip(paths, operations, strict=True):
        assert poll_until_done(platform, path, operation)["state"] == "succeeded"
    assert len(recorder.requests) == 12


def test_request_during_shutdown_runs_in_next_process(serve: Serve, recorder: Recorder) -> None:
    """An operation accepted after the runtime has stopped is run by the next process."""
    before = set(threading.enumerate())
    ending = serve(recorder, background=CHANGING)
    ending.get("/v2/catalog")
    running = serve.brokers[-1]._runtime
    assert running is not None
    running.shutdown()
    operation = begin(ending)
    assert last_operation(ending, INSTANCE, operation)["state"] == "in progress"
    assert not recorder.requests
    begun = set(threading.enumerate()) - before
    assert not [thread for thread in begun if "brokerkit" in thread.name]

    successor = serve(recorder, background=CHANGING)
    assert poll_until_done(successor, INSTANCE, operation)["state"] == "succeeded"


@pytest.mark.parametrize(
    "answer", [Retry(after=3600), QuotaExceeded("Used\nup")], ids=["too late", "refused"]
)
def test_log_escapes_line_breaks_in_ids(
    serve: Serve, recorder: Recorder, caplog: pytest.LogCaptureFixture, answer: Exception
) -> None:
    caplog.set_level("INFO", "brokerkit")
    recorder.answers["provision"] = answer
    platform = serve(recorder, quick_offering(), background=["provision"], lease=3.0)
    path = "/v2/service_instances/i1%0aforged"
    platform.put(path, PROVISION, query=CAN_POLL)
    assert poll_until_done(platform, path)["state"] == "failed"
    until(lambda: "failed: " in caplog.text)
    assert "i1\\x0aforged" in caplog.text
    assert not [record for record in caplog.records if "\n" in record.getMessage()]


@pytest.mark.rule("R-LAST-1")
def test_start_continues_left_work(serve: Serve, recorder: Recorder) -> None:
    """`broker.start()` needs no request, and a second call has no effect."""
    begin(serve(recorder, background=["provision"], executor=NoExecutor()))
    serve.stop()
    serve(recorder, background=["provision"])
    serve.brokers[-1].start()
    serve.brokers[-1].start()
    until(lambda: recorder.requests)


@pytest.mark.parametrize("has_store", [True, False])
def test_start_requires_registered_blueprint(recorder: Recorder, has_store: bool) -> None:
    broker = make_broker(recorder, store="sqlite://" if has_store else None)
    with pytest.raises(RuntimeError, match="register the blueprint"):
        broker.start()
    make_app(broker)
    broker.start()
    broker.close()
