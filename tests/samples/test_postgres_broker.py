"""Tests of samples/postgres from the view of platforms and applications, over HTTP and TCP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit
from urllib.request import urlopen
from uuid import uuid4

import psycopg
import pytest
import yaml
from cryptography.fernet import Fernet

from brokerkit import Accepted, Binding, Endpoint
from brokerkit.client.client import BrokerClient, BrokerRefused, OperationFailed
from brokerkit.client.platforms import Platform
from samples.postgres.credentials import Address, credentials_for
from samples.postgres.databases import EXTENSIONS
from samples.postgres.names import database_of, login_of

from ..support.servers import Gunicorn, gunicorn
from ..support.wait import wait_until
from .conftest import PASSWORD, SAMPLE, TEMPLATE, Cluster, Row

pytestmark = pytest.mark.integration

LOGIN = {"BROKER_USERNAME": "platform", "BROKER_PASSWORD": "s3cret"}
LEASE = 3


class Site:
    """The settings of a broker.

    Args:
        cluster: The server of the databases.
        folder: The folder of the broker's store and log.
    """

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster, self.log = cluster, folder / "log"
        self.settings = {
            **LOGIN,
            "POSTGRES_URL": cluster.url,
            "POSTGRES_TEMPLATE": TEMPLATE,
            "BROKER_STORE": f"sqlite:///{folder}/broker.db?lease={LEASE}",
        }

    def serve(self, **settings: str) -> AbstractContextManager[Gunicorn]:
        environment = {**self.settings, **settings}
        options = ("--workers=2", "--threads=4")
        return gunicorn(SAMPLE, "broker:app", *options, log=self.log, environment=environment)


class PlatformClient:
    """A platform that sends requests to the broker.

    Args:
        server: The broker's web server.
        organization: The organization of the service instances.
    """

    def __init__(self, server: Gunicorn, organization: str = "shop") -> None:
        self.server = server
        self.api = BrokerClient(
            f"http://127.0.0.1:{server.port}",
            username="platform",
            password="s3cret",
            platform=Platform(organization_guid=organization, space_guid=organization),
        )
        (self.offering,) = self.api.catalog().services
        self.plans = {plan.name: plan for plan in self.offering.plans}

    def provision(self, instance: str, plan: str = "small", **options: Any) -> None:
        response = self.api.provision(instance, self.offering, self.plans[plan], **options)
        if isinstance(response, Accepted):
            self.wait(instance, plan, response)

    def wait(self, instance: str, plan: str, accepted: Accepted, *, deleting: bool = False) -> None:
        self.api.wait(
            instance,
            operation=accepted.operation,
            offering=self.offering,
            plan=self.plans[plan],
            deleting=deleting,
            sleep=lambda seconds: time.sleep(0.05),
        )

    def bind(self, instance: str, binding: str, plan: str = "small", **options: Any) -> dict[str, Any]:
        response = self.api.bind(instance, binding, self.offering, self.plans[plan], **options)
        assert isinstance(response, Binding)
        assert response.credentials is not None
        return response.credentials

    def unbind(self, instance: str, binding: str, plan: str = "small") -> None:
        self.api.unbind(instance, binding, self.offering, self.plans[plan])

    def deprovision(self, instance: str, plan: str = "small") -> None:
        self.api.deprovision(instance, self.offering, self.plans[plan])


def connect(credentials: dict[str, Any]) -> psycopg.Connection[Row]:
    return psycopg.connect(credentials["uri"], autocommit=True)


def is_rejected(credentials: dict[str, Any]) -> bool:
    try:
        connect(credentials).close()
    except psycopg.OperationalError as error:
        return "password authentication failed" in str(error)
    return False


@pytest.fixture(scope="module")
def site(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(cluster, tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def platform(site: Site) -> Iterator[PlatformClient]:
    with site.serve() as server:
        yield PlatformClient(server)


@pytest.fixture
def instance_id(platform: PlatformClient) -> Iterator[str]:
    """Provision an instance of plan small and return its id."""
    instance_id = str(uuid4())
    platform.provision(instance_id)
    yield instance_id
    platform.deprovision(instance_id)  # also if the test has deleted it


@pytest.mark.rule("R-BIND-6")
def test_lifecycle_leaves_nothing_behind(platform: PlatformClient, cluster: Cluster) -> None:
    before = cluster.names()
    small, large = platform.plans["small"], platform.plans["large"]
    platform.provision("orders", parameters={"extensions": ["citext"]})
    first = platform.bind("orders", "first")
    with connect(first) as session:
        session.execute("CREATE TABLE cups (name citext, price int)")
        session.execute("INSERT INTO cups VALUES ('Blue', 7)")
        assert session.execute("SELECT price FROM cups WHERE name = 'BLUE'").fetchall() == [(7,)]

    platform.api.update(
        "orders",
        platform.offering,
        plan=large,
        parameters={"extensions": ["citext", "hstore"]},
        previous_values={"plan_id": small.id},
    )
    with connect(first) as session:
        assert session.execute("SHOW statement_timeout").fetchall() == [("5min",)]
        session.execute("ALTER TABLE cups ADD more hstore")

    second = platform.bind("orders", "second", "large", predecessor="first")
    with connect(first) as old, connect(second) as new:
        old.execute("INSERT INTO cups VALUES ('Red', 8)")
        assert new.execute("SELECT count(*) FROM cups").fetchall() == [(2,)]
        platform.unbind("orders", "first", "large")
        with pytest.raises(psycopg.OperationalError):
            old.execute("SELECT 1")
        new.execute("DROP TABLE cups")
    assert is_rejected(first)

    platform.unbind("orders", "second", "large")
    assert is_rejected(second)
    platform.deprovision("orders", "large")
    assert cluster.names() == before


def test_deprovision_removes_remaining_bindings(platform: PlatformClient, cluster: Cluster) -> None:
    before = cluster.names()
    platform.provision("left")
    with connect(platform.bind("left", "one")) as session:
        session.execute("SET ROLE NONE; CREATE SCHEMA own; CREATE TABLE own.things (id int)")
        platform.bind("left", "two")
        platform.deprovision("left")
    assert cluster.names() == before


def test_credentials_have_cloud_foundry_fields(
    platform: PlatformClient, cluster: Cluster, instance_id: str
) -> None:
    binding = platform.api.bind(instance_id, "shop", platform.offering, platform.plans["small"])
    assert isinstance(binding, Binding)
    credentials = binding.credentials or {}
    port, name, user = cluster.server.port, database_of(instance_id), login_of(instance_id, "shop")
    assert {
        key: value for key, value in credentials.items() if key not in ("uri", "jdbcUrl", "password")
    } == {
        "hostname": "127.0.0.1",
        "port": port,
        "name": name,
        "username": user,
    }
    assert credentials["uri"] == f"postgresql://{user}:{credentials['password']}@127.0.0.1:{port}/{name}"
    jdbc = urlsplit(credentials["jdbcUrl"].removeprefix("jdbc:"))
    assert (jdbc.scheme, jdbc.netloc, jdbc.path) == ("postgresql", f"127.0.0.1:{port}", f"/{name}")
    assert parse_qs(jdbc.query) == {"user": [user], "password": [credentials["password"]]}
    assert len(credentials["password"]) >= 32
    assert list(binding.endpoints or ()) == [Endpoint(host="127.0.0.1", ports=[str(port)])]


@pytest.mark.parametrize("path", ["/health", "/health/live"])
def test_health_needs_no_authentication(path: str, platform: PlatformClient) -> None:
    with urlopen(f"http://127.0.0.1:{platform.server.port}{path}", timeout=30) as response:
        assert json.load(response)["status"] == "ok"


@pytest.mark.rule("R-BIND-1")
def test_repeated_bind_returns_same_credentials(platform: PlatformClient, instance_id: str) -> None:
    first = platform.bind(instance_id, "shop")
    assert platform.bind(instance_id, "shop") == first
    fetched = platform.api.get_binding(instance_id, "shop")
    assert fetched.credentials == first
    connect(first).close()


def test_tenant_cannot_connect_to_another_database(platform: PlatformClient, instance_id: str) -> None:
    platform.provision("neighbour")
    credentials = platform.bind(instance_id, "shop")
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(credentials["uri"], dbname=database_of("neighbour"))
    platform.deprovision("neighbour")


def test_plan_limits_are_enforced(platform: PlatformClient, instance_id: str) -> None:
    credentials = platform.bind(instance_id, "shop")
    sessions = [connect(credentials) for _ in range(5)]
    try:
        assert sessions[0].execute("SHOW statement_timeout").fetchall() == [("30s",)]
        with pytest.raises(psycopg.OperationalError, match="too many connections"):
            connect(credentials)
    finally:
        for session in sessions:
            session.close()


@pytest.mark.rule("R-REQ-8")
@pytest.mark.parametrize("plan", ["small", "large", "restored"])
def test_quota_is_per_organization_and_plan(plan: str, platform: PlatformClient, cluster: Cluster) -> None:
    quota = (platform.plans[plan].metadata or {})["limits"]["databases"]
    instances = [str(uuid4()) for _ in range(quota)]
    one, other = PlatformClient(platform.server, str(uuid4())), PlatformClient(platform.server, str(uuid4()))
    for instance in instances:
        one.provision(instance, plan)
    before = cluster.names()
    with pytest.raises((BrokerRefused, OperationFailed), match="reached its database quota"):
        one.provision("one more", plan)
    assert cluster.names() == before
    other.provision("of the other organization", plan)
    for instance in (*instances, "one more", "of the other organization"):
        platform.deprovision(instance, plan)


@pytest.mark.rule("R-UPD-3")
def test_update_to_restored_plan_is_422(platform: PlatformClient, instance_id: str) -> None:
    with pytest.raises(BrokerRefused) as refusal:
        platform.api.update(instance_id, platform.offering, plan=platform.plans["restored"])
    assert (refusal.value.status, refusal.value.error) == (422, "PlanChangeNotSupported")


@pytest.mark.rule("R-UPD-5")
def test_update_removing_used_extension_is_400(platform: PlatformClient, instance_id: str) -> None:
    small = platform.plans["small"]
    platform.api.update(instance_id, platform.offering, plan=small, parameters={"extensions": ["hstore"]})
    with connect(platform.bind(instance_id, "shop")) as session:
        session.execute("CREATE TABLE things (h hstore)")
    with pytest.raises(BrokerRefused, match="hstore: cannot drop extension") as refusal:
        platform.api.update(instance_id, platform.offering, plan=small, parameters={"extensions": []})
    assert (refusal.value.status, refusal.value.error) == (400, "InvalidParameters")


def test_passwords_are_not_logged(platform: PlatformClient, site: Site, instance_id: str) -> None:
    password = platform.bind(instance_id, "shop")["password"]
    platform.unbind(instance_id, "shop")
    for log in (site.log.read_text(), site.cluster.server.log):
        assert password not in log
        assert PASSWORD not in log


INJECTIONS = [
    "'; DROP DATABASE broker; --",
    '"; DROP ROLE broker; --',
    "$$; SELECT pg_sleep(9); $$",
    "%s %(name)s {} {name}",
    "\\'; --",
    "postgres",
    "Ünïcödé 🐘 ​",
    "a/b/../c?d=e#f",
    "new\nline\ttab\x01",
    "x" * 300,
]


@pytest.mark.parametrize("text", INJECTIONS)
def test_ids_are_never_executed_as_sql(text: str, platform: PlatformClient, cluster: Cluster) -> None:
    before = cluster.names()
    PlatformClient(platform.server, organization=f"{text}\0").provision(text)
    credentials = platform.bind(text, text)
    with connect(credentials) as session:
        assert session.execute("SELECT current_database()").fetchall() == [(database_of(text),)]
    platform.unbind(text, text)
    platform.deprovision(text)
    assert cluster.names() == before


@pytest.mark.rule("R-PROV-6")
@pytest.mark.rule("R-REQ-8")
@pytest.mark.parametrize("text", [*INJECTIONS, "dblink", "HSTORE"])
def test_parameters_are_never_executed_as_sql(text: str, platform: PlatformClient, cluster: Cluster) -> None:
    before = cluster.names()
    with pytest.raises(BrokerRefused) as refusal:
        platform.provision("i", parameters={"extensions": [text]})
    assert refusal.value.status == 400
    with pytest.raises(BrokerRefused) as refusal:
        platform.provision("i", parameters={text: text})
    assert refusal.value.status == 400
    assert cluster.names() == before


SIMILAR_IDS = [
    ("orders", "Orders"),
    ("x" * 60 + "a", "x" * 60 + "b"),
    ("x" * 63, "x" * 64),
    ("a", "a "),
    ("e\u0301", "é"),
]


@pytest.mark.parametrize(("one", "other"), SIMILAR_IDS)
def test_similar_ids_are_separate_resources(one: str, other: str, platform: PlatformClient) -> None:
    platform.provision(one)
    platform.provision(other)
    credentials = [platform.bind(*ids) for ids in ((one, one), (one, other), (other, one), (other, other))]
    assert len({login["username"] for login in credentials}) == 4
    assert len({login["name"] for login in credentials}) == 2
    platform.unbind(one, other)
    assert [is_rejected(login) for login in credentials] == [False, True, False, False]
    platform.deprovision(one)
    assert [is_rejected(login) for login in credentials] == [True, True, False, False]
    platform.deprovision(other)


@contextmanager
def blocked_template(cluster: Cluster) -> Iterator[tuple[str, psycopg.Connection[Row]]]:
    """Create a template that cannot be copied while the yielded session is connected to it."""
    template = f"template_{uuid4().hex}"
    cluster.execute(f"CREATE DATABASE {template} OWNER broker")
    try:
        with psycopg.connect(cluster.server.conninfo, dbname=template) as blocker:
            yield template, blocker
    finally:
        cluster.execute(f"DROP DATABASE {template}")


def start_copying(platform: PlatformClient, cluster: Cluster) -> Accepted:
    accepted = platform.api.provision("restored", platform.offering, platform.plans["restored"])
    assert isinstance(accepted, Accepted)
    wait_until(lambda: (platform.api.last_operation("restored").description or "").startswith("Copying"))
    wait_until(lambda: copying_sessions(cluster))
    return accepted


def copying_sessions(cluster: Cluster) -> list[Row]:
    """Return the sessions that copy the template."""
    name = database_of("restored")
    return cluster.execute(
        "SELECT pid FROM pg_stat_activity WHERE application_name = %s AND state = 'active'", name
    )


def test_copy_resumes_after_broker_was_killed(cluster: Cluster, tmp_path: Path) -> None:
    site, before = Site(cluster, tmp_path), cluster.names()
    with blocked_template(cluster) as (template, blocker):
        with site.serve(POSTGRES_TEMPLATE=template) as server:
            accepted = start_copying(PlatformClient(server), cluster)
            server.kill()
            orphaned = copying_sessions(cluster)
            assert orphaned, "PostgreSQL continues without the broker"
        with site.serve(POSTGRES_TEMPLATE=template) as server:
            platform = PlatformClient(server)
            wait_until(lambda: (current := copying_sessions(cluster)) and current != orphaned)
            blocker.close()
            platform.wait("restored", "restored", accepted)
            connect(platform.bind("restored", "shop", "restored")).close()
            platform.deprovision("restored", "restored")
    assert cluster.names() == before


@pytest.mark.rule("R-DEL-3")
def test_deprovision_cancels_a_running_copy(cluster: Cluster, tmp_path: Path) -> None:
    site, before = Site(cluster, tmp_path), cluster.names()
    with blocked_template(cluster) as (template, blocker):
        with site.serve(POSTGRES_TEMPLATE=template) as server:
            platform = PlatformClient(server)
            start_copying(platform, cluster)
            accepted = platform.api.deprovision("restored", platform.offering, platform.plans["restored"])
            assert isinstance(accepted, Accepted)
            platform.wait("restored", "restored", accepted, deleting=True)
            assert not copying_sessions(cluster)
        blocker.close()
    assert cluster.names() == before


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_checker_finds_no_failed_rule(store: str, cluster: Cluster, tmp_path: Path) -> None:
    site, before = Site(cluster, tmp_path), cluster.names()
    # No process is killed in this test, so the default lease is fine.
    settings = {"BROKER_STORE": f"sqlite:///{tmp_path}/broker.db"}
    if store == "postgresql":
        settings = {
            "BROKER_STORE": f"postgresql+psycopg://broker:{quote(PASSWORD, safe='')}@127.0.0.1"
            f":{cluster.server.port}/broker",
            "BROKER_KEYS": Fernet.generate_key().decode(),
        }
    with site.serve(**settings) as server:
        result = subprocess.run(
            [sys.executable, "-m", "brokerkit", "check", f"http://127.0.0.1:{server.port}", "--json", "-"],
            env={**os.environ, **LOGIN},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert result.returncode == 0, result.stdout + result.stderr
    report = json.loads(result.stdout)
    assert not [rule["key"] for rule in report["rules"] if rule["outcome"] == "failed"]
    assert sum(rule["outcome"] == "passed" for rule in report["rules"]) > 120
    assert cluster.names() == before


def run_with_settings(statement: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("POSTGRES_", "BROKER_"))
    }
    return subprocess.run(
        [sys.executable, "-c", f"from settings import Settings; {statement}"],
        cwd=SAMPLE,
        env={**environment, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_missing_settings_are_listed_together() -> None:
    error = run_with_settings("import broker", POSTGRES_TEMPLATE="t").stderr
    for name in ("POSTGRES_URL", "BROKER_USERNAME", "BROKER_PASSWORD"):
        assert f"\n  {name}: " in error
    assert "POSTGRES_TEMPLATE:" not in error


@pytest.mark.parametrize(
    ("broker_url", "apps_url", "address"),
    [
        ("postgresql://broker:hush@db:6432/x?sslmode=require", "", Address("db", 6432, "require")),
        ("host=db password=hush", "", Address("db", 5432)),
        ("host=/tmp", "postgresql://[::1]:6432", Address("::1", 6432)),
        (
            "postgresql://broker@db:6432/x?sslmode=require",
            "postgresql://apps:1",
            Address("apps", 1, "require"),
        ),
        ("host=db", "postgresql://apps?sslmode=verify-full", Address("apps", 5432, "verify-full")),
    ],
)
def test_address_defaults_to_the_broker_url(broker_url: str, apps_url: str, address: Address) -> None:
    result = run_with_settings(
        "print(Settings.from_env().address)",
        **LOGIN,
        POSTGRES_TEMPLATE="t",
        POSTGRES_URL=broker_url,
        POSTGRES_APPS_URL=apps_url,
    )
    assert result.stdout == f"{address}\n", result.stderr


def test_credentials_with_sslmode_and_ipv6_address() -> None:
    credentials = credentials_for(Address("::1", 6432, "verify-full"), "db", "user", "p/w")
    assert credentials["uri"] == "postgresql://user:p%2Fw@[::1]:6432/db?sslmode=verify-full"
    assert (
        credentials["jdbcUrl"]
        == "jdbc:postgresql://[::1]:6432/db?user=user&password=p%2Fw&sslmode=verify-full"
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"POSTGRES_URL": "postgresql://broker:hush@/postgres"},
            "Set POSTGRES_APPS_URL to the server's address",
        ),
        ({"POSTGRES_URL": "host=/tmp password=hush"}, "Set POSTGRES_APPS_URL to the server's address"),
        ({"POSTGRES_URL": "mysql://broker:hush@db"}, "POSTGRES_URL is not a valid URL"),
        (
            {"POSTGRES_URL": "postgresql://broker:hush@db:port/x"},
            "POSTGRES_APPS_URL: 'port' is not a port number",
        ),
    ],
)
def test_invalid_setting_error_hides_the_password(settings: dict[str, str], message: str) -> None:
    result = run_with_settings("import broker", **LOGIN, POSTGRES_TEMPLATE="t", **settings)
    assert result.returncode == 1
    assert message in result.stderr
    assert "hush" not in result.stderr


def test_catalog_lists_all_supported_extensions() -> None:
    (offering,) = yaml.safe_load((SAMPLE / "catalog.yml").read_text())["services"]
    for plan in offering["plans"]:
        for action in ("create", "update"):
            schema = plan["schemas"]["service_instance"][action]["parameters"]
            assert set(schema["properties"]["extensions"]["items"]["enum"]) == EXTENSIONS
