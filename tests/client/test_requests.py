"""Tests of the client's methods with brokers of each kind, and of the requests that it sends."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from brokerkit import (
    Accepted,
    Binding,
    BindResource,
    Deprovisioned,
    InstanceDetails,
    LastOperation,
    MaintenanceInfo,
    Provisioned,
    Unbound,
    Updated,
)
from brokerkit.client.client import BrokerClient, BrokerRefused
from brokerkit.client.exchange import Exchange
from brokerkit.client.platforms import Platform, cloudfoundry, korifi, kubernetes

from ..server.test_traffic import Line, lines_of
from ..support.broker import Recorder
from ..support.fake_broker import FakeBroker, respond, serve_app
from .conftest import BROKER_KINDS, LARGE, OFFERING, SMALL, BrokerKind, broker_app, make_client


@pytest.fixture(params=BROKER_KINDS)
def kind(request: pytest.FixtureRequest) -> BrokerKind:
    return BROKER_KINDS[request.param]


@pytest.fixture
def client(kind: BrokerKind, recorder: Recorder, tmp_path: Path) -> Iterator[BrokerClient]:
    with broker_app(kind, recorder, tmp_path) as app:
        yield make_client(app)


def wait_for(client: BrokerClient, result: Any, *ids: str, deleting: bool = False) -> Any:
    """Wait for an accepted operation. Return other results as they are."""
    if not isinstance(result, Accepted):
        return result
    assert result.operation
    return client.wait(
        *ids,
        operation=result.operation,
        offering=OFFERING,
        plan=SMALL,
        deleting=deleting,
        sleep=lambda seconds: None,
    )


def test_every_operation_returns_the_handler_result(client: BrokerClient, kind: BrokerKind) -> None:
    """Each client method returns the typed result of its handler, for each kind of broker."""
    offering = client.catalog().services[0]
    small, large = offering.plans
    assert (offering.name, small.name, large.name) == ("db", "small", "large")

    provisioned = client.provision("i1", offering, small, parameters={"size": 3})
    assert type(provisioned) is (Accepted if kind.needs_polling else Provisioned)
    if isinstance(provisioned, Provisioned):
        assert provisioned.dashboard_url == "https://db.example.org/i1"
        assert not provisioned.exists
    wait_for(client, provisioned, "i1")
    assert client.get_instance("i1", offering=offering, plan=small).plan_id == "small-id"

    bound = client.bind("i1", "b1", offering, small, app_guid="a1")
    assert type(bound) is (Accepted if kind.needs_polling else Binding)
    wait_for(client, bound, "i1", "b1")
    binding = client.get_binding("i1", "b1", offering=offering, plan=small)
    assert binding.credentials == {"uri": "db://secret"}

    unbound = client.unbind("i1", "b1", offering, small)
    assert type(unbound) is (Accepted if kind.needs_polling else Unbound)
    wait_for(client, unbound, "i1", "b1", deleting=True)

    updated = client.update("i1", offering, plan=large, previous_values={"plan_id": "small-id"})
    assert type(updated) is (Accepted if kind.needs_polling else Updated)
    assert wait_for(client, updated, "i1") is not None

    deprovisioned = client.deprovision("i1", offering, large)
    assert type(deprovisioned) is (Accepted if kind.needs_polling else Deprovisioned)
    wait_for(client, deprovisioned, "i1", deleting=True)


@pytest.mark.rule("R-UNB-1", "R-DEL-1")
@pytest.mark.parametrize("kind", ["store, synchronous"], indirect=True)
def test_repeated_delete_succeeds(client: BrokerClient) -> None:
    """A 410 of a second deprovision or unbind counts as success."""
    assert isinstance(client.provision("i1", OFFERING, SMALL), Provisioned)
    for _ in range(2):
        assert client.deprovision("i1", OFFERING, SMALL) == Deprovisioned()
    assert client.unbind("i1", "b1", OFFERING, SMALL) == Unbound()


@pytest.mark.rule("R-PROV-3", "R-BIND-1")
@pytest.mark.parametrize("kind", ["store, synchronous"], indirect=True)
def test_existing_resource_is_distinguished_from_new(client: BrokerClient) -> None:
    """A repeated provision or bind returns the existing resource with `exists` set."""
    first, second = (client.provision("i1", OFFERING, SMALL) for _ in range(2))
    assert isinstance(first, Provisioned)
    assert isinstance(second, Provisioned)
    assert (first.exists, second.exists) == (False, True)
    third, fourth = (client.bind("i1", "b1", OFFERING, SMALL) for _ in range(2))
    assert isinstance(third, Binding)
    assert isinstance(fourth, Binding)
    assert (third.exists, fourth.exists) == (False, True)


@pytest.mark.rule("R-REQ-9")
@pytest.mark.parametrize("kind", ["asynchronous"], indirect=True)
def test_client_without_polling_omits_accepts_incomplete(client: BrokerClient, recorder: Recorder) -> None:
    recorder.answers["provision"] = None
    client.provision("i1", OFFERING, SMALL, accepts_incomplete=False)
    assert recorder.request.accepts_incomplete is False


@pytest.mark.parametrize("kind", ["asynchronous"], indirect=True)
def test_operation_value_round_trips_in_polls(client: BrokerClient, recorder: Recorder) -> None:
    operation = "a b&c=d/é%2F+"
    result = client.last_operation("i1", operation=operation, offering=OFFERING, plan=SMALL)
    assert result == LastOperation.succeeded()
    result = client.last_binding_operation("i1", "b1", operation=operation, offering=OFFERING, plan=SMALL)
    assert [request.operation for request in recorder.requests] == [operation, operation]


IDS = ["a/b", "50%", "%2F", "übung", "a b", "a+b", "?x=1", "#1", "i;v=2", "a\\b", "..b", "日本", "😀", "~.-_"]


@pytest.mark.integration
@pytest.mark.parametrize("server", ["werkzeug", "waitress"])
def test_ids_round_trip_with_any_characters(server: str, recorder: Recorder, tmp_path: Path) -> None:
    with (
        broker_app(BROKER_KINDS["store, synchronous"], recorder, tmp_path) as app,
        serve_app(app, server) as url,
    ):
        client = make_client(url)
        for instance_id in IDS:
            client.provision(instance_id, OFFERING, SMALL)
            client.bind(instance_id, instance_id, OFFERING, SMALL)
            assert client.get_binding(instance_id, instance_id).credentials
    assert [request.instance_id for request in recorder.requests[::2]] == IDS
    assert [request.binding_id for request in recorder.requests[1::2]] == IDS


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_invalid_path_id_is_rejected_before_sending(name: str, fake: FakeBroker) -> None:
    client = make_client(fake)
    with pytest.raises(ValueError, match=r"instance_id=.* cannot be part of a path"):
        client.get_instance(name)
    with pytest.raises(ValueError, match=r"binding_id=.* cannot be part of a path"):
        client.get_binding("i1", name)
    assert not fake.requests


@pytest.mark.integration
def test_client_is_thread_safe(recorder: Recorder, tmp_path: Path) -> None:
    """One client serves concurrent threads, and each request has its own request identity."""
    seen: list[Exchange] = []
    with (
        broker_app(BROKER_KINDS["synchronous"], recorder, tmp_path) as app,
        serve_app(app, "waitress") as url,
    ):
        client = make_client(url, observe=seen.append)

        def work(number: int) -> str | None:
            assert client.catalog().services
            client.provision(f"i{number}", OFFERING, SMALL, parameters={"size": number % 9})
            return client.get_instance(f"i{number}").service_id

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(work, range(24))) == {"db-id"}
    assert len(seen) == 3 * 24
    assert len({exchange.headers["X-Broker-API-Request-Identity"] for exchange in seen}) == 3 * 24


# The requests that the client sends


def test_client_omits_unset_arguments(fake: FakeBroker) -> None:
    client = make_client(fake)
    client.provision("i1", "s", "p")
    client.update("i1", "s")
    client.bind("i1", "b1", "s", "p")
    client.get_instance("i1")
    client.unbind("i1", "b1", "s", "p", accepts_incomplete=False)
    assert [str(request) for request in fake.requests] == [
        "PUT /v2/service_instances/i1?accepts_incomplete=true",
        "PATCH /v2/service_instances/i1?accepts_incomplete=true",
        "PUT /v2/service_instances/i1/service_bindings/b1?accepts_incomplete=true",
        "GET /v2/service_instances/i1",
        "DELETE /v2/service_instances/i1/service_bindings/b1?service_id=s&plan_id=p",
    ]
    platform = Platform()
    assert [request.json for request in fake.requests] == [
        {
            "service_id": "s",
            "plan_id": "p",
            "organization_guid": platform.organization_guid,
            "space_guid": platform.space_guid,
        },
        {"service_id": "s"},
        {"service_id": "s", "plan_id": "p"},
        None,
        None,
    ]
    for request in fake.requests:
        assert ("Content-Type" in request.headers) == bool(request.body)
        assert request.headers["Authorization"] == "Basic cGxhdGZvcm06czNjcmV0"
        assert "X-Broker-API-Originating-Identity" not in request.headers


def test_client_sends_all_given_arguments(fake: FakeBroker) -> None:
    client = make_client(fake)
    client.provision(
        "i1",
        OFFERING,
        SMALL,
        parameters={"size": 3},
        context={"a": 1},
        maintenance_info=MaintenanceInfo("1.0.0"),
        vendor="x",
    )
    client.bind(
        "i1",
        "b1",
        OFFERING,
        LARGE,
        app_guid="a1",
        bind_resource=BindResource(route="r.example.org", backup_agent=True),
        parameters={"role": "reader"},
        predecessor="b0",
        context={"a": 1},
    )
    provision, bind = (request.json for request in fake.requests)
    platform = Platform()
    assert provision == {
        "service_id": "db-id",
        "plan_id": "small-id",
        "organization_guid": platform.organization_guid,
        "space_guid": platform.space_guid,
        "parameters": {"size": 3},
        "context": {"a": 1},
        "maintenance_info": {"version": "1.0.0"},
        "vendor": "x",
    }
    assert bind == {
        "service_id": "db-id",
        "plan_id": "large-id",
        "app_guid": "a1",
        "bind_resource": {"app_guid": "a1", "route": "r.example.org", "backup_agent": True},
        "parameters": {"role": "reader"},
        "predecessor_binding_id": "b0",
        "context": {"a": 1},
    }


def test_provision_accepts_another_organization(fake: FakeBroker) -> None:
    make_client(fake).provision("i1", OFFERING, SMALL, organization_guid="o2")
    (request,) = fake.requests
    assert request.json["organization_guid"] == "o2"
    assert request.json["space_guid"] == Platform().space_guid


def test_client_sends_bearer_token(fake: FakeBroker) -> None:
    make_client(fake, username=None, password=None, token="t0ken").get_instance("i1")
    make_client(fake, username=None, password=None).get_instance("i1")
    assert [request.headers.get("Authorization") for request in fake.requests] == ["Bearer t0ken", None]


@pytest.mark.parametrize("path", ["", "/", "/v2", "/v2/", "/brokers/db", "/brokers/db/v2/"])
def test_broker_url_accepts_any_path(path: str, fake: FakeBroker) -> None:
    client = make_client(fake, fake.url + path)
    client.get_instance("i1")
    prefix = "/brokers/db" if "db" in path else ""
    assert fake.requests[0].path == f"{prefix}/v2/service_instances/i1"
    assert client.url == fake.url + prefix


# Recorded requests of platforms

OFFERING_ID = "5c1c3c6e-0c2b-4e0c-9f0a-3a4b8b1d0001"
OWNER = {"space_annotations": {"example.org/owner": "team-a"}}

_CF = cloudfoundry(instance_name="orders-db")
PLATFORMS = {
    "cloudfoundry": msgspec.structs.replace(_CF, context={**_CF.context, **OWNER}),
    "korifi": korifi(),
    "kubernetes": kubernetes(
        extra={"scopes": ["a", "b"]}, namespace_uid="3f0d0f6e-shop", instance_name="orders-db"
    ),
}
VARIABLE_HEADERS = {"X-Broker-API-Request-Identity"}
"""Headers with another value in each request."""


def repeat(client: Any, line: Line) -> None:
    """Call the client's method for a recorded request of a platform."""
    query = dict(pair.split("=") for pair in line.query.split("&") if pair)
    body: dict[str, Any] = dict(line.body or {})
    resource = line.path.removesuffix("/last_operation").removeprefix("/v2/service_instances/")
    ids = resource.split("/service_bindings/")
    names = (body or query).get("service_id", ""), (body or query).get("plan_id", "")
    hints = {"offering": query.get("service_id"), "plan": query.get("plan_id")}
    polling = {"accepts_incomplete": "accepts_incomplete" in query}
    options = {
        name: body[name] for name in ("parameters", "previous_values", "maintenance_info") if name in body
    }
    if "maintenance_info" in options:
        options["maintenance_info"] = MaintenanceInfo(**options["maintenance_info"])
    match line.method, len(ids):
        case "GET", _ if line.path == "/v2/catalog":
            client.catalog()
        case "GET", _ if line.path.endswith("/last_operation"):
            poll_hints = {**hints, "operation": query["operation"]}
            client.last_operation(*ids, **poll_hints) if len(ids) == 1 else client.last_binding_operation(
                *ids, **poll_hints
            )
        case "GET", 1:
            client.get_instance(*ids, **hints)
        case "GET", 2:
            client.get_binding(*ids, **hints)
        case "PUT", 1:
            client.provision(*ids, *names, **polling, **options)
        case "PUT", 2:
            bind_resource = BindResource(**body["bind_resource"])
            app_guid = body.get("app_guid")
            client.bind(*ids, *names, app_guid=app_guid, bind_resource=bind_resource, **polling, **options)
        case "PATCH", _:
            context = {"instance_name": body["context"]["instance_name"]}
            client.update(ids[0], names[0], plan=names[1] or None, context=context, **polling, **options)
        case "DELETE", 1:
            client.deprovision(*ids, *names, **polling)
        case "DELETE", 2:
            client.unbind(*ids, *names, **polling)


@pytest.mark.integration
@pytest.mark.parametrize("name", PLATFORMS)
def test_client_sends_recorded_platform_requests(name: str, served_fake: FakeBroker) -> None:
    """The client sends the method, path, query, body and headers of each recorded request."""
    served_fake.script(respond(200, {"services": [], "state": "succeeded"}))
    client = make_client(served_fake.url, platform=PLATFORMS[name])
    for line in lines_of(name):
        if line.name.startswith("orphan mitigation"):
            continue  # test_orphan_mitigation.py tests it
        repeat(client, line)
        request = served_fake.requests.pop()
        assert (request.method, request.path) == (line.method, line.path), line.name
        expected_query = dict(pair.split("=") for pair in line.query.split("&") if pair)
        assert request.query == expected_query, line.name
        body = dict(line.body) if line.body is not None else None
        if name == "korifi" and body is not None:
            body.setdefault("parameters", None)
        assert request.json == body, line.name
        ignored = {"Host", "User-Agent", "Accept-Encoding", "Connection", "Content-Length", "Authorization"}
        headers = {
            header: value
            for header, value in request.headers.items()
            if header not in ignored | VARIABLE_HEADERS
        }
        expected = {
            header: value
            for header, value in line.headers.items()
            if header not in ignored | VARIABLE_HEADERS
        }
        assert headers == expected, line.name
        assert request.headers.keys() & VARIABLE_HEADERS == line.headers.keys() & VARIABLE_HEADERS


@pytest.mark.rule("R-REQ-3")
@pytest.mark.parametrize("name", PLATFORMS)
def test_broker_reads_identity_of_each_platform(name: str, recorder: Recorder, tmp_path: Path) -> None:
    """The broker reads the API version, the originating identity and the context of each platform."""
    platform = PLATFORMS[name]
    with broker_app(BROKER_KINDS["synchronous"], recorder, tmp_path) as app:
        client = make_client(app, platform=platform)
        client.provision("i1", OFFERING, SMALL)
        client.bind("i1", "b1", OFFERING, SMALL)
    provision, bind = recorder.requests
    assert provision.headers.api_version == platform.api_version
    identity = provision.headers.originating_identity
    if platform.name is None:
        assert identity is None
        assert provision.context == {}
    else:
        assert (identity.platform, identity.value) == (platform.name, platform.user)
        assert provision.context["platform"] == bind.context["platform"] == platform.name
        assert provision.context["instance_name"] == "orders-db"
        assert "instance_name" not in bind.context
    assert provision.organization_guid == platform.organization_guid
    assert provision.space_guid == platform.space_guid


@pytest.mark.rule("R-REQ-2")
def test_wrong_password_raises_broker_refused(recorder: Recorder, tmp_path: Path) -> None:
    with (
        broker_app(BROKER_KINDS["synchronous"], recorder, tmp_path) as app,
        pytest.raises(BrokerRefused) as caught,
    ):
        make_client(app, password="wrong").get_instance("i1")
    assert caught.value.status == 401
    assert not recorder.requests


def test_instance_details_are_typed(fake: FakeBroker) -> None:
    fake.script(
        respond(
            200,
            {
                "service_id": "s",
                "plan_id": None,
                "dashboard_url": "https://x",
                "parameters": {"a": [1]},
                "maintenance_info": {"version": "1.0.0", "description": "d"},
                "metadata": {"labels": {"region": "eu"}, "attributes": None},
                "unknown": 1,
            },
        )
    )
    details = make_client(fake).get_instance("i1")
    assert isinstance(details, InstanceDetails)
    assert (details.service_id, details.plan_id, details.dashboard_url) == ("s", None, "https://x")
    assert details.parameters == {"a": [1]}
    assert details.maintenance_info == MaintenanceInfo("1.0.0", "d")
    assert details.metadata is not None
    assert (details.metadata.labels, details.metadata.attributes) == ({"region": "eu"}, None)
