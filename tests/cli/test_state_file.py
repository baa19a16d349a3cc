"""Tests of the state file: its location, its writes, its content, and the command `services`."""

from __future__ import annotations

import json
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
from .conftest import CommandRunner, catalog_response

URL = "http://broker.example.org"


def instance(name: str, **overrides: object) -> KnownInstance:
    fields = {
        "name": name,
        "instance_id": f"{name}-id",
        "service_id": "mail-id",
        "offering": "mail",
        "plan_id": "post-id",
        "plan": "post",
    }
    return KnownInstance(**{**fields, **overrides})  # type: ignore[arg-type]


@pytest.fixture
def state_file(tmp_path: Path) -> StateFile:
    return StateFile(tmp_path / "home")


# Location


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


@pytest.mark.integration
def test_undetermined_home_names_environment_variable(
    runner: CommandRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("BROKERKIT_HOME")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert "set BROKERKIT_HOME" in runner.error("services")


@pytest.mark.integration
def test_empty_home_names_environment_variable(
    runner: CommandRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BROKERKIT_HOME")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", "")
    assert "there is no home directory; set BROKERKIT_HOME" in runner.error("services")


@pytest.mark.parametrize("exists", [True, False])
def test_state_file_keeps_symbolic_link(state_file: StateFile, tmp_path: Path, exists: bool) -> None:
    """Writing replaces the target of a symbolic link and keeps the link."""
    target = tmp_path / "elsewhere" / "mine.json"
    if exists:
        state_file.add(URL, instance("letters"))
        target.parent.mkdir()
        state_file.path.rename(target)
    state_file.path.parent.mkdir(exist_ok=True)
    state_file.path.symlink_to(target)
    state_file.add(URL, instance("orders"))
    assert state_file.path.is_symlink()
    assert {instance.name for instance in state_file.instances(URL).values()} >= {"orders"}
    assert sorted(path.name for path in target.parent.iterdir()) == ["mine.json", "mine.lock"]


@pytest.mark.integration
def test_state_file_is_private_without_passwords(orders: CommandRunner) -> None:
    file = orders.state_file.path
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert "s3cret" not in file.read_text()
    assert sorted(path.name for path in file.parent.iterdir()) == ["services.json", "services.lock"]


# Writes


@pytest.mark.integration
def test_state_is_saved_before_each_request(fake: FakeBroker, runner: CommandRunner) -> None:
    states: list[str] = []

    def record_states(status: int, body: object = None) -> Responder:
        def play(handler: BaseHTTPRequestHandler) -> None:
            instance = runner.instances["orders"]
            states.extend([instance.state, *(binding.state for binding in instance.bindings.values())])
            respond(status, body)(handler)

        return play

    fake.script(catalog_response(), record_states(201))
    runner.run("provision", "mail", "post", "orders")
    fake.script(catalog_response(), record_states(201, {"credentials": {}}))
    runner.run("bind", "orders", "shop")
    fake.script(catalog_response(), record_states(200))
    runner.run("update", "orders", "-p", "a=1")
    fake.script(record_states(200))
    runner.run("deprovision", "orders", "--yes")
    assert states == [
        "creating",
        *("ready", "creating"),
        *("updating", "ready"),
        *("ready", "deleting"),
        "deleting",
    ]


def start(runner: CommandRunner, *command: str) -> subprocess.Popen[str]:
    environ = {**os.environ, **{name: value for name, value in runner.env.items() if value is not None}}
    return subprocess.Popen(
        [sys.executable, "-m", "brokerkit", *command],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.integration
def test_killed_command_leaves_resource_in_state(fake: FakeBroker, runner: CommandRunner) -> None:
    """A provision that was killed before its response can be deprovisioned by name."""
    killed = Event()

    def hold(handler: BaseHTTPRequestHandler) -> None:
        killed.wait(15)

    fake.script(catalog_response(), hold)
    with start(runner, "provision", "mail", "post", "orders") as command:
        until(lambda: len(fake.requests) == 2)
        command.kill()
    killed.set()
    assert runner.instances["orders"].state == "creating"
    fake.script(respond(410))
    assert runner.output("deprovision", "orders") == "orders is deleted.\n"


@pytest.mark.integration
def test_concurrent_commands_lose_no_state(fake: FakeBroker, runner: CommandRunner) -> None:
    def play(handler: BaseHTTPRequestHandler) -> None:
        (catalog_response() if handler.command == "GET" else respond(201))(handler)

    fake.script(play)
    commands = [start(runner, "provision", "mail", "post", f"orders-{number}") for number in range(3)]
    for command in commands:
        _, stderr = command.communicate(timeout=30)
        assert (command.returncode, stderr) == (0, "")
    assert runner.instances.keys() == {"orders-0", "orders-1", "orders-2"}


def test_concurrent_writers_are_serialized(state_file: StateFile) -> None:
    state_file.add(URL, instance("orders"))

    def write(number: int) -> None:
        binding = KnownBinding(name=f"b{number}", binding_id=f"b{number}-id")
        state_file.add_binding(URL, instance("orders"), binding)
        state_file.update(URL, instance("orders"), version=str(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(24)))
    (stored,) = state_file.instances(URL).values()
    assert len(stored.bindings) == 24


# Content


def test_change_does_not_restore_deleted_resource(state_file: StateFile) -> None:
    """A change does not restore a resource that another command deleted."""
    binding = KnownBinding(name="shop", binding_id="b1")
    state_file.update(URL, instance("orders"), version="2.0.0")
    state_file.remove(URL, instance("orders"))
    state_file.remove(URL, instance("orders"), binding)
    assert state_file.brokers() == {}
    state_file.add(URL, instance("orders"))
    state_file.update(URL, instance("orders"), binding, failed=True)
    assert state_file.instances(URL)["orders-id"].bindings == {}


def test_state_file_of_earlier_release_is_readable(state_file: StateFile) -> None:
    """The fields keep their names in the file, so that all releases read the same files."""
    text = """{"version": 1, "brokers": {"http://broker.example.org": {"orders-id": {
        "name": "orders", "made_at": "2026-01-02T03:04:05Z", "instance_id": "orders-id",
        "service_id": "mail-id", "service": "mail", "plan_id": "post-id", "plan": "post"}}}}"""
    state_file.path.parent.mkdir()
    state_file.path.write_text(text)
    stored = state_file.instances(URL)["orders-id"]
    assert (stored.offering, stored.created_at.year) == ("mail", 2026)
    state_file.update(URL, stored, failed=True)
    written = json.loads(state_file.path.read_text())["brokers"][URL]["orders-id"]
    assert written == {**json.loads(text)["brokers"][URL]["orders-id"], "failed": True}


def test_adopted_instance_is_stored_while_in_progress(state_file: StateFile) -> None:
    """An instance that was created elsewhere stays in the state file only during an operation."""
    foreign = instance("orders", adopted=True)
    state_file.update(URL, foreign, pending=Pending(kind=Operation.UPDATE))
    assert state_file.instances(URL)["orders-id"].state == "updating"
    state_file.update(URL, foreign, pending=None)
    assert state_file.brokers() == {}


def test_state_is_separate_per_broker(state_file: StateFile) -> None:
    state_file.add(URL, instance("orders"))
    state_file.add("http://other.example.org", instance("orders"))
    assert [*state_file.brokers()] == [URL, "http://other.example.org"]


def test_name_lookup_takes_precedence_over_id(state_file: StateFile) -> None:
    state_file.add(URL, instance("orders"))
    state_file.add(URL, instance("orders-id", instance_id="other"))
    result = state_file.find(URL, "orders-id")
    assert result is not None
    assert result.instance_id == "other"


def test_generated_names_are_unique() -> None:
    taken: set[str] = set()
    for _ in range(300):
        taken.add(new_name(taken))
    assert len(taken) == 300


@pytest.mark.integration
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is damaged"),
        (b'{"version": 1, "bro', "is damaged"),
        (b"[]", "is damaged"),
        (b'{"version": 1, "brokers": {"http://x": {"i": {"name": 1}}}}', "is damaged"),
        (
            b'{"version": 2, "things": []}',
            "has version 2, expected 1; use the release of brokerkit that wrote it",
        ),
    ],
)
def test_damaged_state_file_is_reported_and_kept(
    fake: FakeBroker, runner: CommandRunner, content: bytes, message: str
) -> None:
    """A damaged file, or a file of another version, is named in the error and never overwritten."""
    file = runner.state_file.path
    file.parent.mkdir()
    file.write_bytes(content)
    fake.script(catalog_response())
    for command in (["services"], ["provision", "mail", "post"], ["deprovision", "orders"]):
        error = runner.error(*command)
        assert message in error
        assert str(file) in error
        assert error.count("\n") == 1
    assert file.read_bytes() == content
    assert {request.method for request in fake.requests} <= {"GET"}


@pytest.mark.integration
def test_unreadable_state_file_is_named(
    fake: FakeBroker, runner: CommandRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.state_file.path.mkdir(parents=True)
    assert "services.json cannot be read: Is a directory" in runner.error("services")
    (tmp_path / "file").touch()
    monkeypatch.setenv("BROKERKIT_HOME", str(tmp_path / "file"))
    fake.script(catalog_response())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StateFile, "instances", lambda *arguments: {})
        assert "services.json cannot be written" in runner.error("provision", "mail", "post")
    assert [request.method for request in fake.requests] == ["GET"]


def answer_and_fill_disk(monkeypatch: pytest.MonkeyPatch, play: Responder) -> Responder:
    """Return a response after which the disk is full."""

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    def play_and_fill(handler: BaseHTTPRequestHandler) -> None:
        monkeypatch.setattr(os, "fsync", full)
        play(handler)

    return play_and_fill


@pytest.mark.integration
@pytest.mark.parametrize("as_json", [False, True])
def test_bind_shows_credentials_despite_write_failure(
    as_json: bool, fake: FakeBroker, orders: CommandRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.script(
        catalog_response(),
        answer_and_fill_disk(monkeypatch, respond(201, {"credentials": {"uri": "db://k3y"}})),
    )
    result = orders.run("bind", "orders", "shop", *(["--json"] if as_json else []), code=1)
    assert "db://k3y" in result.stdout
    assert "ready" in result.stdout
    assert "services.json cannot be written: No space left on device" in result.stderr
    assert "only the record of orders/shop is out of date" in result.stderr
    assert orders.instances["orders"].bindings.keys()


@pytest.mark.integration
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
    orders: CommandRunner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = [] if command[0] == "deprovision" else [catalog_response()]
    fake.script(*before, answer_and_fill_disk(monkeypatch, respond(status)))
    result = orders.run(*command, code=1)
    assert stdout in result.stdout
    assert "ready" in result.stdout or "deleted" in result.stdout
    assert "cannot be written" in result.stderr


@pytest.mark.integration
def test_command_shows_refusal_despite_write_failure(
    fake: FakeBroker, orders: CommandRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.script(
        catalog_response(),
        answer_and_fill_disk(monkeypatch, respond(400, {"description": "There is no room."})),
    )
    message = orders.error("bind", "orders", "shop")
    assert "There is no room." in message
    assert "services.json cannot be written" in message


# `brokerkit services`


@pytest.mark.integration
def test_services_lists_one_or_all_brokers(orders: CommandRunner) -> None:
    orders.state_file.add(URL, instance("letters", failed=True))
    assert [line.split()[:4] for line in orders.output("services").splitlines()] == [
        ["name", "offering", "plan", "state"],
        ["orders", "mail", "post", "ready"],
    ]
    everywhere = orders.output("services", "--all")
    assert URL in everywhere
    assert "failed" in everywhere
    assert [instance["name"] for instance in orders.json("services", "--all")] == ["orders", "letters"]
    assert [instance["name"] for instance in orders.json("services", "--url", f"{URL}/v2/")] == ["letters"]
    orders.env["BROKER_URL"] = None
    assert len(orders.output("services").splitlines()) == 3


@pytest.mark.integration
def test_services_forget_removes_local_entry(fake: FakeBroker, orders: CommandRunner) -> None:
    """`--forget` removes the entry without a request to the broker."""
    assert "the state file has no instance nix" in orders.error("services", "--forget", "nix")
    assert orders.json("services", "--forget", "orders") == []
    assert orders.instances == {}
    assert fake.requests == []
    orders.env["BROKER_URL"] = None
    assert "--forget needs --url" in orders.error("services", "--forget", "orders", code=2)


@pytest.mark.integration
def test_services_reports_an_empty_list(runner: CommandRunner) -> None:
    assert runner.run("services").stderr == f"There are no instances at {runner.url}.\n"
    assert runner.run("services", "--all").stderr == "There are no instances.\n"
    assert runner.json("services") == []
