"""samples/redis as platforms and applications see it: over HTTP and TCP, with real passwords."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml
from cryptography.fernet import Fernet
from redis import Redis
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as NoConnection

from brokerkit import Accepted, Binding
from brokerkit.client.client import BrokerClient
from brokerkit.client.platforms import Platform
from samples.redis.names import prefix_of, users_of
from samples.redis.tenants import OpenToAll, Tenants

from ..support.postgres import fresh_database
from ..support.redis import Server
from ..support.servers import Gunicorn, gunicorn

SAMPLE = Path(__file__).parents[2] / "samples" / "redis"
LOGIN = {"BROKER_USERNAME": "platform", "BROKER_PASSWORD": "s3cret"}


class Site:
    """The broker, its workers, and what it needs.

    Args:
        redis: Parts of it are given out.
        store: Where the broker remembers.
        folder: Of logs.
    """

    def __init__(self, redis: Server, store: str, folder: Path) -> None:
        self.redis, self.log, self.worker_log = redis, folder / "log", folder / "worker-log"
        self.environment = {
            **LOGIN,
            "REDIS_URL": redis.url,
            "BROKER_STORE": f"{store}&lease=2",
            "BROKER_KEYS": Fernet.generate_key().decode(),
        }

    @contextmanager
    def serving(self) -> Iterator[Gunicorn]:
        """As the Procfile has it."""
        options = ("--workers=2", "--threads=8")
        with gunicorn(SAMPLE, "broker:app", *options, log=self.log, environment=self.environment) as server:
            yield server

    @contextmanager
    def working(self) -> Iterator[subprocess.Popen[bytes]]:
        """As the Procfile has it, with two children."""
        command = ["-m", "celery", "-A", "broker:celery_app", "worker", "--concurrency", "2"]
        with self.worker_log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=SAMPLE,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program as an operator does, in the sample's folder."""
        return subprocess.run(
            [sys.executable, "-m", *command],
            cwd=SAMPLE,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=120,
        )


class Person:
    """Orders from the broker, and logs in with what it gets."""

    def __init__(self, server: Gunicorn) -> None:
        self.url = f"http://127.0.0.1:{server.port}"
        platform = Platform(organization_guid="shop", space_guid="shop")
        self.client = BrokerClient(self.url, username="platform", password="s3cret", platform=platform)
        (self.offering,) = self.client.catalog().services
        self.plans = {plan.name: plan for plan in self.offering.plans}

    def order(self, instance: str, plan: str = "shared", **more: Any) -> None:
        made = self.client.provision(instance, self.offering, self.plans[plan], **more)
        if isinstance(made, Accepted):
            self.wait(instance, plan, made)

    def wait(self, instance: str, plan: str, accepted: Accepted, **more: Any) -> None:
        self.client.wait(
            instance,
            operation=accepted.operation,
            service=self.offering,
            plan=self.plans[plan],
            sleep=lambda seconds: time.sleep(0.05),
            **more,
        )

    def bind(self, instance: str, binding: str, plan: str = "shared", **more: Any) -> dict[str, Any]:
        made = self.client.bind(instance, binding, self.offering, self.plans[plan], **more)
        assert isinstance(made, Binding)
        assert made.credentials is not None
        return made.credentials

    def unbind(self, instance: str, binding: str, plan: str = "shared") -> None:
        self.client.unbind(instance, binding, self.offering, self.plans[plan])

    def delete(self, instance: str, plan: str = "shared") -> None:
        accepted = self.client.deprovision(instance, self.offering, self.plans[plan])
        assert isinstance(accepted, Accepted), "it is done by a worker"
        self.wait(instance, plan, accepted, deleting=True)


@pytest.fixture(scope="module")
def site(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Server(password="the-operators") as redis, fresh_database(postgres) as store:
        yield Site(redis, store, tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def person(site: Site) -> Iterator[Person]:
    with site.serving() as server, site.working():
        yield Person(server)


@pytest.fixture
def operator(site: Site) -> Iterator[Redis]:
    with site.redis.client() as client:
        yield client


def enter(credentials: dict[str, Any]) -> Redis:
    return Redis.from_url(credentials["uri"], decode_responses=True)


def refused(credentials: dict[str, Any]) -> bool:
    with enter(credentials) as client:
        try:
            client.ping()
        except AuthenticationError:
            return True
        return False


def left_of(operator: Redis, instance: str) -> list[str]:
    users = [user for user in map(str, operator.acl_users()) if user.startswith(users_of(instance))]
    return [*users, *operator.scan_iter(f"{prefix_of(instance)}*")]


def test_a_whole_life_leaves_nothing_behind(person: Person, operator: Redis) -> None:
    person.order("orders")
    first = person.bind("orders", "first")
    prefix = first["prefix"]
    with enter(first) as session:
        session.set(f"{prefix}cup", "blue")
        second = person.bind("orders", "second", predecessor="first")
        with enter(second) as successor:
            assert successor.get(f"{prefix}cup") == "blue"
            person.unbind("orders", "first")
            with pytest.raises((NoConnection, AuthenticationError)):
                session.ping()
            assert refused(first)
            assert successor.get(f"{prefix}cup") == "blue"
    assert left_of(operator, "orders")
    person.delete("orders")
    assert refused(second), "also where nobody unbound it"
    assert left_of(operator, "orders") == []


def test_a_worker_fills_an_instance_and_tells_how_far_it_is(person: Person, operator: Redis) -> None:
    person.order("filled", "filled", parameters={"entries": 2500})
    credentials = person.bind("filled", "b1", "filled")
    with enter(credentials) as session:
        assert session.get(f"{credentials['prefix']}example:2499") == "Example 2499"
    person.delete("filled", "filled")
    assert left_of(operator, "filled") == []


def test_credentials_are_what_cloud_foundrys_users_expect(person: Person, site: Site) -> None:
    person.order("told")
    told = person.bind("told", "b1")
    assert told == {
        "uri": f"redis://{told['username']}:{told['password']}@127.0.0.1:{site.redis.port}",
        "hostname": "127.0.0.1",
        "port": site.redis.port,
        "username": told["username"],
        "password": told["password"],
        "prefix": prefix_of("told"),
        "tls": False,
    }
    assert len(told["password"]) >= 43
    person.delete("told")


def test_an_upgrade_gives_users_back_that_the_server_lost(person: Person, operator: Redis) -> None:
    person.order("upgraded")
    credentials = person.bind("upgraded", "b1")
    operator.acl_deluser(credentials["username"])
    assert refused(credentials)
    person.client.update("upgraded", person.offering, context={"platform": "x", "changed": True})
    assert not refused(credentials)
    person.delete("upgraded")


def test_keys_of_any_bytes_are_deleted(person: Person, operator: Redis) -> None:
    person.order("bytes")
    credentials = person.bind("bytes", "b1")
    with enter(credentials) as session:
        session.set(credentials["prefix"].encode() + b"\xff\xfe", "x")
    person.unbind("bytes", "b1")
    person.delete("bytes")
    assert list(operator.scan_iter(f"{prefix_of('bytes')}*")) == []


def test_a_server_that_lets_everyone_in_gets_no_users(site: Site) -> None:
    with Server() as open_to_all, open_to_all.client() as client:
        with pytest.raises(OpenToAll, match="requirepass"):
            Tenants(client).add_user("prefix:", "user")
        assert client.acl_users() == ["default"]


@pytest.mark.parametrize("path", ["/health", "/health/live"])
def test_load_balancers_learn_without_a_login_that_it_is_in_order(path: str, person: Person) -> None:
    with urlopen(f"{person.url}{path}", timeout=30) as answer:
        assert json.load(answer)["status"] == "ok"


def test_operators_commands_know_what_there_is(person: Person, site: Site) -> None:
    person.order("known")
    done = site.run("flask", "--app", "broker", "broker", "instances", "--json")
    assert done.returncode == 0, done.stderr
    assert "known" in {each["instance_id"] for each in json.loads(done.stdout)}
    person.delete("known")


def test_it_passes_every_rule_of_the_checker(person: Person, site: Site, operator: Redis) -> None:
    keys = set(operator.scan_iter())
    done = site.run("brokerkit", "check", person.url, "--json", "-")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert not [rule["key"] for rule in report["rules"] if rule["outcome"] == "failed"]
    assert sum(rule["outcome"] == "passed" for rule in report["rules"]) > 100
    assert not report["leftovers"]
    assert {key for key in operator.scan_iter() if key not in keys and "_kombu" not in key} == set()
    assert operator.acl_users() == ["default"]


@pytest.mark.parametrize("missing", ["REDIS_URL", "BROKER_STORE", "BROKER_KEYS", "BROKER_PASSWORD"])
def test_it_says_which_variable_is_missing(site: Site, missing: str) -> None:
    environment = {name: value for name, value in site.environment.items() if name != missing}
    done = subprocess.run(
        [sys.executable, "-c", "import broker"],
        cwd=SAMPLE,
        env={**{k: v for k, v in os.environ.items() if k not in site.environment}, **environment},
        capture_output=True,
        text=True,
    )
    assert f"\n  {missing}: " in done.stderr
    assert "the-operators" not in done.stderr


def test_cloud_foundry_runs_what_the_procfile_has_with_all_that_it_needs() -> None:
    (app,) = yaml.safe_load((SAMPLE / "manifest.yml").read_text())["applications"]
    procfile = [line.partition(":")[0] for line in (SAMPLE / "Procfile").read_text().splitlines()]
    assert [process["type"] for process in app["processes"]] == procfile
    assert app["env"].keys() >= {"REDIS_URL", "BROKER_STORE", "BROKER_KEYS", *LOGIN}
