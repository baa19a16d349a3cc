"""Tests of secrets: values of platforms and handlers are encrypted in the store and absent from the log."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from brokerkit.store.encryption import new_key
from brokerkit.store.errors import StoreError
from brokerkit.store.schema import VERSION_TABLE
from brokerkit.store.store import Store

from .broker_app import KEY
from .conftest import BrokerProcesses
from .final_state import rows
from .processes import activate, wait_until_succeeded
from .requests import (
    CAN_POLL,
    binding_body,
    binding_path,
    delete_query,
    instance_path,
    provision_body,
    update_body,
)

TABLES = ("instances", "bindings", "operations", "keys")


class Markers:
    """Random words that tests send, and then search for."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        return self.words.setdefault(name, f"{name}-{secrets.token_hex(12)}")

    def names_in(self, content: bytes) -> set[str]:
        return {name for name, word in self.words.items() if word.split("-")[-1].encode() in content}


def stored(url: str, folder: Path) -> bytes:
    """Return the contents of all files of a SQLite store, or of all columns of another store."""
    if url.startswith("sqlite"):
        files = [path for path in folder.iterdir() if path.name.startswith("broker.db")]
        assert {"broker.db", "broker.db-wal", "broker.db-shm"} <= {path.name for path in files}
        return b"".join(path.read_bytes() for path in files)
    return b"".join(
        value if isinstance(value, bytes) else str(value).encode()
        for table in TABLES
        for row in rows(url, table)
        for value in row.values()
    )


@pytest.mark.parametrize("plan", ["synchronous", "polled", "background"])
def test_store_and_log_contain_no_plaintext(processes: BrokerProcesses, plan: str) -> None:
    """Parameters, credentials, data, contexts and bodies are encrypted in the store at all times and absent
    from the log.
    """
    mark = Markers()
    server = activate(processes.serve(processes.settings(log_level="DEBUG")))

    def check_store() -> None:
        content = stored(processes.url, processes.folder)
        assert b"i1" in content, "the search must cover the instance"
        assert mark.names_in(content) == set()

    def settle(method: str, path: str, body: object, query: str = "") -> None:
        response = server.send(method, path, body, "&".join(part for part in (CAN_POLL, query) if part))
        if response.status == 202:
            wait_until_succeeded(server, path, response.body["operation"])
        else:
            assert response.status in (200, 201), response
        check_store()

    instance, binding = instance_path("i1"), binding_path("i1", "b1")
    user = {"user": mark("user"), "organization_name": mark("organization")}
    context = {"context": {"platform": "cloudfoundry", **user}}
    more = {"x_vendor": mark("vendor")}
    settle("PUT", instance, {**provision_body(plan, data=mark("parameters")), **context, **more})
    settle("PUT", binding, {**binding_body(plan, data=mark("credentials")), **context, **more})
    settle("PATCH", instance, {**update_body(data=mark("update")), **context, **more})
    assert server.send("GET", instance).body["parameters"]["data"] == mark("update")
    failing = binding_body(plan, fails=mark("description"))
    response = server.send("PUT", binding_path("i1", "b2"), failing, CAN_POLL)
    assert response.status in (202, 500)
    check_store()
    conflict = server.send("PUT", instance, provision_body(plan, data=mark("conflict")), CAN_POLL)
    assert conflict.status == 409
    invalid_body = {**provision_body(plan), "parameters": mark("invalid")}
    invalid = server.send("PUT", instance_path("i2"), invalid_body, CAN_POLL)
    assert invalid.status == 400
    settle("DELETE", binding, None, delete_query(plan))
    settle("DELETE", binding_path("i1", "b2"), None, delete_query(plan)) if response.status == 500 else None
    server.terminate()
    log = processes.log.encode()
    assert b"INFO" in log
    assert mark.names_in(log) - {"description"} == set()


def open_and_close(url: str, key: str | None = None) -> None:
    store = Store(url, encryption_keys=None if key is None else [key])
    try:
        store.open()
    finally:
        store.close()


def test_sqlite_key_file_is_private(tmp_path: Path) -> None:
    """The file has mode 0600."""
    open_and_close(f"sqlite:///{tmp_path / 'broker.db'}")
    assert (tmp_path / "broker.db.key").stat().st_mode & 0o777 == 0o600
    open_and_close(f"sqlite:///{tmp_path / 'broker.db'}")


def broken_key(path: Path) -> None:
    path.write_text(new_key())


def missing_key(path: Path) -> None:
    path.unlink()


def readable_key(path: Path) -> None:
    path.chmod(0o640)


def empty_key(path: Path) -> None:
    path.write_text("\n")


@pytest.mark.parametrize(
    ("damage", "remedy"),
    [
        (broken_key, "add that key at the end"),
        (missing_key, "restore the file"),
        (readable_key, "chmod 600"),
        (empty_key, "restore it from a backup"),
    ],
)
def test_changed_key_file_is_rejected_with_remedy(tmp_path: Path, damage: object, remedy: str) -> None:
    url = f"sqlite:///{tmp_path / 'broker.db'}"
    open_and_close(url)
    assert callable(damage)
    damage(tmp_path / "broker.db.key")
    with pytest.raises(StoreError, match=re.escape(remedy)):
        open_and_close(url)


def test_store_with_other_key_is_rejected(store_url: str) -> None:
    open_and_close(store_url, KEY)
    with pytest.raises(StoreError, match="add that key at the end"):
        open_and_close(store_url, new_key())


def test_new_key_before_old_key_decrypts_store(processes: BrokerProcesses) -> None:
    path = instance_path("i1")
    server = activate(processes.serve())
    assert server.send("PUT", path, provision_body("synchronous", data="d")).status == 201
    server.terminate()
    keys = [new_key(), KEY]
    store = Store(processes.url, encryption_keys=keys)
    store.open()
    instance = store.find("i1").instance
    assert instance is not None
    assert instance.attributes.parameters == {"data": "d"}
    store.close()


def test_postgresql_store_without_keys_is_rejected(postgres_url: str) -> None:
    with pytest.raises(StoreError, match="generate_key"):
        Store(postgres_url)


@pytest.mark.parametrize(("version", "remedy"), [("0000", "upgrade-store"), ("9999", "install")])
def test_other_schema_version_is_rejected_with_remedy(store_url: str, version: str, remedy: str) -> None:
    open_and_close(store_url, KEY)
    engine = create_engine(store_url)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = :version"), {"version": version})
    engine.dispose()
    with pytest.raises(StoreError, match=remedy):
        open_and_close(store_url, KEY)
