"""Tests of samples/redis from the view of platforms and applications, over HTTP and TCP."""

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
from samples.redis.tenants import ServerUnprotected, Tenants

from ..support.postgres import fresh_database
from ..support.redis import Server
from ..support.servers import Gunicorn, gunicorn

SAMPLE = Path(__file__).parents[2] / "samples" / "redis"
LOGIN = {"BROKER_USERNAME": "platform", "BROKER_PASSWORD": "s3cret"}

pytestmark = pytest.mark.integration


class Site:
    """The settings of a broker and its workers.

    Args:
        redis: The server of the tenants.
        store: The SQLAlchemy URL of the broker's store.
        folder: The folder of the logs.
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
    def serve(self) -> Iterator[Gunicorn]:
        """Run the web process of the Procfile."""
        options = ("--workers=2", "--threads=8")
        with gunicorn(SAMPLE, "broker:app", *options, log=self.log, environment=self.environment) as server:
            yield server

    @contextmanager
    def work(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run the worker of the Procfile, with two child processes."""
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
        """Run a Python module in the sample's folder with the broker's environment."""
        return subprocess.run(
            [sys.executable, "-m", *command],
            cwd=SAMPLE,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=120,
        )


class PlatformClient:
    """A platform that sends requests to the broker."""

    def __init__(self, server: Gunicorn) -> None:
        self.url = f"http://127.0.0.1:{server.port}"
        self.api = BrokerClient(
            self.url,
            username="platform",
            password="s3cret",
            platform=Platform(organization_guid="shop", space_guid="shop"),
        )
        (self.offering,) = self.api.catalog().services
        self.plans = {plan.name: plan for plan in self.offering.plans}

    def provision(self, instance: str, plan: str = "shared", **options: Any) -> None:
        response = self.api.provision(instance, self.offering, self.plans[plan], **options)
        if isinstance(response, Accepted):
            self.wait(instance, plan, response)

    def wait(self, instance: str, plan: str, accepted: Accepted, **options: Any) -> None:
        self.api.wait(
            instance,
            operation=accepted.operation,
            offering=self.offering,
            plan=self.plans[plan],
            sleep=lambda seconds: time.sleep(0.05),
            **options,
        )

    def bind(self, instance: str, binding: str, plan: str = "shared", **options: Any) -> dict[str, Any]:
        response = self.api.bind(instance, binding, self.offering, self.plans[plan], **options)
        assert isinstance(response, Binding)
        assert response.credentials is not None
        return response.credentials

    def unbind(self, instance: str, binding: str, plan: str = "shared") -> None:
        self.api.unbind(instance, binding, self.offering, self.plans[plan])

    def deprovision(self, instance: str, plan: str = "shared") -> None:
        accepted = self.api.deprovision(instance, self.offering, self.plans[plan])
        assert isinstance(accepted, Accepted), "a worker deletes instances in the background"
        self.wait(instance, plan, accepted, deleting=True)


@pytest.fixture(scope="module")
def site(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Server(password="the-operators") as redis, fresh_database(postgres) as store:
        yield Site(redis, store, tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def platform(site: Site) -> Iterator[PlatformClient]:
    with site.serve() as server, site.work():
        yield PlatformClient(server)


@pytest.fixture
def operator(site: Site) -> Iterator[Redis]:
    with site.redis.client() as client:
        yield client


def connect(credentials: dict[str, Any]) -> Redis:
    return Redis.from_url(credentials["uri"], decode_responses=True)


def is_rejected(credentials: dict[str, Any]) -> bool:
    with connect(credentials) as client:
        try:
            client.ping()
        except AuthenticationError:
            return True
        return False


def leftovers(operator: Redis, instance: str) -> list[str]:
    """Return the users and keys of an instance."""
    users = [user for user in map(str, operator.acl_users()) if user.startswith(users_of(instance))]
    return [*users, *operator.scan_iter(f"{prefix_of(instance)}*")]


@pytest.mark.rule("R-BIND-6")
def test_lifecycle_leaves_nothing_behind(platform: PlatformClient, operator: Redis) -> None:
    platform.provision("orders")
    first = platform.bind("orders", "first")
    prefix = first["prefix"]
    with connect(first) as session:
        session.set(f"{prefix}cup", "blue")
        second = platform.bind("orders", "second", predecessor="first")
        with connect(second) as successor:
            assert successor.get(f"{prefix}cup") == "blue"
            platform.unbind("orders", "first")
            with pytest.raises((NoConnection, AuthenticationError)):
                session.ping()
            assert is_rejected(first)
            assert successor.get(f"{prefix}cup") == "blue"
    assert leftovers(operator, "orders")
    platform.deprovision("orders")
    assert is_rejected(second), "deprovision removes remaining bindings"
    assert leftovers(operator, "orders") == []


def test_worker_fills_instance_in_background(platform: PlatformClient, operator: Redis) -> None:
    platform.provision("filled", "filled", parameters={"entries": 2500})
    credentials = platform.bind("filled", "b1", "filled")
    with connect(credentials) as session:
        assert session.get(f"{credentials['prefix']}example:2499") == "Example 2499"
    platform.deprovision("filled", "filled")
    assert leftovers(operator, "filled") == []


def test_credentials_have_cloud_foundry_fields(platform: PlatformClient, site: Site) -> None:
    platform.provision("fields")
    credentials = platform.bind("fields", "b1")
    assert credentials == {
        "uri": f"redis://{credentials['username']}:{credentials['password']}@127.0.0.1:{site.redis.port}",
        "hostname": "127.0.0.1",
        "port": site.redis.port,
        "username": credentials["username"],
        "password": credentials["password"],
        "prefix": prefix_of("fields"),
        "tls": False,
    }
    assert len(credentials["password"]) >= 43
    platform.deprovision("fields")


def test_update_restores_lost_users(platform: PlatformClient, operator: Redis) -> None:
    platform.provision("upgraded")
    credentials = platform.bind("upgraded", "b1")
    operator.acl_deluser(credentials["username"])
    assert is_rejected(credentials)
    platform.api.update("upgraded", platform.offering, context={"platform": "x", "changed": True})
    assert not is_rejected(credentials)
    platform.deprovision("upgraded")


def test_deprovision_deletes_keys_of_any_bytes(platform: PlatformClient, operator: Redis) -> None:
    platform.provision("bytes")
    credentials = platform.bind("bytes", "b1")
    with connect(credentials) as session:
        session.set(credentials["prefix"].encode() + b"\xff\xfe", "x")
    platform.unbind("bytes", "b1")
    platform.deprovision("bytes")
    assert list(operator.scan_iter(f"{prefix_of('bytes')}*")) == []


def test_unprotected_server_gets_no_users(site: Site) -> None:
    with Server() as server, server.client() as client:
        with pytest.raises(ServerUnprotected, match="requirepass"):
            Tenants(client).add_user("prefix:", "user")
        assert client.acl_users() == ["default"]


@pytest.mark.parametrize("path", ["/health", "/health/live"])
def test_health_needs_no_authentication(path: str, platform: PlatformClient) -> None:
    with urlopen(f"{platform.url}{path}", timeout=30) as response:
        assert json.load(response)["status"] == "ok"


def test_operator_commands_list_instances(platform: PlatformClient, site: Site) -> None:
    platform.provision("listed")
    result = site.run("flask", "--app", "broker", "broker", "instances", "--json")
    assert result.returncode == 0, result.stderr
    assert "listed" in {instance["instance_id"] for instance in json.loads(result.stdout)}
    platform.deprovision("listed")


def test_checker_finds_no_failed_rule(platform: PlatformClient, site: Site, operator: Redis) -> None:
    keys = set(operator.scan_iter())
    result = site.run("brokerkit", "check", platform.url, "--json", "-")
    assert result.returncode == 0, result.stdout + result.stderr
    report = json.loads(result.stdout)
    assert not [rule["key"] for rule in report["rules"] if rule["outcome"] == "failed"]
    assert sum(rule["outcome"] == "passed" for rule in report["rules"]) > 100
    assert not report["leftovers"]
    assert {key for key in operator.scan_iter() if key not in keys and "_kombu" not in key} == set()
    assert operator.acl_users() == ["default"]


@pytest.mark.parametrize("missing", ["REDIS_URL", "BROKER_STORE", "BROKER_KEYS", "BROKER_PASSWORD"])
def test_missing_setting_is_named(site: Site, missing: str) -> None:
    environment = {name: value for name, value in site.environment.items() if name != missing}
    result = subprocess.run(
        [sys.executable, "-c", "import broker"],
        cwd=SAMPLE,
        env={**{k: v for k, v in os.environ.items() if k not in site.environment}, **environment},
        capture_output=True,
        text=True,
    )
    assert f"\n  {missing}: " in result.stderr
    assert "the-operators" not in result.stderr


def test_manifest_matches_procfile_and_required_settings() -> None:
    (app,) = yaml.safe_load((SAMPLE / "manifest.yml").read_text())["applications"]
    procfile = [line.partition(":")[0] for line in (SAMPLE / "Procfile").read_text().splitlines()]
    assert [process["type"] for process in app["processes"]] == procfile
    assert app["env"].keys() >= {"REDIS_URL", "BROKER_STORE", "BROKER_KEYS", *LOGIN}
