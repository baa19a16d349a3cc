"""What the tests of the command share: somebody who types, a home of theirs, and brokers."""

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
"""What the fake broker offers: bindings cannot be fetched."""


class Person:
    """Types commands at one broker, and reads what they say."""

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
    def memory(self) -> StateFile:
        return StateFile(Path(os.environ["BROKERKIT_HOME"]))

    @property
    def known(self) -> dict[str, KnownInstance]:
        """What is remembered of this broker, by name."""
        return {each.name: each for each in self.memory.instances(self.url).values()}

    def run(self, *command: str, code: int = 0, typing: str | bytes | None = None) -> Result:
        """Run a command, which must end with this code and without a traceback."""
        result = CliRunner().invoke(cli, command, env=self.env, input=typing, prog_name="brokerkit")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code == code, result.output
        assert "s3cret" not in result.output
        return result

    def told(self, *command: str) -> str:
        return self.run(*command).stdout

    def told_json(self, *command: str) -> Any:
        """The document that a command prints for programs, to whom it says nothing else."""
        result = self.run(*command, "--json")
        assert result.stderr == ""
        return json.loads(result.stdout)

    def refusal(self, *command: str, code: int = 1) -> str:
        """What a command says that ends without a result."""
        result = self.run(*command, code=code)
        assert result.stdout == ""
        return result.stderr

    def refusal_json(self, *command: str, code: int = 1) -> Any:
        return json.loads(self.refusal(*command, "--json", code=code))


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home without a past, and an environment that says nothing."""
    for name in ("BROKER_URL", "BROKER_USERNAME", "BROKER_PASSWORD", "BROKER_TOKEN", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BROKERKIT_HOME", str(tmp_path / "home"))


def offers(*offerings: ServiceOffering) -> Responder:
    """The answer to GET /v2/catalog."""
    return respond(200, msgspec.json.decode(Catalog(offerings or [MAIL]).encoded))


def polled(state: str, description: str | None = None, **more: Any) -> Responder:
    """The answer to a poll, which may be repeated at once."""
    told = {"state": state, **({} if description is None else {"description": description}), **more}
    return respond(200, told, Retry_After="0")


@pytest.fixture
def fake() -> Iterator[FakeBroker]:
    with serve_fake() as made:
        yield made


@pytest.fixture
def person(fake: FakeBroker) -> Person:
    """Somebody in front of the fake broker."""
    return Person(fake.url)


@pytest.fixture
def orders(fake: FakeBroker, person: Person) -> Person:
    """Somebody who made an instance `orders` of the plan `post`."""
    fake.script(offers(), respond(201))
    person.run("provision", "mail", "post", "orders")
    fake.requests.clear()
    return person


class Pace:
    """Holds what works in the background until a test lets it go on."""

    def __init__(self) -> None:
        self.go = Event()


def quick_broker(folder: Path, pace: Pace) -> Broker:
    """A broker with a store: `small` is there at once, `large` when `pace` says so, `tiny` fails."""
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
        pace.go.wait(15)
        yield "Starting the server"

    @broker.provision(plan="tiny", background=True)
    def provision_tiny(request: ProvisionRequest) -> Generator[str, None, None]:
        yield "Looking for room"
        raise InvalidParameters("There is no room.")

    return broker


@pytest.fixture
def pace() -> Iterator[Pace]:
    made = Pace()
    yield made
    made.go.set()


@pytest.fixture
def real(tmp_path: Path, pace: Pace) -> Iterator[Person]:
    """Somebody in front of a real broker."""
    broker = quick_broker(tmp_path, pace)
    with serve_app(make_app(broker)) as url:
        yield Person(url)
        pace.go.set()
    stop(broker)
