"""Tests of `flask broker …` in a separate process, also with a store that the broker refuses to open."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import text

import brokerkit
from brokerkit.store import schema
from brokerkit.store.store import Store

from ..support.stateful import KEY

pytestmark = pytest.mark.integration

APP = """
import os
from pathlib import Path
from flask import Flask
from brokerkit import Broker, Catalog, NoAuth, ServiceOffering, ServicePlan

if folder := os.environ.get("LATER"):  # simulates a later brokerkit with one more migration
    from brokerkit.store import schema
    schema.__file__ = str(Path(folder) / "schema.py")
    schema.NEWEST = "0004"

plan = ServicePlan(id="p", name="p", description="p")
offering = ServiceOffering(id="s", name="s", description="s", bindable=False, plans=[plan])
keys = os.environ["KEYS"].split() or None
broker = Broker(Catalog([offering]), auth=NoAuth(), store=os.environ["STORE"], encryption_keys=keys)
broker.provision(lambda request: None)
broker.deprovision(lambda request: None)
broker_app = app = Flask("app")
app.register_blueprint(broker.blueprint)

@app.cli.command("custom")
def custom():
    path = "/v2/service_instances/i1?service_id=s&plan_id=p"
    print(app.test_client().delete(path, headers={"X-Broker-API-Version": "2.17"}).status_code)
"""

Flask = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def flask(store_url: str, tmp_path: Path) -> Flask:
    """Return a function that runs `flask …` for a broker on the store."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "broker.py").write_text(APP)
    packages = Path(brokerkit.__file__).parent.parent

    def run(*command: str, module: str = "flask", **settings: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": str(packages),
            "FLASK_APP": "broker",
            "STORE": store_url,
            "KEYS": KEY,
            **settings,
        }
        return subprocess.run(
            [sys.executable, "-m", module, *command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


@pytest.fixture
def later(tmp_path: Path) -> str:
    """Create a copy of the migrations with one more, and return its folder."""
    folder = tmp_path / "later"
    shutil.copytree(Path(schema.__file__).parent / "migrations", folder / "migrations")
    (folder / "migrations" / "versions" / "0004_fourth.py").write_text(
        "from alembic import op\nimport sqlalchemy as sa\n"
        'revision = "0004"\ndown_revision = "0003"\nbranch_labels = None\ndepends_on = None\n'
        'def upgrade():\n    op.create_table("brokerkit_more", sa.Column("id", sa.Integer))\n'
    )
    return str(folder)


@pytest.fixture
def created_store(store_url: str) -> str:
    """Create the store, and return its URL."""
    with closing(Store(store_url, encryption_keys=[KEY])) as store:
        store.open()
    return store_url


def set_version(url: str, version: str) -> None:
    with (
        closing(Store(url, encryption_keys=[KEY])) as store,
        store.database.engine.begin() as connection,
    ):
        connection.execute(text("UPDATE brokerkit_version SET version_num = :version"), {"version": version})


def assert_error(result: subprocess.CompletedProcess[str], reason: str) -> None:
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert reason in result.stderr


def test_upgrade_store_migrates_earlier_schema(flask: Flask, created_store: str, later: str) -> None:
    """Other commands refuse the earlier schema and name `upgrade-store`.

    An earlier brokerkit refuses the upgraded store.
    """
    assert_error(flask("broker", "instances", LATER=later), "flask broker upgrade-store")
    result = flask("broker", "upgrade-store", LATER=later)
    assert (result.returncode, result.stdout) == (0, "Upgraded the store from schema version 0003 to 0004.\n")
    result = flask("broker", "upgrade-store", "--json", LATER=later)
    assert json.loads(result.stdout) == [{"before": "0004", "after": "0004"}]
    assert flask("broker", "instances", "--json", LATER=later).stdout == "[]\n"
    assert_error(flask("broker", "instances"), "supports only versions up to 0003")


def test_upgrade_store_rejects_unknown_schema_version(flask: Flask, created_store: str) -> None:
    set_version(created_store, "0000")
    assert_error(flask("broker", "upgrade-store"), "cannot be upgraded")


@pytest.mark.parametrize("command", ["upgrade-store", "instances", "rotate-keys"])
def test_commands_reject_later_schema_version(flask: Flask, created_store: str, command: str) -> None:
    set_version(created_store, "9999")
    assert_error(flask("broker", command), "has schema version 9999")


@pytest.mark.parametrize("command", [["instances"], ["show", "i1"], ["purge", "--older-than", "1d"]])
def test_commands_report_wrong_keys_in_one_line(flask: Flask, created_store: str, command: list[str]) -> None:
    assert_error(flask("broker", *command, KEYS=Fernet.generate_key().decode()), "encrypted with a key")


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("sqlite:////nowhere/broker.db", "there is no store"),
        ("postgresql+psycopg://nobody@/nothing?host=/nowhere", "cannot be opened"),
    ],
)
def test_commands_report_unavailable_database_in_one_line(flask: Flask, url: str, error: str) -> None:
    assert_error(flask("broker", "operations", STORE=url), error)


def test_commands_create_no_store(flask: Flask, tmp_path: Path) -> None:
    """In the wrong folder a command reports that there is no store. It does not create an empty one."""
    url = f"sqlite:///{tmp_path / 'own.db'}"
    assert_error(flask("broker", "instances", STORE=url, KEYS=""), "there is no store")
    assert not [*tmp_path.glob("own*")]


def test_catalog_command_works_without_usable_store(flask: Flask, created_store: str) -> None:
    """`flask --help` lists the command group without an error too."""
    set_version(created_store, "9999")
    assert json.loads(flask("broker", "catalog", "--json").stdout)[0]["plan"] == "p"
    help_result = flask("--help")
    assert "Manage the broker's instances, bindings and operations." in help_result.stdout
    assert "Error" not in help_result.stderr


@pytest.mark.parametrize(
    ("command", "module"),
    [
        (["run", "--port", "0"], "flask"),
        (["--app", "broker", "run", "--port", "0"], "flask"),
        (["shell"], "flask"),
        (["--bind", "127.0.0.1:0", "broker:app"], "gunicorn"),
    ],
)
def test_servers_refuse_unknown_schema_version(
    flask: Flask, created_store: str, command: list[str], module: str
) -> None:
    set_version(created_store, "9999")
    result = flask(*command, module=module)
    assert result.returncode != 0
    assert "has schema version 9999, and this brokerkit supports only versions up to" in result.stderr


def test_custom_command_finds_open_store(flask: Flask, created_store: str) -> None:
    """The author's own Flask command can send requests to the broker."""
    result = flask("custom")
    assert (result.returncode, result.stdout) == (0, "410\n"), result.stderr


def test_rotate_keys_prepends_key_to_file(flask: Flask, tmp_path: Path) -> None:
    """Without configured keys, commands use the key file, which stays private to its owner."""
    url = f"sqlite:///{tmp_path / 'own.db'}"
    store = Store(url)
    store.open()
    store.close()
    assert flask("broker", "instances", STORE=url, KEYS="").stdout == "There are no instances.\n"
    file = tmp_path / "own.db.key"
    before = file.read_text().split()
    assert "Added a new key" in flask("broker", "rotate-keys", STORE=url, KEYS="").stdout
    after = file.read_text().split()
    assert after[1:] == before
    assert file.stat().st_mode & 0o777 == 0o600
