"""Shared fixtures of the command's tests: a runner of commands, a home folder, and brokers."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from brokerkit import (
    Binding,
    Broker,
    Catalog,
    InvalidParameters,
    MaintenanceInfo,
    ProvisionRequest,
    ServiceOffering,
    ServicePlan,
)
from brokerkit.cli.main import cli
from brokerkit.cli.state_file import KnownInstance, StateFile
from brokerkit.store.store import Store

from ..support.broker import CREDENTIALS, make_app, make_offering
from ..support.fake_broker import FakeBroker, Responder, respond, serve_app, serve_fake
from ..support.stateful import KEY, stop

MAIL = ServiceOffering(
    id="mail-id",
    name="mail",
    description="Letters",
    bindable=True,
    plan_updateable=True,
    plans=[
        ServicePlan(
            id="post-id", name="post", description="By post", maintenance_info=MaintenanceInfo("1.0.0")
        ),
        ServicePlan(
            id="bird-id", name="bird", description="By bird", maintenance_info=MaintenanceInfo("2.0.0")
        ),
        ServicePlan(id="tin-id", name="tin", description="By tin", maximum_polling_duration=1),
    ],
)
"""The offering of the fake broker. Its bindings cannot be fetched."""


class CommandRunner:
    """A runner of commands for one broker."""

    def __init__(self, url: str) -> None:
        self.env: dict[str, str | None] = {
            "BROKER_URL": url,
            "BROKER_USERNAME": "platform",
            "BROKER_PASSWORD": "s3cret",
            "BROKER_TOKEN": None,
        }

    @property
    def url(self) -> str:
        return self.env["BROKER_URL"] or ""

    @property
    def state_file(self) -> StateFile:
        return StateFile(Path(os.environ["BROKERKIT_HOME"]))

    @property
    def instances(self) -> dict[str, KnownInstance]:
        """The instances of this broker in the state file, by name."""
        return {instance.name: instance for instance in self.state_file.instances(self.url).values()}

    def run(self, *command: str, code: int = 0, typing: str | bytes | None = None) -> Result:
        """Run a command, and assert its exit code and that it raises no exception."""
        result = CliRunner().invoke(cli, command, env=self.env, input=typing, prog_name="brokerkit")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code == code, result.output
        assert "s3cret" not in result.output
        return result

    def output(self, *command: str) -> str:
        """Run a command and return its stdout."""
        return self.run(*command).stdout

    def json(self, *command: str) -> Any:
        """Run a command with --json and return its document. It must print nothing to stderr."""
        result = self.run(*command, "--json")
        assert result.stderr == ""
        return json.loads(result.stdout)

    def error(self, *command: str, code: int = 1) -> str:
        """Run a command that fails, and return its stderr. It must print nothing to stdout."""
        result = self.run(*command, code=code)
        assert result.stdout == ""
        return result.stderr

    def error_json(self, *command: str, code: int = 1) -> Any:
        return json.loads(self.error(*command, "--json", code=code))


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set an empty home folder, and unset the environment variables of the command."""
    for name in ("BROKER_URL", "BROKER_USERNAME", "BROKER_PASSWORD", "BROKER_TOKEN", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BROKERKIT_HOME", str(tmp_path / "home"))


def catalog_response(*offerings: ServiceOffering) -> Responder:
    """Return the response to GET /v2/catalog."""
    return respond(200, msgspec.json.decode(Catalog(offerings or [MAIL]).encoded))


def poll_response(state: str, description: str | None = None, **fields: Any) -> Responder:
    """Return the response to a poll, which the client may repeat without a delay."""
    body = {"state": state, **({} if description is None else {"description": description}), **fields}
    return respond(200, body, Retry_After="0")


@pytest.fixture
def fake() -> Iterator[FakeBroker]:
    with serve_fake() as fake:
        yield fake


@pytest.fixture
def runner(fake: FakeBroker) -> CommandRunner:
    """A runner of commands for the fake broker."""
    return CommandRunner(fake.url)


@pytest.fixture
def orders(fake: FakeBroker, runner: CommandRunner) -> CommandRunner:
    """A runner of commands that has created an instance `orders` of the plan `post`."""
    fake.script(catalog_response(), respond(201))
    runner.run("provision", "mail", "post", "orders")
    fake.requests.clear()
    return runner


class Gate:
    """A gate that holds the background work of the broker until a test opens it."""

    def __init__(self) -> None:
        self.opened = Event()


def quick_broker(folder: Path, gate: Gate) -> Broker:
    """Create a broker with a store: `small` is synchronous, `large` waits for the gate, `tiny` fails."""
    offering = make_offering()
    tiny = ServicePlan(id="tiny-id", name="tiny", description="A tiny one")
    offering = msgspec.structs.replace(offering, plans=[*offering.plans, tiny])
    store = Store(f"sqlite:///{folder / 'broker.db'}", encryption_keys=[KEY])
    broker = Broker(Catalog([offering, MAIL]), auth=CREDENTIALS, store=store)
    broker.provision(lambda request: None)
    broker.update(lambda request: None)
    broker.deprovision(lambda request: None)
    broker.unbind(lambda request: None)

    @broker.bind
    def bind(request: Any) -> Binding:
        return Binding(credentials={"uri": f"db://{request.binding_id}", "api_key": "k3y", "ports": [1, 2]})

    @broker.provision(plan="large", background=True)
    def provision_large(request: ProvisionRequest) -> Generator[str, None, None]:
        yield "Making a volume\x1b[2J"
        gate.opened.wait(15)
        yield "Starting the server"

    @broker.provision(plan="tiny", background=True)
    def provision_tiny(request: ProvisionRequest) -> Generator[str, None, None]:
        yield "Looking for room"
        raise InvalidParameters("There is no room.")

    return broker


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.opened.set()


@pytest.fixture
def real(tmp_path: Path, gate: Gate) -> Iterator[CommandRunner]:
    """A runner of commands for a real broker."""
    broker = quick_broker(tmp_path, gate)
    with serve_app(make_app(broker)) as url:
        yield CommandRunner(url)
        gate.opened.set()
    stop(broker)
