"""Errors: R-ERR. What a platform is told, what the log is told, and what neither is."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from flask import abort

from brokerkit import (
    Accepted,
    AsyncRequired,
    Binding,
    BindingAlreadyExists,
    BindingDoesNotExist,
    BindingMetadata,
    Broker,
    BrokerError,
    Catalog,
    ConcurrencyError,
    Deprovisioned,
    InstanceAlreadyExists,
    InstanceDetails,
    InstanceDoesNotExist,
    InstanceLimitMet,
    InstanceMetadata,
    InvalidParameters,
    LastOperation,
    MaintenanceInfoConflict,
    PlanChangeNotSupported,
    Provisioned,
    QuotaExceeded,
    RequiresApp,
    Unbound,
    Updated,
)

from ..support.broker import (
    BINDING,
    CREDENTIALS,
    DELETE_QUERY,
    INSTANCE,
    PROVISION,
    Platform,
    Recorder,
    error_of,
    make_app,
    make_offering,
)
from .test_requests import BY_OPERATION, ENDPOINTS

OPERATIONS = [asked.operation for asked in ENDPOINTS if asked.operation != "catalog"]
every_operation = pytest.mark.parametrize("operation", OPERATIONS)
POLLS = "accepts_incomplete=true"

STATUSES: list[tuple[type[BrokerError], int, int]] = [
    (BrokerError, 500, 500),
    (InstanceAlreadyExists, 409, 409),
    (InstanceDoesNotExist, 404, 410),
    (InstanceLimitMet, 400, 400),
    (BindingAlreadyExists, 409, 409),
    (BindingDoesNotExist, 404, 410),
    (AsyncRequired, 422, 422),
    (ConcurrencyError, 422, 422),
    (RequiresApp, 422, 422),
    (MaintenanceInfoConflict, 422, 422),
    (PlanChangeNotSupported, 422, 422),
    (InvalidParameters, 400, 400),
    (QuotaExceeded, 400, 400),
]


def ask(platform: Platform, operation: str, query: str = "") -> Any:
    asked = BY_OPERATION[operation]
    return asked.send(platform, query="&".join(filter(None, (asked.query, query))))


@every_operation
@pytest.mark.parametrize(("kind", "status", "on_delete"), STATUSES)
def test_r_err_1_an_error_has_its_status_its_word_and_a_description(
    operation: str,
    kind: type[BrokerError],
    status: int,
    on_delete: int,
    platform: Platform,
    recorder: Recorder,
) -> None:
    recorder.answers[operation] = kind()
    response = ask(platform, operation)
    expected = on_delete if BY_OPERATION[operation].method == "DELETE" else status
    assert response.status_code == expected
    body = error_of(response)
    if expected == 410:
        assert body == {}  # R-UNB-1, R-DEL-1
    else:
        assert body["description"] == kind.description
        assert body.get("error") == kind.error


@pytest.mark.parametrize(("kind", "status", "on_delete"), STATUSES)
def test_r_err_1_the_description_can_be_the_brokers_own(
    kind: type[BrokerError], status: int, on_delete: int, platform: Platform, recorder: Recorder
) -> None:
    recorder.answers["provision"] = kind("Größe 5 ist „zu groß“.\n")
    assert error_of(platform.put(INSTANCE, PROVISION))["description"] == "Größe 5 ist „zu groß“.\n"


@pytest.mark.parametrize("status", [400, 402, 404, 409, 410, 418, 422, 429, 500, 503, 599])
@pytest.mark.parametrize("operation", ["provision", "deprovision"])
def test_r_err_1_a_status_that_is_given_holds_for_every_method(
    status: int, operation: str, platform: Platform, recorder: Recorder
) -> None:
    recorder.answers[operation] = InstanceDoesNotExist("No.", status=status, error="MyWord")
    response = ask(platform, operation)
    assert response.status_code == status
    assert response.json == ({} if status == 410 else {"error": "MyWord", "description": "No."})


def test_r_err_1_a_brokers_own_class_of_error_is_told(platform: Platform, recorder: Recorder) -> None:
    class DiskFull(InstanceLimitMet):
        status = 507
        error = "DiskFull"
        description = "No disk is left."

    recorder.answers["provision"] = DiskFull()
    response = platform.put(INSTANCE, PROVISION)
    assert response.status_code == 507
    assert response.json == {"error": "DiskFull", "description": "No disk is left."}


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"description": ""}, "description"),
        ({"description": 5}, "description"),
        ({"status": 200}, "status"),
        ({"status": 302}, "status"),
        ({"status": 600}, "status"),
        ({"status": "400"}, "status"),
        ({"error": ""}, "error"),
        ({"error": "two words"}, "error"),
        ({"error": "lowercase"}, "error"),
        ({"error": "With-Dash"}, "error"),
        ({"error": "Newline\n"}, "error"),
    ],
)
def test_r_err_1_what_no_platform_may_be_told_is_refused_where_it_is_written(
    arguments: dict[str, Any], fault: str
) -> None:
    with pytest.raises(ValueError, match=f"^{fault}"):
        BrokerError(**arguments)


@every_operation
@pytest.mark.parametrize("value", [True, False])
def test_r_err_2_instance_usable_and_update_repeatable_appear_only_where_they_may(
    operation: str, value: bool, platform: Platform, recorder: Recorder
) -> None:
    recorder.answers[operation] = BrokerError("It broke.", instance_usable=value, update_repeatable=value)
    told = {
        "update": {"instance_usable": value, "update_repeatable": value},
        "deprovision": {"instance_usable": value},
    }
    assert ask(platform, operation).json == {
        "description": "It broke.",
        **told.get(operation, {}),
    }


def test_r_err_2_what_is_not_known_is_not_told(platform: Platform, recorder: Recorder) -> None:
    recorder.answers["update"] = BrokerError("It broke.")
    assert ask(platform, "update").json == {"description": "It broke."}


@pytest.mark.parametrize("kind", [AsyncRequired, ConcurrencyError, RequiresApp, MaintenanceInfoConflict])
def test_r_err_3_the_words_with_a_fixed_meaning_are_the_names_of_their_classes(
    kind: type[BrokerError], platform: Platform, recorder: Recorder
) -> None:
    recorder.answers["bind"] = kind("In other words.")
    response = ask(platform, "bind")
    assert response.status_code == 422
    assert response.json == {"error": kind.__name__, "description": "In other words."}


@pytest.mark.parametrize("kind", [InstanceLimitMet, QuotaExceeded, InvalidParameters])
def test_r_err_4_a_quota_or_a_bad_parameter_is_400_which_every_platform_understands(
    kind: type[BrokerError], platform: Platform, recorder: Recorder
) -> None:
    recorder.answers["provision"] = kind()
    assert platform.put(INSTANCE, PROVISION).status_code == 400


class Unforeseen(Exception):
    """As a library that knows nothing of brokers would raise it."""


@every_operation
@pytest.mark.parametrize(
    "failure",
    [
        Unforeseen("password=hunter2"),
        KeyError("hunter2"),
        RecursionError("hunter2"),
        UnicodeEncodeError("ascii", "hunter2\udc80", 7, 8, "hunter2"),
        ExceptionGroup("hunter2", [ValueError("hunter2")]),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_what_a_handler_raises_is_a_500_that_tells_nothing_and_a_traceback_in_the_log(
    operation: str,
    failure: Exception,
    platform: Platform,
    recorder: Recorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    recorder.answers[operation] = failure
    response = ask(platform, operation)
    assert response.status_code == 500
    assert error_of(response)["error"] == "InternalError"
    assert "hunter2" not in response.text
    (record,) = caplog.records
    assert record.name == "brokerkit"
    assert record.levelno == logging.ERROR
    assert operation in record.getMessage()
    assert record.exc_info
    assert record.exc_info[1] is failure
    assert "Traceback" in caplog.text


def test_an_abort_in_a_handler_is_no_answer_to_a_platform(
    platform: Platform, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.answers["provision"] = lambda request: abort(404)
    assert platform.put(INSTANCE, PROVISION).status_code == 500
    assert "NotFound" in caplog.text


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_5xx_that_a_handler_chooses_is_told_and_logged(
    status: int, platform: Platform, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.answers["provision"] = BrokerError("The storage is away.", status=status)
    response = platform.put(INSTANCE, PROVISION)
    assert response.status_code == status
    assert error_of(response)["description"] == "The storage is away."
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info


@pytest.mark.parametrize("status", [400, 404, 409, 422])
def test_a_refusal_is_no_failure_and_is_not_logged_as_one(
    status: int, platform: Platform, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.answers["provision"] = BrokerError("No.", status=status)
    assert platform.put(INSTANCE, PROVISION).status_code == status
    assert not caplog.records


def test_a_500_leaves_the_broker_able_to_answer(platform: Platform, recorder: Recorder) -> None:
    recorder.answers["provision"] = Unforeseen()
    assert platform.put(INSTANCE, PROVISION).status_code == 500
    recorder.answers["provision"] = None
    assert platform.put(INSTANCE, PROVISION).status_code == 201


def _wrong(kind: type, **fields: Any) -> Any:
    """A result with fields that its type does not allow."""
    return kind(**fields)


class MyProvisioned(Provisioned, frozen=True, kw_only=True):
    """A result of the author's own."""


@pytest.mark.parametrize(
    ("operation", "answer", "advice"),
    [
        # Another kind of answer than the operation has.
        ("provision", {"dashboard_url": "d"}, "returned a dict; return Provisioned(…) or Accepted"),
        ("provision", ("", 201), "returned a tuple; return Provisioned(…)"),
        ("provision", Binding(), "returned a Binding; return Provisioned(…)"),
        ("provision", MyProvisioned(), "returned a MyProvisioned; return Provisioned(…)"),
        ("provision", iter([]), "returned a list_iterator; return Provisioned(…)"),
        ("update", Provisioned(), "returned a Provisioned; return Updated(…) or Accepted(…) or"),
        ("deprovision", Unbound(), "returned a Unbound; return Deprovisioned(…)"),
        ("unbind", Deprovisioned(), "returned a Deprovisioned; return Unbound(…)"),
        ("bind", None, "returned None; return Binding(…) or Accepted(…), or raise a BrokerError"),
        ("bind", {"uri": "x"}, "returned a dict; return Binding(…)"),
        ("get_instance", None, "returned None; return InstanceDetails(…), or raise"),
        ("get_instance", Provisioned(), "returned a Provisioned; return InstanceDetails(…)"),
        ("get_binding", None, "returned None; return Binding(…), or raise"),
        (
            "last_operation",
            None,
            "returned None; return LastOperation.in_progress(…), .succeeded(…) or .failed(…), or raise",
        ),
        ("last_operation", "succeeded", "returned a str; return LastOperation.in_progress(…)"),
        ("last_binding_operation", Accepted(), "returned a Accepted; return LastOperation.in_progress(…)"),
        # A field that has no place there.
        ("bind", Binding(parameters={"a": 1}), "Binding(parameters=…), which has no place"),
        ("bind", Accepted(dashboard_url="d"), "Accepted(dashboard_url=…), which has no place"),
        ("unbind", Accepted(metadata=InstanceMetadata()), "Accepted(metadata=…), which has no"),
        # A field that is not what it should be.
        ("provision", _wrong(Provisioned, dashboard_url=5), "dashboard_url: expected a string, got a number"),
        ("provision", _wrong(Provisioned, metadata=[]), "metadata: expected an object, got an array"),
        ("provision", _wrong(Accepted, dashboard_url=5), "a Accepted that is not right"),
        (
            "update",
            _wrong(Updated, metadata={"labels": 1}),
            "metadata.labels: expected an object, got a number",
        ),
        ("bind", _wrong(Binding, credentials="secret"), "credentials: expected an object, got a string"),
        ("bind", _wrong(Binding, credentials=object()), "JSON cannot hold"),
        ("bind", Binding(credentials={"a": {1j}}), "JSON cannot hold"),
        ("bind", Binding(credentials={"a": "\udc80"}), "JSON cannot hold"),
        (
            "get_instance",
            _wrong(InstanceDetails, service_id=1),
            "service_id: expected a string, got a number",
        ),
        ("last_operation", _wrong(LastOperation, state="done"), "state: Invalid enum value 'done'"),
    ],
)
def test_an_answer_that_no_platform_may_be_told_is_a_500_and_the_log_says_what_to_change(
    operation: str,
    answer: object,
    advice: str,
    platform: Platform,
    recorder: Recorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    recorder.answers[operation] = lambda request: answer
    query = POLLS if isinstance(answer, Accepted) else ""
    response = ask(platform, operation, query)
    assert response.status_code == 500
    assert error_of(response)["error"] == "InternalError"
    (record,) = caplog.records
    assert record.getMessage().startswith(f"the {operation} handler ")
    assert f"handle_{operation}" in record.getMessage()
    assert "broker.py:" in record.getMessage()
    assert advice in record.getMessage()


def test_an_answer_nested_too_deep_is_a_500(
    platform: Platform, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    credentials: dict[str, Any] = {}
    credentials["self"] = credentials
    recorder.answers["bind"] = Binding(credentials=credentials)
    assert ask(platform, "bind").status_code == 500
    assert "JSON cannot hold" in caplog.text


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**100])
def test_a_large_number_is_told_or_named_as_what_cannot_be_told(
    number: int, platform: Platform, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.answers["bind"] = Binding(credentials={"n": number})
    response = ask(platform, "bind")
    if response.status_code == 500:
        assert "JSON cannot hold" in caplog.text
    else:
        assert response.json == {"credentials": {"n": number}}


@pytest.mark.parametrize("operation", ["provision", "update", "deprovision", "bind", "unbind"])
def test_accepted_to_a_platform_that_cannot_poll_is_a_500_and_the_log_says_what_to_raise(
    operation: str, platform: Platform, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.answers[operation] = Accepted(operation="job")
    assert ask(platform, operation).status_code == 500
    assert "raise AsyncRequired() before the work starts" in caplog.text


@pytest.mark.parametrize(
    ("operation", "poll"),
    [("provision", "last_operation"), ("unbind", "last_binding_operation")],
)
def test_accepted_from_a_broker_that_cannot_be_polled_is_a_500_and_the_log_names_the_handler(
    operation: str, poll: str, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    broker = Broker(Catalog([make_offering()]), auth=CREDENTIALS)
    for other in OPERATIONS:
        if other != poll:
            getattr(broker, other)(recorder.handler(other))
    recorder.answers[operation] = Accepted(operation="job")
    assert ask(Platform(make_app(broker)), operation, POLLS).status_code == 500
    assert f"no @{poll} handler is there to be polled" in caplog.text


@pytest.mark.parametrize(("length", "fault"), [(0, "has 0 characters"), (10_001, "10,001")])
def test_r_prov_1_an_operation_that_is_too_long_or_empty_is_refused_where_it_is_written(
    length: int,
    fault: str,
    platform: Platform,
    recorder: Recorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(ValueError, match=fault):
        Accepted(operation="x" * length)
    recorder.answers["provision"] = lambda request: Accepted(operation="x" * length)
    assert ask(platform, "provision", POLLS).status_code == 500
    assert "give 1 to 10,000, such as the id of a job" in caplog.text


def test_credentials_stay_out_of_the_log(
    platform: Platform, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answer = Binding(
        credentials={"uri": "db://hunter2"},
        syslog_drain_url="syslog://hunter2",
        metadata=BindingMetadata(),
        parameters={"password": "hunter2"},
    )
    recorder.answers["bind"] = answer
    assert ask(platform, "bind").status_code == 500
    assert caplog.records
    assert "hunter2" not in caplog.text
    assert "hunter2" not in repr(answer)


def test_a_refusal_is_logged_with_what_it_was_about(
    platform: Platform, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="brokerkit")
    recorder.answers["provision"] = QuotaExceeded("No more than three.")
    platform.put(INSTANCE, PROVISION)
    (record,) = caplog.records
    assert record.levelname == "INFO"
    assert record.getMessage() == "provision of instance 'i1' was refused with 400: 'No more than three.'"


def test_a_failure_is_logged_with_what_it_was_about(
    platform: Platform, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.answers["unbind"] = ZeroDivisionError()
    platform.delete(BINDING, query=DELETE_QUERY)
    (record,) = caplog.records
    assert record.getMessage() == "unbind of instance 'i1', binding 'b1' failed"
    assert record.exc_info


def test_an_error_that_is_returned_instead_of_raised_is_told(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.provision(plan="large")(lambda request: QuotaExceeded())  # type: ignore[type-var]
    response = Platform(make_app(broker)).put(INSTANCE, {**PROVISION, "plan_id": "large-id"})
    assert response.status_code == 500
    assert "returned QuotaExceeded; raise it" in caplog.text


@pytest.mark.parametrize(
    "attributes",
    [
        {"status": 200},
        {"status": 204},
        {"status": "404"},
        {"error": "not camel"},
        {"description": ""},
        {"description": "\udc80"},
    ],
)
def test_r_err_1_a_class_of_errors_that_cannot_be_sent_is_refused_when_it_is_made(
    attributes: dict[str, Any],
) -> None:
    with pytest.raises(ValueError, match=r"Wrong|surrogates"):
        type("Wrong", (BrokerError,), attributes)


@pytest.mark.parametrize("operation", ["provision", "update", "deprovision"])
def test_an_error_of_a_class_with_a_constructor_of_its_own_is_sent(
    operation: str, platform: Platform, recorder: Recorder
) -> None:
    class NoRoom(BrokerError):
        status = 409
        error = "NoRoom"

        def __init__(self) -> None:
            self.shelf = 7

    recorder.answers[operation] = NoRoom()
    response = BY_OPERATION[operation].send(platform)
    assert response.status_code == 409
    assert error_of(response)["error"] == "NoRoom"


@pytest.mark.parametrize(
    ("name", "value"),
    [("status", 200), ("description", None), ("error", "a b"), ("headers", [("X-A", "a\r\nX-B: b")])],
)
def test_an_error_that_was_changed_into_what_cannot_be_sent_is_a_500(
    name: str, value: Any, platform: Platform, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.answers["provision"] = QuotaExceeded()
    setattr(recorder.answers["provision"], name, value)
    response = platform.put(INSTANCE, PROVISION)
    assert response.status_code == 500
    assert "X-B" not in response.headers
    assert "a QuotaExceeded that cannot be sent was raised" in caplog.text


class Cancelled(BaseException):
    """As asyncio's CancelledError and gevent's Timeout are: no Exception."""


def test_what_a_library_raises_that_is_no_exception_is_a_500_too(
    platform: Platform, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.answers["provision"] = Cancelled("secret")
    response = platform.put(INSTANCE, PROVISION)
    assert response.status_code == 500
    assert "secret" not in response.text
    assert "Cancelled" in caplog.text


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_the_end_of_the_process_is_not_held_up(
    end: type[BaseException], platform: Platform, recorder: Recorder
) -> None:
    recorder.answers["provision"] = end()
    with pytest.raises(end):
        platform.put(INSTANCE, PROVISION)


def test_an_error_raised_in_a_hook_of_the_app_is_answered_as_one_of_a_handler(broker: Broker) -> None:
    app = make_app(broker)

    @app.before_request
    def closed() -> None:
        raise BrokerError("Back at six.", status=503, error="Closed")

    response = Platform(app).get("/v2/catalog")
    assert response.status_code == 503
    assert error_of(response) == {"error": "Closed", "description": "Back at six."}


def test_r_err_2_what_a_class_of_errors_says_of_the_instance_is_told(
    platform: Platform, recorder: Recorder
) -> None:
    class Broken(BrokerError):
        instance_usable = False
        update_repeatable = False

    recorder.answers["update"] = Broken()
    body = error_of(BY_OPERATION["update"].send(platform))
    assert (body["instance_usable"], body["update_repeatable"]) == (False, False)


def test_nobody_writes_lines_into_the_log(platform: Platform, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="brokerkit")
    path = f"/v2/service_instances/{'i' * 5_000}%0AERROR forged"
    platform.put(path, {**PROVISION, "plan_id": "a\nERROR forged"})
    (record,) = caplog.records
    assert "\n" not in record.getMessage()
    assert len(record.getMessage()) < 500
