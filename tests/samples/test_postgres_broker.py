"""samples/postgres as platforms and applications see it: over HTTP and TCP, with real passwords."""

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

from ..resilience.wait import until
from ..support.servers import Gunicorn, gunicorn
from .conftest import PASSWORD, SAMPLE, TEMPLATE, Cluster, Row

LOGIN = {"BROKER_USERNAME": "platform", "BROKER_PASSWORD": "s3cret"}
LEASE = 3


class Site:
    """The broker, and how it is told what it needs.

    Args:
        cluster: Where it makes databases.
        folder: Where it remembers.
    """

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster, self.log = cluster, folder / "log"
        self.settings = {
            **LOGIN,
            "POSTGRES_URL": cluster.url,
            "POSTGRES_TEMPLATE": TEMPLATE,
            "BROKER_STORE": f"sqlite:///{folder}/broker.db?lease={LEASE}",
        }

    def serving(self, **settings: str) -> AbstractContextManager[Gunicorn]:
        environment = {**self.settings, **settings}
        options = ("--workers=2", "--threads=4")
        return gunicorn(SAMPLE, "broker:app", *options, log=self.log, environment=environment)


class Person:
    """Orders from a broker, and logs in with what it gets.

    Args:
        server: Who serves the broker.
        organization: Who orders.
    """

    def __init__(self, server: Gunicorn, organization: str = "shop") -> None:
        self.server = server
        self.client = BrokerClient(
            f"http://127.0.0.1:{server.port}",
            username="platform",
            password="s3cret",
            platform=Platform(organization_guid=organization, space_guid=organization),
        )
        (self.offering,) = self.client.catalog().services
        self.plans = {plan.name: plan for plan in self.offering.plans}

    def order(self, instance: str, plan: str = "small", **more: Any) -> None:
        made = self.client.provision(instance, self.offering, self.plans[plan], **more)
        if isinstance(made, Accepted):
            self.wait(instance, plan, made)

    def wait(self, instance: str, plan: str, accepted: Accepted, *, deleting: bool = False) -> None:
        self.client.wait(
            instance,
            operation=accepted.operation,
            service=self.offering,
            plan=self.plans[plan],
            deleting=deleting,
            sleep=lambda seconds: time.sleep(0.05),
        )

    def bind(self, instance: str, binding: str, plan: str = "small", **more: Any) -> dict[str, Any]:
        made = self.client.bind(instance, binding, self.offering, self.plans[plan], **more)
        assert isinstance(made, Binding)
        assert made.credentials is not None
        return made.credentials

    def unbind(self, instance: str, binding: str, plan: str = "small") -> None:
        self.client.unbind(instance, binding, self.offering, self.plans[plan])

    def delete(self, instance: str, plan: str = "small") -> None:
        self.client.deprovision(instance, self.offering, self.plans[plan])


def enter(credentials: dict[str, Any]) -> psycopg.Connection[Row]:
    return psycopg.connect(credentials["uri"], autocommit=True)


def refused(credentials: dict[str, Any]) -> bool:
    try:
        enter(credentials).close()
    except psycopg.OperationalError as error:
        return "password authentication failed" in str(error)
    return False


@pytest.fixture(scope="module")
def site(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(cluster, tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def person(site: Site) -> Iterator[Person]:
    with site.serving() as server:
        yield Person(server)


@pytest.fixture
def orders(person: Person) -> Iterator[str]:
    """The id of a small instance."""
    instance = str(uuid4())
    person.order(instance)
    yield instance
    person.delete(instance)  # also where that was done


def test_a_whole_life_leaves_nothing_behind(person: Person, cluster: Cluster) -> None:
    before = cluster.names()
    small, large = person.plans["small"], person.plans["large"]
    person.order("orders", parameters={"extensions": ["citext"]})
    first = person.bind("orders", "first")
    with enter(first) as session:
        session.execute("CREATE TABLE cups (name citext, price int)")
        session.execute("INSERT INTO cups VALUES ('Blue', 7)")
        assert session.execute("SELECT price FROM cups WHERE name = 'BLUE'").fetchall() == [(7,)]

    person.client.update(
        "orders",
        person.offering,
        plan=large,
        parameters={"extensions": ["citext", "hstore"]},
        previous_values={"plan_id": small.id},
    )
    with enter(first) as session:
        assert session.execute("SHOW statement_timeout").fetchall() == [("5min",)]
        session.execute("ALTER TABLE cups ADD more hstore")

    second = person.bind("orders", "second", "large", predecessor="first")
    with enter(first) as old, enter(second) as new:
        old.execute("INSERT INTO cups VALUES ('Red', 8)")
        assert new.execute("SELECT count(*) FROM cups").fetchall() == [(2,)]
        person.unbind("orders", "first", "large")
        with pytest.raises(psycopg.OperationalError):
            old.execute("SELECT 1")
        new.execute("DROP TABLE cups")
    assert refused(first)

    person.unbind("orders", "second", "large")
    assert refused(second)
    person.delete("orders", "large")
    assert cluster.names() == before


def test_what_is_left_of_bindings_goes_with_the_instance(person: Person, cluster: Cluster) -> None:
    before = cluster.names()
    person.order("left")
    with enter(person.bind("left", "one")) as session:
        session.execute("SET ROLE NONE; CREATE SCHEMA own; CREATE TABLE own.things (id int)")
        person.bind("left", "two")
        person.delete("left")
    assert cluster.names() == before


def test_credentials_are_what_cloud_foundrys_users_expect(
    person: Person, cluster: Cluster, orders: str
) -> None:
    made = person.client.bind(orders, "shop", person.offering, person.plans["small"])
    assert isinstance(made, Binding)
    told = made.credentials or {}
    port, name, user = cluster.server.port, database_of(orders), login_of(orders, "shop")
    assert {key: value for key, value in told.items() if key not in ("uri", "jdbcUrl", "password")} == {
        "hostname": "127.0.0.1",
        "port": port,
        "name": name,
        "username": user,
    }
    assert told["uri"] == f"postgresql://{user}:{told['password']}@127.0.0.1:{port}/{name}"
    jdbc = urlsplit(told["jdbcUrl"].removeprefix("jdbc:"))
    assert (jdbc.scheme, jdbc.netloc, jdbc.path) == ("postgresql", f"127.0.0.1:{port}", f"/{name}")
    assert parse_qs(jdbc.query) == {"user": [user], "password": [told["password"]]}
    assert len(told["password"]) >= 32
    assert list(made.endpoints or ()) == [Endpoint(host="127.0.0.1", ports=[str(port)])]


@pytest.mark.parametrize("path", ["/health", "/health/live"])
def test_load_balancers_learn_without_a_login_that_it_is_in_order(path: str, person: Person) -> None:
    with urlopen(f"http://127.0.0.1:{person.server.port}{path}", timeout=30) as answer:
        assert json.load(answer)["status"] == "ok"


def test_a_bind_that_is_sent_again_has_the_same_credentials(person: Person, orders: str) -> None:
    first = person.bind(orders, "shop")
    assert person.bind(orders, "shop") == first
    fetched = person.client.get_binding(orders, "shop")
    assert fetched.credentials == first
    enter(first).close()


def test_a_tenant_cannot_enter_the_database_of_another(person: Person, orders: str) -> None:
    person.order("neighbour")
    credentials = person.bind(orders, "shop")
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(credentials["uri"], dbname=database_of("neighbour"))
    person.delete("neighbour")


def test_the_plans_limits_hold(person: Person, orders: str) -> None:
    credentials = person.bind(orders, "shop")
    sessions = [enter(credentials) for _ in range(5)]
    try:
        assert sessions[0].execute("SHOW statement_timeout").fetchall() == [("30s",)]
        with pytest.raises(psycopg.OperationalError, match="too many connections"):
            enter(credentials)
    finally:
        for session in sessions:
            session.close()


@pytest.mark.parametrize("plan", ["small", "large", "restored"])
def test_the_quota_is_for_each_organization_and_plan(plan: str, person: Person, cluster: Cluster) -> None:
    quota = (person.plans[plan].metadata or {})["limits"]["databases"]
    made = [str(uuid4()) for _ in range(quota)]
    one, other = Person(person.server, str(uuid4())), Person(person.server, str(uuid4()))
    for instance in made:
        one.order(instance, plan)
    before = cluster.names()
    with pytest.raises((BrokerRefused, OperationFailed), match="all databases of this plan"):
        one.order("one more", plan)
    assert cluster.names() == before
    other.order("one of another's", plan)
    for instance in (*made, "one more", "one of another's"):
        person.delete(instance, plan)


def test_only_a_new_database_can_be_a_copy(person: Person, orders: str) -> None:
    with pytest.raises(BrokerRefused) as refusal:
        person.client.update(orders, person.offering, plan=person.plans["restored"])
    assert (refusal.value.status, refusal.value.error) == (422, "PlanChangeNotSupported")


def test_an_extension_that_is_in_use_is_not_dropped(person: Person, orders: str) -> None:
    small = person.plans["small"]
    person.client.update(orders, person.offering, plan=small, parameters={"extensions": ["hstore"]})
    with enter(person.bind(orders, "shop")) as session:
        session.execute("CREATE TABLE things (h hstore)")
    with pytest.raises(BrokerRefused, match="hstore: cannot drop extension") as refusal:
        person.client.update(orders, person.offering, plan=small, parameters={"extensions": []})
    assert (refusal.value.status, refusal.value.error) == (400, "InvalidParameters")


def test_passwords_are_in_no_log(person: Person, site: Site, orders: str) -> None:
    password = person.bind(orders, "shop")["password"]
    person.unbind(orders, "shop")
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
def test_whatever_ids_hold_they_are_names_and_no_sql(text: str, person: Person, cluster: Cluster) -> None:
    before = cluster.names()
    Person(person.server, organization=f"{text}\0").order(text)
    credentials = person.bind(text, text)
    with enter(credentials) as session:
        assert session.execute("SELECT current_database()").fetchall() == [(database_of(text),)]
    person.unbind(text, text)
    person.delete(text)
    assert cluster.names() == before


@pytest.mark.parametrize("text", [*INJECTIONS, "dblink", "HSTORE"])
def test_whatever_parameters_hold_they_are_no_sql(text: str, person: Person, cluster: Cluster) -> None:
    before = cluster.names()
    with pytest.raises(BrokerRefused) as refusal:
        person.order("i", parameters={"extensions": [text]})
    assert refusal.value.status == 400
    with pytest.raises(BrokerRefused) as refusal:
        person.order("i", parameters={text: text})
    assert refusal.value.status == 400
    assert cluster.names() == before


ALIKE = [
    ("orders", "Orders"),
    ("x" * 60 + "a", "x" * 60 + "b"),
    ("x" * 63, "x" * 64),
    ("a", "a "),
    ("e\u0301", "é"),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_ids_that_are_almost_the_same_are_two(one: str, other: str, person: Person) -> None:
    person.order(one)
    person.order(other)
    credentials = [person.bind(*ids) for ids in ((one, one), (one, other), (other, one), (other, other))]
    assert len({login["username"] for login in credentials}) == 4
    assert len({login["name"] for login in credentials}) == 2
    person.unbind(one, other)
    assert [refused(login) for login in credentials] == [False, True, False, False]
    person.delete(one)
    assert [refused(login) for login in credentials] == [True, True, False, False]
    person.delete(other)


@contextmanager
def held_template(cluster: Cluster) -> Iterator[tuple[str, psycopg.Connection[Row]]]:
    """A template whose copying does not get on, for as long as a session is in it."""
    template = f"template_{uuid4().hex}"
    cluster.ask(f"CREATE DATABASE {template} OWNER broker")
    try:
        with psycopg.connect(cluster.server.conninfo, dbname=template) as held:
            yield template, held
    finally:
        cluster.ask(f"DROP DATABASE {template}")


def start_copying(person: Person, cluster: Cluster) -> Accepted:
    accepted = person.client.provision("restored", person.offering, person.plans["restored"])
    assert isinstance(accepted, Accepted)
    until(lambda: (person.client.last_operation("restored").description or "").startswith("Copying"))
    until(lambda: copying(cluster))
    return accepted


def copying(cluster: Cluster) -> list[Row]:
    """The sessions that copy."""
    name = database_of("restored")
    return cluster.ask(
        "SELECT pid FROM pg_stat_activity WHERE application_name = %s AND state = 'active'", name
    )


def test_a_copy_goes_on_after_the_server_was_killed_at_it(cluster: Cluster, tmp_path: Path) -> None:
    site, before = Site(cluster, tmp_path), cluster.names()
    with held_template(cluster) as (template, held):
        with site.serving(POSTGRES_TEMPLATE=template) as server:
            accepted = start_copying(Person(server), cluster)
            server.kill()
            left = copying(cluster)
            assert left, "PostgreSQL goes on"
        with site.serving(POSTGRES_TEMPLATE=template) as server:
            person = Person(server)
            until(lambda: (now := copying(cluster)) and now != left)
            held.close()
            person.wait("restored", "restored", accepted)
            enter(person.bind("restored", "shop", "restored")).close()
            person.delete("restored", "restored")
    assert cluster.names() == before


def test_a_deletion_ends_the_copying(cluster: Cluster, tmp_path: Path) -> None:
    site, before = Site(cluster, tmp_path), cluster.names()
    with held_template(cluster) as (template, held):
        with site.serving(POSTGRES_TEMPLATE=template) as server:
            person = Person(server)
            start_copying(person, cluster)
            deleting = person.client.deprovision("restored", person.offering, person.plans["restored"])
            assert isinstance(deleting, Accepted)
            person.wait("restored", "restored", deleting, deleting=True)
            assert not copying(cluster)
        held.close()
    assert cluster.names() == before


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_it_passes_every_rule_of_the_checker(store: str, cluster: Cluster, tmp_path: Path) -> None:
    site, before = Site(cluster, tmp_path), cluster.names()
    settings = {
        "BROKER_STORE": f"sqlite:///{tmp_path}/broker.db"
    }  # nobody is killed here, so a lease is long
    if store == "postgresql":
        settings = {
            "BROKER_STORE": f"postgresql+psycopg://broker:{quote(PASSWORD, safe='')}@127.0.0.1"
            f":{cluster.server.port}/broker",
            "BROKER_KEYS": Fernet.generate_key().decode(),
        }
    with site.serving(**settings) as server:
        done = subprocess.run(
            [sys.executable, "-m", "brokerkit", "check", f"http://127.0.0.1:{server.port}", "--json", "-"],
            env={**os.environ, **LOGIN},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert not [rule["key"] for rule in report["rules"] if rule["outcome"] == "failed"]
    assert sum(rule["outcome"] == "passed" for rule in report["rules"]) > 120
    assert cluster.names() == before


def asking_settings(statement: str, **settings: str) -> subprocess.CompletedProcess[str]:
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


def test_all_settings_that_are_missing_are_told_at_once() -> None:
    told = asking_settings("import broker", POSTGRES_TEMPLATE="t").stderr
    for name in ("POSTGRES_URL", "BROKER_USERNAME", "BROKER_PASSWORD"):
        assert f"\n  {name}: " in told
    assert "POSTGRES_TEMPLATE:" not in told


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
def test_applications_are_sent_where_the_broker_goes_unless_told(
    broker_url: str, apps_url: str, address: Address
) -> None:
    done = asking_settings(
        "print(Settings.from_env().address)",
        **LOGIN,
        POSTGRES_TEMPLATE="t",
        POSTGRES_URL=broker_url,
        POSTGRES_APPS_URL=apps_url,
    )
    assert done.stdout == f"{address}\n", done.stderr


def test_an_sslmode_and_an_address_of_ipv6_are_in_the_urls() -> None:
    told = credentials_for(Address("::1", 6432, "verify-full"), "db", "user", "p/w")
    assert told["uri"] == "postgresql://user:p%2Fw@[::1]:6432/db?sslmode=verify-full"
    assert told["jdbcUrl"] == ("jdbc:postgresql://[::1]:6432/db?user=user&password=p%2Fw&sslmode=verify-full")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"POSTGRES_URL": "postgresql://broker:hush@/postgres"}, "POSTGRES_APPS_URL: set it to where"),
        ({"POSTGRES_URL": "host=/tmp password=hush"}, "POSTGRES_APPS_URL: set it to where"),
        ({"POSTGRES_URL": "mysql://broker:hush@db"}, "POSTGRES_URL is no URL like"),
        ({"POSTGRES_URL": "postgresql://broker:hush@db:port/x"}, "POSTGRES_APPS_URL: 'port' is no port"),
    ],
)
def test_a_setting_that_is_wrong_is_named_without_its_password(settings: dict[str, str], told: str) -> None:
    done = asking_settings("import broker", **LOGIN, POSTGRES_TEMPLATE="t", **settings)
    assert done.returncode == 1
    assert told in done.stderr
    assert "hush" not in done.stderr


def test_the_catalog_lists_the_extensions_that_there_are() -> None:
    (offering,) = yaml.safe_load((SAMPLE / "catalog.yml").read_text())["services"]
    for plan in offering["plans"]:
        for action in ("create", "update"):
            schema = plan["schemas"]["service_instance"][action]["parameters"]
            assert set(schema["properties"]["extensions"]["items"]["enum"]) == EXTENSIONS
