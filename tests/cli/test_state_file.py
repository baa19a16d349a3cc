"""What the command remembers of what it made: where, when, and through what."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event

import pytest

from brokerkit.cli.name_generator import new_name
from brokerkit.cli.state_file import KnownBinding, KnownInstance, Pending, StateFile, state_folder
from brokerkit.requests import Operation

from ..support.fake_broker import FakeBroker, Responder, respond
from ..support.stateful import until
from .conftest import Person, offers

URL = "http://broker.example.org"


def instance(name: str, **more: object) -> KnownInstance:
    fields = {
        "name": name,
        "instance_id": f"{name}-id",
        "service_id": "mail-id",
        "service": "mail",
        "plan_id": "post-id",
        "plan": "post",
    }
    return KnownInstance(**{**fields, **more})  # type: ignore[arg-type]


@pytest.fixture
def memory(tmp_path: Path) -> StateFile:
    return StateFile(tmp_path / "home")


# Where


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"BROKERKIT_HOME": "/here", "XDG_STATE_HOME": "/there"}, "/here"),
        ({"XDG_STATE_HOME": "/there"}, "/there/brokerkit"),
        ({"XDG_STATE_HOME": "not/absolute"}, "/home/me/.local/state/brokerkit"),
        ({}, "/home/me/.local/state/brokerkit"),
    ],
)
def test_state_folder_follows_environment_variables(
    environ: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert state_folder(environ) == Path(folder)


def test_undetermined_home_names_environment_variable(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("BROKERKIT_HOME")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    assert "set BROKERKIT_HOME" in person.refusal("services")


def test_empty_home_names_environment_variable(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BROKERKIT_HOME")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", "")
    assert "there is no home directory; set BROKERKIT_HOME" in person.refusal("services")


@pytest.mark.parametrize("is_there", [True, False])
def test_state_file_keeps_symbolic_link(memory: StateFile, tmp_path: Path, is_there: bool) -> None:
    """Writing replaces the target of a symbolic link and keeps the link."""
    target = tmp_path / "elsewhere" / "mine.json"
    if is_there:
        memory.add(URL, instance("letters"))
        target.parent.mkdir()
        memory.path.rename(target)
    memory.path.parent.mkdir(exist_ok=True)
    memory.path.symlink_to(target)
    memory.add(URL, instance("orders"))
    assert memory.path.is_symlink()
    assert {each.name for each in memory.instances(URL).values()} >= {"orders"}
    assert sorted(each.name for each in target.parent.iterdir()) == ["mine.json", "mine.lock"]


def test_state_file_is_private_without_passwords(orders: Person) -> None:
    file = orders.memory.path
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert "s3cret" not in file.read_text()
    assert sorted(each.name for each in file.parent.iterdir()) == ["services.json", "services.lock"]


# When


def test_state_is_saved_before_each_request(fake: FakeBroker, person: Person) -> None:
    seen: list[str] = []

    def look(status: int, body: object = None) -> Responder:
        def play(handler: BaseHTTPRequestHandler) -> None:
            known = person.known["orders"]
            seen.extend([known.state, *(each.state for each in known.bindings.values())])
            respond(status, body)(handler)

        return play

    fake.script(offers(), look(201))
    person.run("provision", "mail", "post", "orders")
    fake.script(offers(), look(201, {"credentials": {}}))
    person.run("bind", "orders", "shop")
    fake.script(offers(), look(200))
    person.run("update", "orders", "-p", "a=1")
    fake.script(look(200))
    person.run("deprovision", "orders", "--yes")
    assert seen == [
        "creating",
        *("ready", "creating"),
        *("updating", "ready"),
        *("ready", "deleting"),
        "deleting",
    ]


def start(person: Person, *command: str) -> subprocess.Popen[str]:
    environ = {**os.environ, **{name: value for name, value in person.env.items() if value is not None}}
    return subprocess.Popen(
        [sys.executable, "-m", "brokerkit", *command],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.integration
def test_killed_command_leaves_resource_in_state(fake: FakeBroker, person: Person) -> None:
    """A provision that was killed before its response can be deprovisioned by name."""
    over = Event()

    def hold(handler: BaseHTTPRequestHandler) -> None:
        over.wait(15)

    fake.script(offers(), hold)
    with start(person, "provision", "mail", "post", "orders") as command:
        until(lambda: len(fake.requests) == 2)
        command.kill()
    over.set()
    assert person.known["orders"].state == "creating"
    fake.script(respond(410))
    assert person.told("deprovision", "orders") == "orders is deleted.\n"


@pytest.mark.integration
def test_concurrent_commands_lose_no_state(fake: FakeBroker, person: Person) -> None:
    def play(handler: BaseHTTPRequestHandler) -> None:
        (offers() if handler.command == "GET" else respond(201))(handler)

    fake.script(play)
    commands = [start(person, "provision", "mail", "post", f"orders-{number}") for number in range(3)]
    for command in commands:
        _, told = command.communicate(timeout=30)
        assert (command.returncode, told) == (0, "")
    assert person.known.keys() == {"orders-0", "orders-1", "orders-2"}


def test_concurrent_writers_are_serialized(memory: StateFile) -> None:
    memory.add(URL, instance("orders"))

    def write(number: int) -> None:
        binding = KnownBinding(name=f"b{number}", binding_id=f"b{number}-id")
        memory.add_binding(URL, instance("orders"), binding)
        memory.change(URL, instance("orders"), version=str(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(24)))
    (known,) = memory.instances(URL).values()
    assert len(known.bindings) == 24


# What


def test_change_does_not_restore_deleted_resource(memory: StateFile) -> None:
    """A change does not restore a resource that another command deleted."""
    binding = KnownBinding(name="shop", binding_id="b1")
    memory.change(URL, instance("orders"), version="2.0.0")
    memory.forget(URL, instance("orders"))
    memory.forget(URL, instance("orders"), binding)
    assert memory.brokers() == {}
    memory.add(URL, instance("orders"))
    memory.change(URL, instance("orders"), binding, failed=True)
    assert memory.instances(URL)["orders-id"].bindings == {}


def test_adopted_instance_is_stored_while_in_progress(memory: StateFile) -> None:
    """An instance that was created elsewhere stays in the state file only during an operation."""
    theirs = instance("orders", adopted=True)
    memory.change(URL, theirs, pending=Pending(kind=Operation.UPDATE))
    assert memory.instances(URL)["orders-id"].state == "updating"
    memory.change(URL, theirs, pending=None)
    assert memory.brokers() == {}


def test_state_is_separate_per_broker(memory: StateFile) -> None:
    memory.add(URL, instance("orders"))
    memory.add("http://other.example.org", instance("orders"))
    assert [*memory.brokers()] == [URL, "http://other.example.org"]


def test_name_lookup_takes_precedence_over_id(memory: StateFile) -> None:
    memory.add(URL, instance("orders"))
    memory.add(URL, instance("orders-id", instance_id="other"))
    found = memory.find(URL, "orders-id")
    assert found is not None
    assert found.instance_id == "other"


def test_generated_names_are_unique() -> None:
    taken: set[str] = set()
    for _ in range(300):
        taken.add(new_name(taken))
    assert len(taken) == 300


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is damaged"),
        (b'{"version": 1, "bro', "is damaged"),
        (b"[]", "is damaged"),
        (b'{"version": 1, "brokers": {"http://x": {"i": {"name": 1}}}}', "is damaged"),
        (b'{"version": 2, "things": []}', "is of another brokerkit (its version is 2, not 1)"),
    ],
)
def test_damaged_state_file_is_reported_and_kept(
    fake: FakeBroker, person: Person, content: bytes, why: str
) -> None:
    """A damaged file, or a file of another version, is named in the error and never overwritten."""
    file = person.memory.path
    file.parent.mkdir()
    file.write_bytes(content)
    fake.script(offers())
    for command in (["services"], ["provision", "mail", "post"], ["deprovision", "orders"]):
        told = person.refusal(*command)
        assert why in told
        assert str(file) in told
        assert told.count("\n") == 1
    assert file.read_bytes() == content
    assert {asked.method for asked in fake.requests} <= {"GET"}


def test_unreadable_state_file_is_named(
    fake: FakeBroker, person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    person.memory.path.mkdir(parents=True)
    assert "services.json cannot be read: Is a directory" in person.refusal("services")
    (tmp_path / "file").touch()
    monkeypatch.setenv("BROKERKIT_HOME", str(tmp_path / "file"))
    fake.script(offers())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StateFile, "instances", lambda *anything: {})
        assert "services.json cannot be written" in person.refusal("provision", "mail", "post")
    assert [asked.method for asked in fake.requests] == ["GET"]


def cannot_be_written(monkeypatch: pytest.MonkeyPatch, play: Responder) -> Responder:
    """An answer after which the disk is full."""

    def full(*anything: object) -> None:
        raise OSError(28, "No space left on device")

    def answer_and_fill(handler: BaseHTTPRequestHandler) -> None:
        monkeypatch.setattr(os, "fsync", full)
        play(handler)

    return answer_and_fill


@pytest.mark.parametrize("as_json", [False, True])
def test_bind_shows_credentials_despite_write_failure(
    as_json: bool, fake: FakeBroker, orders: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.script(offers(), cannot_be_written(monkeypatch, respond(201, {"credentials": {"uri": "db://k3y"}})))
    result = orders.run("bind", "orders", "shop", *(["--json"] if as_json else []), code=1)
    assert "db://k3y" in result.stdout
    assert "ready" in result.stdout
    assert "services.json cannot be written: No space left on device" in result.stderr
    assert "did its part of orders/shop" in result.stderr
    assert orders.known["orders"].bindings.keys()


@pytest.mark.parametrize(
    ("command", "status", "stdout"),
    [
        (["provision", "mail", "post", "letters"], 201, "letters"),
        (["update", "orders", "-p", "a=1"], 200, "orders"),
        (["deprovision", "orders"], 200, "orders is deleted."),
    ],
)
def test_command_shows_result_despite_write_failure(
    command: list[str],
    status: int,
    stdout: str,
    fake: FakeBroker,
    orders: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = [] if command[0] == "deprovision" else [offers()]
    fake.script(*before, cannot_be_written(monkeypatch, respond(status)))
    result = orders.run(*command, code=1)
    assert stdout in result.stdout
    assert "ready" in result.stdout or "deleted" in result.stdout
    assert "cannot be written" in result.stderr


def test_command_shows_refusal_despite_write_failure(
    fake: FakeBroker, orders: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.script(offers(), cannot_be_written(monkeypatch, respond(400, {"description": "There is no room."})))
    told = orders.refusal("bind", "orders", "shop")
    assert "There is no room." in told
    assert "services.json cannot be written" in told


# The list


def test_services_lists_one_or_all_brokers(orders: Person) -> None:
    orders.memory.add(URL, instance("letters", failed=True))
    assert [line.split()[:4] for line in orders.told("services").splitlines()] == [
        ["name", "offering", "plan", "state"],
        ["orders", "mail", "post", "ready"],
    ]
    everywhere = orders.told("services", "--all")
    assert URL in everywhere
    assert "failed" in everywhere
    assert [each["name"] for each in orders.told_json("services", "--all")] == ["orders", "letters"]
    assert [each["name"] for each in orders.told_json("services", "--url", f"{URL}/v2/")] == ["letters"]
    orders.env["BROKER_URL"] = None
    assert len(orders.told("services").splitlines()) == 3


def test_services_forget_removes_local_entry(fake: FakeBroker, orders: Person) -> None:
    """`--forget` removes the entry without a request to the broker."""
    assert "nothing called nix was made" in orders.refusal("services", "--forget", "nix")
    assert orders.told_json("services", "--forget", "orders") == []
    assert orders.known == {}
    assert fake.requests == []
    orders.env["BROKER_URL"] = None
    assert "--forget needs --url" in orders.refusal("services", "--forget", "orders", code=2)


def test_services_reports_an_empty_list(person: Person) -> None:
    assert person.run("services").stderr == f"Nothing was made at {person.url}.\n"
    assert person.run("services", "--all").stderr == "Nothing was made.\n"
    assert person.told_json("services") == []
