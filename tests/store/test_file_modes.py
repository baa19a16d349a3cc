"""The permissions of a SQLite store's files."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from brokerkit import Broker

from ..support.broker import INSTANCE, PROVISION, Platform, Recorder, make_app, make_broker
from ..support.stateful import stop

pytestmark = pytest.mark.skipif(os.name != "posix", reason="files have modes on POSIX only")

FILES = ("broker.db", "broker.db-wal", "broker.db-shm")


@pytest.fixture(params=[0o000, 0o022, 0o277], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    previous = os.umask(request.param)
    yield request.param
    os.umask(previous)


@pytest.fixture
def start(recorder: Recorder, tmp_path: Path) -> Iterator[Callable[[], Platform]]:
    brokers: list[Broker] = []

    def platform() -> Platform:
        brokers.append(make_broker(recorder, store=f"sqlite:///{tmp_path / 'broker.db'}"))
        return Platform(make_app(brokers[-1]))

    yield platform
    for broker in brokers:
        stop(broker)


def modes(folder: Path) -> dict[str, int]:
    return {name: stat.S_IMODE((folder / name).stat().st_mode) for name in FILES}


@pytest.mark.usefixtures("umask")
def test_new_store_is_private(start: Callable[[], Platform], tmp_path: Path) -> None:
    """The database, its log and its index have mode 0600, whatever the umask."""
    assert start().put(INSTANCE, PROVISION).status_code == 201
    assert modes(tmp_path) == dict.fromkeys(FILES, 0o600)


@pytest.mark.usefixtures("umask")
def test_upgrade_creates_private_store(
    start: Callable[[], Platform], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brokerkit.admin.commands.is_finding_command", lambda: True)
    app = start().app
    assert not (tmp_path / "broker.db").exists()
    result = app.test_cli_runner().invoke(args=["broker", "upgrade-store"])
    assert result.exit_code == 0, result.output
    assert modes(tmp_path) == dict.fromkeys(FILES, 0o600)


def test_target_of_symbolic_link_is_private(start: Callable[[], Platform], tmp_path: Path) -> None:
    target = tmp_path / "target.db"
    (tmp_path / "broker.db").symlink_to(target)
    assert start().put(INSTANCE, PROVISION).status_code == 201
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_existing_store_keeps_mode(start: Callable[[], Platform], tmp_path: Path) -> None:
    """An operator may give a group access. The log and the index get the mode of the database."""
    (tmp_path / "broker.db").touch()
    (tmp_path / "broker.db").chmod(0o660)
    assert start().put(INSTANCE, PROVISION).status_code == 201
    assert modes(tmp_path) == dict.fromkeys(FILES, 0o660)
