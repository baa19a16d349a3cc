"""Which function serves which operation, offering and plan, and what a broker refuses to start with."""

from __future__ import annotations

import functools
import gc
import importlib.util
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from brokerkit import (
    Accepted,
    Binding,
    BindingDoesNotExist,
    BindingRequest,
    Broker,
    Catalog,
    HandlerGroup,
    InstanceDetails,
    InstanceDoesNotExist,
    LastOperation,
    NoAuth,
    Provisioned,
    ProvisionRequest,
    Schemas,
    ServiceOffering,
    ServicePlan,
    SetupError,
)

from ..support.broker import (
    HANDLERS,
    ORGANIZATION,
    PARAMETERS,
    Platform,
    Recorder,
    error_of,
    make_app,
    make_broker,
    make_offering,
)

ANSWERS: dict[str, Any] = {
    "provision": None,
    "update": None,
    "deprovision": None,
    "bind": Binding(),
    "unbind": None,
    "get_instance": InstanceDetails(),
    "get_binding": Binding(),
    "last_operation": LastOperation.succeeded(),
    "last_binding_operation": LastOperation.succeeded(),
}


def two_offerings(**fields: Any) -> Catalog:
    """`db` with the plans `small` and `large`, and `mq` with the plans `small` and `huge`."""
    mq = make_offering(
        id="mq-id",
        name="mq",
        plans=[
            ServicePlan(id="mq-small-id", name="small", description="Small"),
            ServicePlan(id="huge-id", name="huge", description="Huge"),
        ],
        **fields,
    )
    return Catalog([make_offering(**fields), mq])


DB_SMALL = {"service_id": "db-id", "plan_id": "small-id"}
DB_LARGE = {"service_id": "db-id", "plan_id": "large-id"}
MQ_SMALL = {"service_id": "mq-id", "plan_id": "mq-small-id"}
MQ_HUGE = {"service_id": "mq-id", "plan_id": "huge-id"}


class Calls:
    """Handlers that note under which name they were called."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def handler(self, name: str, operation: str = "provision") -> Callable[[Any], Any]:
        def handle(request: Any) -> Any:
            self.names.append(name)
            return ANSWERS[operation]

        handle.__qualname__ = name
        return handle

    def everything(self, group: HandlerGroup, *except_for: str) -> None:
        """Register a handler for each operation, for all plans."""
        for operation in HANDLERS:
            if operation not in except_for:
                getattr(group, operation)(self.handler(operation, operation))


@pytest.fixture
def calls() -> Calls:
    return Calls()


def bare_broker(catalog: Catalog | None = None) -> Broker:
    return Broker(catalog or two_offerings(), auth=NoAuth())


def send(platform: Platform, operation: str, ids: dict[str, str], **more: Any) -> TestResponse:
    instance, query = "/v2/service_instances/i1", "&".join(f"{k}={v}" for k, v in ids.items())
    binding = f"{instance}/service_bindings/b1"
    method, path = {
        "provision": ("PUT", instance),
        "update": ("PATCH", instance),
        "deprovision": ("DELETE", instance),
        "bind": ("PUT", binding),
        "unbind": ("DELETE", binding),
        "get_instance": ("GET", instance),
        "get_binding": ("GET", binding),
        "last_operation": ("GET", f"{instance}/last_operation"),
        "last_binding_operation": ("GET", f"{binding}/last_operation"),
    }[operation]
    if method in ("PUT", "PATCH"):
        return platform.send(method, path, {**ids, **ORGANIZATION}, **more)
    return platform.send(method, path, query=query, **more)


# Decorators


@pytest.mark.parametrize("operation", HANDLERS)
@pytest.mark.parametrize("make", [bare_broker, HandlerGroup, lambda: HandlerGroup(offering="db")])
def test_decorator_returns_function_unchanged(operation: str, make: Callable[[], HandlerGroup]) -> None:
    """Each decorator works bare and with arguments and returns the function itself."""

    def handle(request: object) -> None: ...

    group = make()
    decorator = getattr(group, operation)
    assert decorator(handle) is handle
    assert decorator()(handle) is handle
    assert decorator(offering="db")(handle) is handle
    assert decorator(plan="large")(handle) is handle
    assert decorator(offering="db", plan="large")(handle) is handle
    assert [handler.function for handler in group.handlers] == [handle] * 5


@pytest.mark.parametrize("operation", HANDLERS)
def test_decorated_handler_serves_its_operation(operation: str, calls: Calls) -> None:
    broker = bare_broker()
    calls.everything(broker)
    response = send(Platform(make_app(broker)), operation, DB_SMALL)
    assert response.status_code in (200, 201)
    assert calls.names == [operation]


def test_function_may_serve_several_operations(
    recorder: Recorder,
) -> None:
    """The decorated function can still be called directly."""
    group = HandlerGroup()

    @group.deprovision
    @group.unbind
    def gone(request: Any) -> None:
        recorder.requests.append(request)

    gone("by hand")
    assert recorder.requests == ["by hand"]
    assert len(group.handlers) == 2


def test_handler_can_be_called_without_flask() -> None:
    offering = make_offering()

    @bare_broker().provision
    def provision(request: ProvisionRequest) -> Provisioned:
        return Provisioned(dashboard_url=f"https://{request.plan.name}/{request.parameters}")

    request = ProvisionRequest(instance_id="i1", offering=offering, plan=offering.plans[0])
    assert provision(request) == Provisioned(dashboard_url="https://small/{}")


@pytest.mark.parametrize("given", ["small", 7, object()])
def test_decorator_positional_argument_raises_type_error(given: Any) -> None:
    """The error advises to use `offering=` or `plan=`."""
    with pytest.raises(TypeError, match=r"@provision\(.*offering= or plan="):
        bare_broker().provision(given)


@pytest.mark.parametrize("given", [{"offerings": "db"}, {"plans": "small"}])
def test_decorator_unknown_keyword_raises_type_error(given: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        bare_broker().provision(**given)


# The most specific wins


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("operation", HANDLERS)
@pytest.mark.parametrize(("offering", "plan"), [("db", "large"), ("db-id", "large-id"), ("db", "large-id")])
def test_most_specific_handler_is_called(
    operation: str, offering: str, plan: str, backwards: bool, calls: Calls
) -> None:
    """The order of registration does not matter."""
    broker = bare_broker()
    calls.everything(broker, operation)
    registrations: list[tuple[str, dict[str, str]]] = [
        ("all", {}),
        ("offering", {"offering": offering}),
        ("plan", {"plan": plan}),
        ("offering and plan", {"offering": "mq", "plan": "small"}),
    ]
    for name, only in reversed(registrations) if backwards else registrations:
        getattr(broker, operation)(**only)(calls.handler(name, operation))
    platform = Platform(make_app(broker))
    for ids in (MQ_HUGE, DB_SMALL, DB_LARGE, MQ_SMALL):
        assert send(platform, operation, ids).status_code in (200, 201)
    assert calls.names == ["all", "offering", "plan", "offering and plan"]


def test_ambiguous_plan_name_requires_offering(calls: Calls) -> None:
    """A plan name used by two offerings raises SetupError unless the decorator names the offering."""
    broker = bare_broker()
    calls.everything(broker)
    broker.provision(plan="small")(calls.handler("small"))
    with pytest.raises(SetupError, match=r"is for the plan 'small', which exists in"):
        make_app(broker)


def test_ambiguous_offering_id_and_name_is_error(
    calls: Calls,
) -> None:
    """A decorator refuses a value that is the id of one offering and the name of another."""
    plans = [ServicePlan(id="q", name="q", description="d")]
    catalog = Catalog([plain_offering(id="mq", name="db"), plain_offering(id="x", name="mq", plans=plans)])
    broker = bare_broker(catalog)
    calls.everything(broker)
    broker.provision(offering="mq")(calls.handler("mq"))
    with pytest.raises(SetupError, match="'mq'"):
        make_app(broker)


def test_update_uses_handler_of_target_plan(calls: Calls) -> None:
    broker = bare_broker()
    calls.everything(broker, "update")
    broker.update(plan="large")(calls.handler("large", "update"))
    broker.update(calls.handler("other", "update"))
    platform = Platform(make_app(broker))
    path = "/v2/service_instances/i1"
    previous = {"previous_values": {"plan_id": "small-id"}}
    platform.patch(path, {"service_id": "db-id", "plan_id": "large-id", **previous})
    platform.patch(path, {"service_id": "db-id", "parameters": {}, **previous})
    assert calls.names == ["large", "other"]


# Groups


def test_group_offering_is_default_for_handlers(calls: Calls) -> None:
    """A handler's own `offering=` overrides the offering of its group."""
    broker, group = bare_broker(), HandlerGroup(offering="mq")
    calls.everything(broker)
    group.provision(calls.handler("mq"))
    group.provision(plan="small")(calls.handler("mq small"))
    group.provision(offering="db", plan="large")(calls.handler("db large"))
    broker.include(group)
    platform = Platform(make_app(broker))
    for ids in (DB_SMALL, DB_LARGE, MQ_SMALL, MQ_HUGE):
        send(platform, "provision", ids)
    assert calls.names == ["provision", "db large", "mq small", "mq"]


def test_group_accepts_handlers_after_include(calls: Calls) -> None:
    broker, group = bare_broker(), HandlerGroup()
    broker.include(group)
    calls.everything(group)
    assert send(Platform(make_app(broker)), "provision", DB_SMALL).status_code == 201


def test_group_may_serve_two_brokers(calls: Calls) -> None:
    group, brokers = HandlerGroup(), (bare_broker(), bare_broker())
    calls.everything(group)
    for broker in brokers:
        broker.include(group)
    for broker in brokers:
        assert send(Platform(make_app(broker)), "provision", DB_SMALL).status_code == 201
    assert calls.names == ["provision"] * 2


def test_include_refuses_group_twice() -> None:
    broker, group = bare_broker(), HandlerGroup()
    broker.include(group)
    with pytest.raises(ValueError, match="already included"):
        broker.include(group)


def test_include_refuses_broker() -> None:
    broker = bare_broker()
    for other in (broker, bare_broker()):
        with pytest.raises(TypeError, match="put its handlers into a HandlerGroup"):
            broker.include(other)


def test_broker_handlers_include_group_handlers(calls: Calls) -> None:
    broker, group = bare_broker(), HandlerGroup()
    broker.include(group)
    broker.provision(calls.handler("own"))
    group.bind(calls.handler("of the group", "bind"))
    assert [handler.function.__qualname__ for handler in broker.handlers] == ["own", "of the group"]


@pytest.mark.parametrize("keyword", ["offering", "service"])
@pytest.mark.parametrize("value", [make_offering(), "", 7])
def test_group_refuses_invalid_offering_argument(keyword: str, value: Any) -> None:
    with pytest.raises(TypeError, match=rf"HandlerGroup\({keyword}=…\) takes a name or an id"):
        HandlerGroup(**{keyword: value})


@pytest.mark.parametrize("operation", HANDLERS)
def test_service_keyword_is_accepted_as_offering(operation: str, calls: Calls) -> None:
    """The wire's word is accepted by every decorator and by HandlerGroup."""
    groups = (HandlerGroup(service="db"), HandlerGroup())
    getattr(groups[0], operation)(calls.handler("group"))
    getattr(groups[1], operation)(service="mq")(calls.handler("decorator"))
    getattr(groups[1], operation)(service="mq", plan="huge")(calls.handler("decorator and plan"))
    registered = [(handler.offering, handler.plan) for group in groups for handler in group.handlers]
    assert registered == [("db", None), ("mq", None), ("mq", "huge")]


@pytest.mark.parametrize("where", ["HandlerGroup", *HANDLERS])
def test_both_offering_and_service_raise_type_error(where: str) -> None:
    """Both spellings are refused even if they name the same offering."""
    function: Any = HandlerGroup if where == "HandlerGroup" else getattr(HandlerGroup(), where)
    with pytest.raises(TypeError, match=rf"{where}: offering= and service= are two names of one argument"):
        function(offering="db", service="db")


@pytest.mark.parametrize("named", [True, False])
def test_update_without_known_plan_is_400(named: bool, calls: Calls) -> None:
    """If the handlers differ per plan and the request names none, no handler is called."""
    broker = bare_broker()
    calls.everything(broker, "update")
    broker.update(plan="large")(calls.handler("large", "update"))
    broker.update(calls.handler("general", "update"))
    plan = {"plan_id": "large-id"} if named else {}
    response = send(Platform(make_app(broker)), "update", {"service_id": "db-id", **plan})
    assert response.status_code == (200 if named else 400)
    assert calls.names == (["large"] if named else [])


# Too late


def test_registering_after_blueprint_raises_runtime_error(calls: Calls) -> None:
    """Neither the broker nor its groups accept handlers after the blueprint is registered."""
    broker, group = bare_broker(), HandlerGroup()
    calls.everything(broker, "update")
    broker.include(group)
    group.update(calls.handler("update", "update"))
    make_app(broker)
    for owner in (broker, group):
        with pytest.raises(RuntimeError, match=r"'late'.* is registered too late"):
            owner.provision(plan="large")(calls.handler("late"))
    with pytest.raises(RuntimeError, match="too late"):
        broker.include(HandlerGroup())


def test_broker_may_be_completed_after_setup_error(calls: Calls) -> None:
    broker = bare_broker()
    calls.everything(broker, "bind")
    with pytest.raises(SetupError):
        make_app(broker)
    broker.bind(calls.handler("bind", "bind"))
    assert send(Platform(make_app(broker)), "bind", DB_SMALL).status_code == 201


# The check at the start


def plain_offering(plan: dict[str, Any] | None = None, **fields: Any) -> ServiceOffering:
    """An offering that promises nothing but to be ordered."""
    return ServiceOffering(
        **{
            "id": "s",
            "name": "s",
            "description": "d",
            "bindable": False,
            "plans": [ServicePlan(**{"id": "p", "name": "p", "description": "d", **(plan or {})})],
            **fields,
        }
    )


def faults_of(broker: Broker) -> list[str]:
    """The faults, without the places of the functions in this file."""
    with pytest.raises(SetupError) as caught:
        make_app(broker)
    assert all(fault in str(caught.value) for fault in caught.value.faults)
    return [fault.partition(" (/")[0] for fault in caught.value.faults]


WHERE = "services[0].plans[0] ('s', 'p')"


@pytest.mark.parametrize(
    ("offering", "missing", "fault"),
    [
        (plain_offering(), "provision", "can be provisioned"),
        (plain_offering(), "deprovision", "can be provisioned"),
        (plain_offering(bindable=True), "bind", "is bindable"),
        (plain_offering(bindable=True), "unbind", "is bindable"),
        (plain_offering({"bindable": True}), "bind", "is bindable"),
        (
            plain_offering(bindable=True, bindings_retrievable=True),
            "get_binding",
            "belongs to an offering with bindings_retrievable",
        ),
        (
            plain_offering(instances_retrievable=True),
            "get_instance",
            "belongs to an offering with instances_retrievable",
        ),
        (plain_offering(plan_updateable=True), "update", "is plan_updateable"),
        (plain_offering({"plan_updateable": True}), "update", "is plan_updateable"),
        (
            plain_offering(allow_context_updates=True),
            "update",
            "belongs to an offering with allow_context_updates",
        ),
        (
            plain_offering({"schemas": Schemas.of(update=PARAMETERS)}),
            "update",
            "has a schema for updates",
        ),
    ],
)
def test_missing_required_handler_is_setup_error(
    offering: ServiceOffering, missing: str, fault: str, calls: Calls
) -> None:
    """Each capability in the catalog requires its handlers."""
    broker = bare_broker(Catalog([offering]))
    calls.everything(broker, missing)
    assert faults_of(broker) == [f"{WHERE} {fault}, but no @{missing} handler serves it"]


@pytest.mark.parametrize(
    ("offering", "unneeded"),
    [
        (plain_offering(), {"update", "bind", "unbind", "get_instance", "get_binding"}),
        (plain_offering({"bindable": False}, bindable=True), {"bind", "unbind", "get_binding"}),
        (plain_offering(bindings_retrievable=True), {"get_binding"}),
        (plain_offering({"plan_updateable": False}, plan_updateable=True), {"update"}),
        (plain_offering({"schemas": Schemas.of(create=PARAMETERS)}), {"update"}),
    ],
)
def test_handlers_without_catalog_capability_are_optional(
    offering: ServiceOffering, unneeded: set[str], calls: Calls
) -> None:
    broker = bare_broker(Catalog([offering]))
    calls.everything(broker, *unneeded, "last_operation", "last_binding_operation")
    assert make_app(broker).blueprints


def test_plan_without_handler_is_setup_error(
    calls: Calls,
) -> None:
    """A plan needs a specific or a general handler."""
    broker = bare_broker()
    calls.everything(broker, "provision")
    broker.provision(offering="db", plan="small")(calls.handler("small"))
    broker.provision(offering="mq")(calls.handler("mq"))
    assert faults_of(broker) == [
        "services[0].plans[1] ('db', 'large') can be provisioned, but no @provision handler serves it"
    ]


@pytest.mark.parametrize(
    ("only", "fault"),
    [
        ({"offering": "nope"}, "is for the offering 'nope', which is not in the catalog"),
        ({"offering": "nope", "plan": "small"}, "the offering 'nope', which is not in the catalog"),
        ({"plan": "nope"}, "is for the plan 'nope', which is not in the catalog"),
        ({"offering": "db", "plan": "huge"}, "'huge', which is not part of the offering 'db'"),
        ({"plan": "small"}, "which exists in 'db' and 'mq'; add offering="),
    ],
)
def test_unknown_offering_or_plan_is_setup_error(only: dict[str, str], fault: str, calls: Calls) -> None:
    """The error names the unknown offering or plan and the location of the handler."""
    broker = bare_broker()
    calls.everything(broker)
    broker.provision(**only)(calls.handler("one"))
    with pytest.raises(SetupError) as caught:
        make_app(broker)
    assert fault in str(caught.value)
    assert f"({__file__}:" in str(caught.value)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({}, {}),
        ({"offering": "db"}, {"offering": "db"}),
        ({"offering": "db"}, {"offering": "db-id"}),
        ({"plan": "large"}, {"plan": "large-id"}),
        ({"offering": "db", "plan": "small"}, {"offering": "db-id", "plan": "small-id"}),
    ],
)
def test_duplicate_handlers_are_setup_error(one: dict[str, str], two: dict[str, str], calls: Calls) -> None:
    broker, group = bare_broker(), HandlerGroup()
    calls.everything(broker, "provision")
    if one:
        broker.provision(calls.handler("general"))
    broker.provision(**one)(calls.handler("one"))
    group.provision(**two)(calls.handler("two"))
    broker.include(group)
    with pytest.raises(SetupError, match=r"'one'.* and the provision handler 'two'.*keep one") as caught:
        make_app(broker)
    assert len(caught.value.faults) == 1


def _no_argument() -> None: ...
def _two_arguments(request: object, more: object) -> None: ...
def _by_keyword(*, request: object) -> None: ...


@pytest.mark.parametrize("function", [_no_argument, _two_arguments, _by_keyword])
def test_handler_with_wrong_signature_is_setup_error(function: Any, calls: Calls) -> None:
    """A handler must accept exactly one positional argument, the request."""
    broker = bare_broker()
    calls.everything(broker, "provision")
    broker.provision(function)
    with pytest.raises(SetupError) as caught:
        make_app(broker)
    (fault,) = caught.value.faults
    assert fault.startswith(f"the provision handler {function.__name__!r} (")
    assert fault.endswith(" must take one argument, the request")


def _with_a_default(request: object, more: int = 1) -> None: ...


class _Object:
    def __call__(self, request: object) -> None: ...

    def method(self, request: object) -> None: ...

    @staticmethod
    def static(request: object) -> None: ...


@pytest.mark.parametrize(
    "function",
    [
        _with_a_default,
        _Object(),
        _Object().method,
        _Object.static,
        functools.partial(_two_arguments, more=1),
        lambda *anything: None,
        print,
    ],
)
def test_any_single_argument_callable_is_accepted(function: Any, calls: Calls) -> None:
    broker = bare_broker()
    calls.everything(broker, "provision")
    broker.provision(function)
    assert send(Platform(make_app(broker)), "provision", DB_SMALL).status_code == 201


def test_callable_without_signature_is_accepted(calls: Calls) -> None:
    """A callable without an inspectable signature is not checked."""
    with pytest.raises(ValueError, match="signature"):
        inspect.signature(min)
    broker = bare_broker()
    calls.everything(broker, "provision")
    broker.provision(min)  # type: ignore[type-var]
    make_app(broker)


def test_setup_error_lists_all_errors(calls: Calls) -> None:
    broker = bare_broker(Catalog([plain_offering(bindable=True)]))
    broker.provision(plan="nope")(calls.handler("unknown plan"))
    broker.update(offering="nope")(calls.handler("unknown offering"))
    broker.deprovision(calls.handler("one"))
    broker.deprovision(calls.handler("two"))
    broker.unbind(_no_argument)  # type: ignore[type-var]
    with pytest.raises(SetupError) as caught:
        make_app(broker)
    text = str(caught.value)
    assert len(caught.value.faults) == 6
    for part in (
        "'unknown plan'",
        "'unknown offering'",
        "the deprovision handler 'two'",
        "must take one argument",
        "no @provision handler",
        "no @bind handler",
    ):
        assert part in text


def test_setup_check_runs_once_per_broker(calls: Calls) -> None:
    """Registering the same blueprint again is allowed; an incomplete second broker is refused."""
    broker = bare_broker()
    calls.everything(broker)
    app = make_app(broker)
    app.register_blueprint(broker.blueprint, url_prefix="/again")
    with pytest.raises(SetupError):
        app.register_blueprint(bare_broker().blueprint, url_prefix="/incomplete")


# Async


@pytest.mark.parametrize("operation", HANDLERS)
def test_async_handler_is_awaited(operation: str, calls: Calls) -> None:
    broker = bare_broker()
    calls.everything(broker, operation)

    @getattr(broker, operation)  # type: ignore[untyped-decorator]
    async def handle(request: Any) -> Any:
        calls.names.append(request.instance_id)
        return ANSWERS[operation]

    response = send(Platform(make_app(broker)), operation, DB_SMALL)
    assert response.status_code in (200, 201)
    assert calls.names == ["i1"]


async def _provision(request: ProvisionRequest) -> Provisioned:
    return Provisioned()


class _AsyncObject:
    async def __call__(self, request: ProvisionRequest) -> Provisioned:
        return Provisioned()

    async def method(self, request: ProvisionRequest) -> Provisioned:
        return Provisioned()


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(_AsyncObject().method, id="method"),
        pytest.param(functools.partial(_provision), id="partial"),
        pytest.param(functools.wraps(_provision)(lambda request: _provision(request)), id="wrapper"),
        pytest.param(lambda request: _provision(request), id="lambda"),
        pytest.param(_AsyncObject(), id="object"),
    ],
)
def test_any_awaitable_returning_callable_is_awaited(
    function: Any, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    """The decorator types accept every callable that returns an awaitable."""
    caplog.set_level("CRITICAL", logger="brokerkit")  # a record would keep what was not awaited
    broker = bare_broker()
    calls.everything(broker, "provision")
    broker.provision(function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a coroutine that was not awaited, where this fails
        response = send(Platform(make_app(broker)), "provision", DB_SMALL)
        gc.collect()
    assert response.status_code == 201


def test_async_handler_exception_is_500(calls: Calls, caplog: pytest.LogCaptureFixture) -> None:
    broker = bare_broker()
    calls.everything(broker, "provision")

    @broker.provision
    async def provision(request: ProvisionRequest) -> Provisioned:
        raise LookupError("no such disk")

    response = send(Platform(make_app(broker)), "provision", DB_SMALL)
    assert response.status_code == 500
    assert "no such disk" not in response.text
    assert "no such disk" in caplog.text


def test_async_handler_without_asgiref_is_setup_error(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the package to install."""
    broker = bare_broker()
    calls.everything(broker, "provision")

    @broker.provision
    async def provision(request: ProvisionRequest) -> Provisioned:
        return Provisioned()

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name == "asgiref" else find(name, *more),
    )
    with pytest.raises(
        SetupError, match=r"is async, which needs the extra 'async': pip install 'osb-brokerkit\[async\]'"
    ):
        make_app(broker)


# What the platform does not say


POLLS = ("last_operation", "last_binding_operation")


@pytest.mark.rule("R-GETI", "R-GETB")
@pytest.mark.parametrize("operation", ["get_instance", "get_binding", *POLLS])
@pytest.mark.parametrize(
    "hints",
    [
        {},
        {"service_id": "gone"},
        {"plan_id": "gone"},
        {"service_id": "db-id", "plan_id": "gone"},
        {"service_id": "gone", "plan_id": "gone"},
        {"service_id": "mq-id", "plan_id": "small-id"},
        {"service_id": "", "plan_id": ""},
    ],
)
def test_single_handler_serves_any_hints(operation: str, hints: dict[str, str], recorder: Recorder) -> None:
    """A fetch or poll with missing, unknown or contradictory hints reaches the only handler."""
    platform = Platform(make_app(make_broker(recorder, catalog=two_offerings())))
    assert send(platform, operation, hints).status_code == 200
    assert recorder.request.plan is None


@pytest.mark.parametrize("operation", ["get_instance", "get_binding", *POLLS])
def test_plan_hint_determines_offering(operation: str, recorder: Recorder) -> None:
    platform = Platform(make_app(make_broker(recorder, catalog=two_offerings())))
    assert send(platform, operation, {"plan_id": "huge-id"}).status_code == 200
    assert recorder.request.plan.name == "huge"
    assert recorder.request.offering.name == "mq"


@pytest.mark.parametrize("operation", ["get_instance", "get_binding", *POLLS])
def test_offering_hint_selects_offering_handler(operation: str, calls: Calls) -> None:
    broker = bare_broker()
    calls.everything(broker, operation)
    for offering in ("db", "mq"):
        getattr(broker, operation)(offering=offering)(calls.handler(offering, operation))
    platform = Platform(make_app(broker))
    assert send(platform, operation, {"service_id": "mq-id"}).status_code == 200
    assert send(platform, operation, {"service_id": "db-id", "plan_id": "gone"}).status_code == 200
    assert calls.names == ["mq", "db"]


@pytest.mark.parametrize("operation", ["get_instance", "get_binding", *POLLS])
@pytest.mark.parametrize("hints", [{}, {"service_id": "db-id"}])
def test_ambiguous_hints_use_general_handler(operation: str, hints: dict[str, str], calls: Calls) -> None:
    broker = bare_broker()
    calls.everything(broker)
    getattr(broker, operation)(plan="large")(calls.handler("large", operation))
    platform = Platform(make_app(broker))
    assert send(platform, operation, hints).status_code == 200
    assert calls.names == [operation]


@pytest.mark.parametrize("operation", ["get_instance", "get_binding", *POLLS])
def test_ambiguous_hints_try_each_handler(operation: str, calls: Calls) -> None:
    """The handlers are called in turn until one knows the resource."""
    broker = bare_broker()
    calls.everything(broker, operation)

    def not_mine(request: BindingRequest) -> None:
        calls.names.append("db")
        raise BindingDoesNotExist if "binding" in operation else InstanceDoesNotExist

    getattr(broker, operation)(offering="db")(not_mine)
    getattr(broker, operation)(offering="mq")(calls.handler("mq", operation))
    assert send(Platform(make_app(broker)), operation, {}).status_code == 200
    assert calls.names == ["db", "mq"]


@pytest.mark.rule("R-GETI", "R-GETB", "R-LAST-3")
@pytest.mark.parametrize("operation", ["get_instance", "get_binding", *POLLS])
def test_ambiguous_hints_without_match_is_404(
    operation: str,
) -> None:
    """If no handler knows the resource, the response is 404."""
    broker = bare_broker()
    Calls().everything(broker, operation)

    def not_mine(request: BindingRequest) -> None:
        raise InstanceDoesNotExist

    for offering in ("db", "mq"):
        getattr(broker, operation)(offering=offering)(not_mine)
    response = send(Platform(make_app(broker)), operation, {})
    assert response.status_code == 404
    assert error_of(response)["error"] == "InstanceDoesNotExist"


def test_ambiguous_update_calls_no_handler(calls: Calls) -> None:
    """An update with several possible handlers gets 400 and names `previous_values.plan_id`."""
    broker = bare_broker()
    calls.everything(broker, "update")
    for plan in ("large", "huge"):
        broker.update(plan=plan)(calls.handler(plan, "update"))
    broker.update(plan="small-id")(calls.handler("small", "update"))
    broker.update(plan="mq-small-id")(calls.handler("mq-small", "update"))
    response = send(Platform(make_app(broker)), "update", {"service_id": "db-id"})
    assert response.status_code == 400
    assert error_of(response)["description"].startswith("previous_values.plan_id: ")
    assert not calls.names


# Operations without a handler


@pytest.mark.rule("R-UPD-3", "R-GETI", "R-GETB", "R-LAST-4")
@pytest.mark.parametrize(
    ("operation", "status", "word"),
    [
        ("update", 422, "UpdateNotSupported"),
        ("get_instance", 404, "FetchNotSupported"),
        ("get_binding", 404, "FetchNotSupported"),
        ("last_operation", 400, "UnknownOperation"),
        ("last_binding_operation", 400, "UnknownOperation"),
    ],
)
def test_operation_without_handler_is_refused(operation: str, status: int, word: str, calls: Calls) -> None:
    broker = bare_broker(Catalog([plain_offering(bindable=True)]))
    for needed in ("provision", "deprovision", "bind", "unbind"):
        getattr(broker, needed)(calls.handler(needed, needed))
    response = send(Platform(make_app(broker)), operation, {"service_id": "s", "plan_id": "p"})
    assert response.status_code == status
    assert error_of(response)["error"] == word


@pytest.mark.rule("R-GETI", "R-GETB")
@pytest.mark.parametrize(
    ("field", "operation"),
    [("instances_retrievable", "get_instance"), ("bindings_retrievable", "get_binding")],
)
def test_fetch_of_unretrievable_offering_is_404(field: str, operation: str, calls: Calls) -> None:
    broker = bare_broker(two_offerings(**{field: False}))
    calls.everything(broker)
    assert send(Platform(make_app(broker)), operation, DB_SMALL).status_code == 404
    assert not calls.names


@pytest.mark.parametrize(
    ("operation", "poll"),
    [
        ("provision", "last_operation"),
        ("update", "last_operation"),
        ("deprovision", "last_operation"),
        ("bind", "last_binding_operation"),
        ("unbind", "last_binding_operation"),
    ],
)
def test_accepted_without_poll_handler_is_500(
    operation: str, poll: str, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the missing handler."""
    broker = bare_broker()
    calls.everything(broker, operation, poll)
    getattr(broker, operation)(lambda request: Accepted(operation="job"))
    ids = {**DB_SMALL, "accepts_incomplete": "true"}
    more = {"query": "accepts_incomplete=true"} if operation in ("provision", "update", "bind") else {}
    response = send(Platform(make_app(broker)), operation, ids, **more)
    assert response.status_code == 500
    assert f"returned Accepted, but there is no @{poll} handler to poll" in caplog.text


# Invalid arguments


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"plan": ["small"]}, r"@provision\(plan=…\) takes a name or an id, not a list"),
        (
            {"offering": make_offering()},
            r"@provision\(offering=…\) takes a name or an id, not a ServiceOffering",
        ),
        ({"plans": "small"}, r"provision\(\) got an unexpected keyword argument 'plans'"),
    ],
)
def test_decorator_refuses_invalid_argument_types(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        bare_broker().provision(**options)


def test_include_refuses_other_types() -> None:
    with pytest.raises(TypeError, match="takes a HandlerGroup, not a module"):
        bare_broker().include(functools)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("only", "hint"),
    [
        ({"plan": "hug"}, "which is not in the catalog; did you mean 'huge'?"),
        ({"offering": "mqq"}, "which is not in the catalog; did you mean 'mq'?"),
        ({"offering": "mq", "plan": "smal"}, "which is not part of the offering 'mq'; did you mean 'small'?"),
    ],
)
def test_unknown_name_error_suggests_similar_name(only: dict[str, str], hint: str, calls: Calls) -> None:
    broker = bare_broker()
    calls.everything(broker)
    broker.provision(**only)(calls.handler("misspelt"))
    with pytest.raises(SetupError) as caught:
        make_app(broker)
    (fault,) = caught.value.faults
    assert fault.endswith(hint)


def test_class_as_handler_is_setup_error(calls: Calls) -> None:
    broker = bare_broker()
    calls.everything(broker, "provision")
    broker.provision(Calls)  # type: ignore[type-var]
    with pytest.raises(SetupError, match="is a class; register a function"):
        make_app(broker)


def test_partial_is_named_by_wrapped_function(calls: Calls) -> None:
    """Error messages use the name and location of the function inside a partial."""
    broker = bare_broker()
    calls.everything(broker, "provision")
    broker.provision(functools.partial(_two_arguments))
    with pytest.raises(SetupError, match=r"'_two_arguments' \(.*test_group.py:\d+\) must take one"):
        make_app(broker)
