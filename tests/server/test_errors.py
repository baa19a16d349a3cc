"""Errors: the response to the platform, the log records, and the secrets in neither (R-ERR)."""

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

OPERATIONS = [sample.operation for sample in ENDPOINTS if sample.operation != "catalog"]
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
    sample = BY_OPERATION[operation]
    return sample.send(platform, query="&".join(filter(None, (sample.query, query))))


@pytest.mark.rule("R-ERR-1", "R-UNB-1", "R-DEL-1")
@every_operation
@pytest.mark.parametrize(("kind", "status", "on_delete"), STATUSES)
def test_error_class_determines_status_and_body(
    operation: str,
    kind: type[BrokerError],
    status: int,
    on_delete: int,
    platform: Platform,
    recorder: Recorder,
) -> None:
    """Every error class has its status, error code and description. A 410 has an empty body."""
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


@pytest.mark.rule("R-ERR-1")
@pytest.mark.parametrize(("kind", "status", "on_delete"), STATUSES)
def test_error_description_can_be_customized(
    kind: type[BrokerError], status: int, on_delete: int, platform: Platform, recorder: Recorder
) -> None:
    recorder.answers["provision"] = kind("Größe 5 ist „zu groß“.\n")
    assert error_of(platform.put(INSTANCE, PROVISION))["description"] == "Größe 5 ist „zu groß“.\n"


@pytest.mark.rule("R-ERR-1")
@pytest.mark.parametrize("status", [400, 402, 404, 409, 410, 418, 422, 429, 500, 503, 599])
@pytest.mark.parametrize("operation", ["provision", "deprovision"])
def test_explicit_error_status_applies_to_every_method(
    status: int, operation: str, platform: Platform, recorder: Recorder
) -> None:
    recorder.answers[operation] = InstanceDoesNotExist("No.", status=status, error="MyWord")
    response = ask(platform, operation)
    assert response.status_code == status
    assert response.json == ({} if status == 410 else {"error": "MyWord", "description": "No."})


@pytest.mark.rule("R-ERR-1")
def test_custom_error_class_is_encoded(platform: Platform, recorder: Recorder) -> None:
    class DiskFull(InstanceLimitMet):
        status = 507
        error = "DiskFull"
        description = "No disk is left."

    recorder.answers["provision"] = DiskFull()
    response = platform.put(INSTANCE, PROVISION)
    assert response.status_code == 507
    assert response.json == {"error": "DiskFull", "description": "No disk is left."}


@pytest.mark.rule("R-ERR-1")
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
def test_broker_error_constructor_refuses_invalid_arguments(arguments: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=f"^{fault}"):
        BrokerError(**arguments)


@pytest.mark.rule("R-ERR-2")
@every_operation
@pytest.mark.parametrize("value", [True, False])
def test_usability_fields_limited_to_update_and_deprovision(
    operation: str, value: bool, platform: Platform, recorder: Recorder
) -> None:
    """`update_repeatable` appears only in a failed update, `instance_usable` also in a failed deprovision."""
    recorder.answers[operation] = BrokerError("It broke.", instance_usable=value, update_repeatable=value)
    usability_fields = {
        "update": {"instance_usable": value, "update_repeatable": value},
        "deprovision": {"instance_usable": value},
    }
    assert ask(platform, operation).json == {
        "description": "It broke.",
        **usability_fields.get(operation, {}),
    }


@pytest.mark.rule("R-ERR-2")
def test_unset_usability_fields_are_omitted(platform: Platform, recorder: Recorder) -> None:
    recorder.answers["update"] = BrokerError("It broke.")
    assert ask(platform, "update").json == {"description": "It broke."}


@pytest.mark.rule("R-ERR-3")
@pytest.mark.parametrize("kind", [AsyncRequired, ConcurrencyError, RequiresApp, MaintenanceInfoConflict])
def test_fixed_error_codes_match_class_names(
    kind: type[BrokerError], platform: Platform, recorder: Recorder
) -> None:
    recorder.answers["bind"] = kind("In other words.")
    response = ask(platform, "bind")
    assert response.status_code == 422
    assert response.json == {"error": kind.__name__, "description": "In other words."}


@pytest.mark.rule("R-ERR-4")
@pytest.mark.parametrize("kind", [InstanceLimitMet, QuotaExceeded, InvalidParameters])
def test_quota_and_parameter_errors_are_400(
    kind: type[BrokerError], platform: Platform, recorder: Recorder
) -> None:
    """Platforms do not treat a 400 as a broken broker, unlike an unknown 422."""
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
def test_unexpected_handler_exception_is_500(
    operation: str,
    failure: Exception,
    platform: Platform,
    recorder: Recorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log contains the traceback; the response contains no detail."""
    recorder.answers[operation] = failure
    response = ask(platform, operation)
    assert response.status_code == 500
    assert error_of(response)["error"] == "InternalError"
    assert "hunter2" not in response.text
    (record,) = caplog.records
    assert record.name == "brokerkit.server.pipeline"
    assert record.levelno == logging.ERROR
    assert operation in record.getMessage()
    assert record.exc_info
    assert record.exc_info[1] is failure
    assert "Traceback" in caplog.text


def test_flask_abort_in_handler_is_500(
    platform: Platform, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.answers["provision"] = lambda request: abort(404)
    assert platform.put(INSTANCE, PROVISION).status_code == 500
    assert "NotFound" in caplog.text


@pytest.mark.parametrize("status", [500, 502, 503])
def test_handler_5xx_is_sent_and_logged(
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
def test_handler_4xx_is_not_logged_as_failure(
    status: int, platform: Platform, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.answers["provision"] = BrokerError("No.", status=status)
    assert platform.put(INSTANCE, PROVISION).status_code == status
    assert not caplog.records


def test_broker_keeps_serving_after_500(platform: Platform, recorder: Recorder) -> None:
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
        # A type of result that the operation does not have.
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
        ("bind", Binding(parameters={"a": 1}), "Binding(parameters=…), but the response to "),
        ("bind", Accepted(dashboard_url="d"), "Accepted(dashboard_url=…), but the response to "),
        ("unbind", Accepted(metadata=InstanceMetadata()), "Accepted(metadata=…), but the response to "),
        # A field with an invalid value.
        ("provision", _wrong(Provisioned, dashboard_url=5), "dashboard_url: expected a string, got a number"),
        ("provision", _wrong(Provisioned, metadata=[]), "metadata: expected an object, got an array"),
        ("provision", _wrong(Accepted, dashboard_url=5), "an invalid Accepted"),
        (
            "update",
            _wrong(Updated, metadata={"labels": 1}),
            "metadata.labels: expected an object, got a number",
        ),
        ("bind", _wrong(Binding, credentials="secret"), "credentials: expected an object, got a string"),
        ("bind", _wrong(Binding, credentials=object()), "cannot be encoded as JSON"),
        ("bind", Binding(credentials={"a": {1j}}), "cannot be encoded as JSON"),
        ("bind", Binding(credentials={"a": "\udc80"}), "cannot be encoded as JSON"),
        (
            "get_instance",
            _wrong(InstanceDetails, service_id=1),
            "service_id: expected a string, got a number",
        ),
        ("last_operation", _wrong(LastOperation, state="done"), "state: Invalid enum value 'done'"),
    ],
)
def test_invalid_handler_result_is_500_with_advice(
    operation: str,
    answer: object,
    advice: str,
    platform: Platform,
    recorder: Recorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log names the handler, its location and the correction."""
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


def test_cyclic_handler_result_is_500(
    platform: Platform, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    credentials: dict[str, Any] = {}
    credentials["self"] = credentials
    recorder.answers["bind"] = Binding(credentials=credentials)
    assert ask(platform, "bind").status_code == 500
    assert "cannot be encoded as JSON" in caplog.text


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**100])
def test_large_number_in_result_is_handled(
    number: int, platform: Platform, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """A large number is either encoded exactly or refused with a log record."""
    recorder.answers["bind"] = Binding(credentials={"n": number})
    response = ask(platform, "bind")
    if response.status_code == 500:
        assert "cannot be encoded as JSON" in caplog.text
    else:
        assert response.json == {"credentials": {"n": number}}


@pytest.mark.rule("R-REQ-9")
@pytest.mark.parametrize("operation", ["provision", "update", "deprovision", "bind", "unbind"])
def test_accepted_without_polling_support_is_500(
    operation: str, platform: Platform, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """The log advises to raise AsyncRequired before the work starts."""
    recorder.answers[operation] = Accepted(operation="job")
    assert ask(platform, operation).status_code == 500
    assert "raise AsyncRequired() before the work starts" in caplog.text


@pytest.mark.parametrize(
    ("operation", "poll"),
    [("provision", "last_operation"), ("unbind", "last_binding_operation")],
)
def test_accepted_without_poll_handler_is_500(
    operation: str, poll: str, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the missing handler."""
    broker = Broker(Catalog([make_offering()]), auth=CREDENTIALS)
    for other in OPERATIONS:
        if other != poll:
            getattr(broker, other)(recorder.handler(other))
    recorder.answers[operation] = Accepted(operation="job")
    assert ask(Platform(make_app(broker)), operation, POLLS).status_code == 500
    assert f"no @{poll} handler to poll" in caplog.text


@pytest.mark.rule("R-PROV-1")
@pytest.mark.parametrize(("length", "fault"), [(0, "has 0 characters"), (10_001, "10,001")])
def test_accepted_refuses_invalid_operation_length(
    length: int,
    fault: str,
    platform: Platform,
    recorder: Recorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The constructor raises ValueError; in a handler, the request gets 500."""
    with pytest.raises(ValueError, match=fault):
        Accepted(operation="x" * length)
    recorder.answers["provision"] = lambda request: Accepted(operation="x" * length)
    assert ask(platform, "provision", POLLS).status_code == 500
    assert "pass 1 to 10,000, such as the id of a job" in caplog.text


def test_log_contains_no_credentials(
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


def test_refusal_log_names_operation_and_instance(
    platform: Platform, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="brokerkit")
    recorder.answers["provision"] = QuotaExceeded("No more than three.")
    platform.put(INSTANCE, PROVISION)
    (record,) = caplog.records
    assert record.levelname == "INFO"
    assert record.getMessage() == "Refused provision of instance 'i1' with 400: 'No more than three.'"


def test_failure_log_names_operation_and_ids(
    platform: Platform, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.answers["unbind"] = ZeroDivisionError()
    platform.delete(BINDING, query=DELETE_QUERY)
    (record,) = caplog.records
    assert record.getMessage() == "Failed to handle unbind of instance 'i1', binding 'b1'"
    assert record.exc_info


def test_returned_error_is_500_with_advice(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    """The log advises to raise the error instead of returning it."""
    broker.provision(plan="large")(lambda request: QuotaExceeded())  # type: ignore[type-var]
    response = Platform(make_app(broker)).put(INSTANCE, {**PROVISION, "plan_id": "large-id"})
    assert response.status_code == 500
    assert "returned QuotaExceeded; raise it" in caplog.text


@pytest.mark.rule("R-ERR-1")
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
def test_invalid_error_class_is_refused_at_definition(
    attributes: dict[str, Any],
) -> None:
    with pytest.raises(ValueError, match=r"Wrong|surrogates"):
        type("Wrong", (BrokerError,), attributes)


@pytest.mark.parametrize("operation", ["provision", "update", "deprovision"])
def test_error_class_with_own_constructor_is_encoded(
    operation: str, platform: Platform, recorder: Recorder
) -> None:
    """An error class need not call the constructor of its base class."""

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
def test_error_with_invalid_attribute_is_500(
    name: str, value: Any, platform: Platform, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """An attribute set to an invalid value after construction is logged and not sent."""
    recorder.answers["provision"] = QuotaExceeded()
    setattr(recorder.answers["provision"], name, value)
    response = platform.put(INSTANCE, PROVISION)
    assert response.status_code == 500
    assert "X-B" not in response.headers
    assert "raised an invalid QuotaExceeded" in caplog.text


class Cancelled(BaseException):
    """As asyncio's CancelledError and gevent's Timeout are: no Exception."""


def test_handler_base_exception_is_500(
    platform: Platform, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """Library exceptions such as CancelledError derive from BaseException and get 500 too."""
    recorder.answers["provision"] = Cancelled("secret")
    response = platform.put(INSTANCE, PROVISION)
    assert response.status_code == 500
    assert "secret" not in response.text
    assert "Cancelled" in caplog.text


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_process_exit_exceptions_propagate_from_handler(
    end: type[BaseException], platform: Platform, recorder: Recorder
) -> None:
    """KeyboardInterrupt and SystemExit are not converted into a response."""
    recorder.answers["provision"] = end()
    with pytest.raises(end):
        platform.put(INSTANCE, PROVISION)


def test_broker_error_in_app_hook_is_encoded(broker: Broker) -> None:
    app = make_app(broker)

    @app.before_request
    def closed() -> None:
        raise BrokerError("Back at six.", status=503, error="Closed")

    response = Platform(app).get("/v2/catalog")
    assert response.status_code == 503
    assert error_of(response) == {"error": "Closed", "description": "Back at six."}


@pytest.mark.rule("R-ERR-2")
def test_error_class_usability_attributes_are_encoded(platform: Platform, recorder: Recorder) -> None:
    class Broken(BrokerError):
        instance_usable = False
        update_repeatable = False

    recorder.answers["update"] = Broken()
    body = error_of(BY_OPERATION["update"].send(platform))
    assert (body["instance_usable"], body["update_repeatable"]) == (False, False)


def test_log_records_escape_line_breaks(platform: Platform, caplog: pytest.LogCaptureFixture) -> None:
    """Line breaks in ids cannot forge log lines, and long ids are shortened."""
    caplog.set_level("INFO", logger="brokerkit")
    path = f"/v2/service_instances/{'i' * 5_000}%0AERROR forged"
    platform.put(path, {**PROVISION, "plan_id": "a\nERROR forged"})
    (record,) = caplog.records
    assert "\n" not in record.getMessage()
    assert len(record.getMessage()) < 500
