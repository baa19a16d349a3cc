"""What platforms and handlers said is sealed in whatever the store leaves on the disk, and not in the log."""

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
from .conftest import Range
from .final_state import rows
from .processes import started, until_it_succeeded
from .requests import CAN_POLL, binding_body, binding_path, body, change, deletion, instance_path

TABLES = ("instances", "bindings", "operations", "keys")


class Markers:
    """Random words, to look for afterwards."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        return self.words.setdefault(name, f"{name}-{secrets.token_hex(12)}")

    def found_in(self, content: bytes) -> set[str]:
        return {name for name, word in self.words.items() if word.split("-")[-1].encode() in content}


def stored(url: str, folder: Path) -> bytes:
    """All that is in the files of a SQLite store, or in the columns of the others."""
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


@pytest.mark.parametrize("plan", ["at-once", "polled", "background"])
def test_store_and_log_contain_no_plaintext(shooting_range: Range, plan: str) -> None:
    """Parameters, credentials, data, contexts and bodies are encrypted in the store at all times and absent
    from the log.
    """
    mark = Markers()
    server = started(shooting_range.serve(shooting_range.setting(log_level="DEBUG")))

    def look() -> None:
        content = stored(shooting_range.url, shooting_range.folder)
        assert b"i1" in content, "it is looked at"
        assert mark.found_in(content) == set()

    def settle(method: str, path: str, order: object, query: str = "") -> None:
        answer = server.send(method, path, order, "&".join(part for part in (CAN_POLL, query) if part))
        if answer.status == 202:
            until_it_succeeded(server, path, answer.body["operation"])
        else:
            assert answer.status in (200, 201), answer
        look()

    instance, binding = instance_path("i1"), binding_path("i1", "b1")
    user = {"user": mark("user"), "organization_name": mark("organization")}
    context = {"context": {"platform": "cloudfoundry", **user}}
    more = {"x_vendor": mark("vendor")}
    settle("PUT", instance, {**body(plan, data=mark("parameters")), **context, **more})
    settle("PUT", binding, {**binding_body(plan, data=mark("credentials")), **context, **more})
    settle("PATCH", instance, {**change(data=mark("update")), **context, **more})
    assert server.send("GET", instance).body["parameters"]["data"] == mark("update")
    failing = binding_body(plan, fails=mark("description"))
    answer = server.send("PUT", binding_path("i1", "b2"), failing, CAN_POLL)
    assert answer.status in (202, 500)
    look()
    taken = server.send("PUT", instance, body(plan, data=mark("conflict")), CAN_POLL)
    assert taken.status == 409
    invalid = server.send("PUT", instance_path("i2"), {**body(plan), "parameters": mark("invalid")}, CAN_POLL)
    assert invalid.status == 400
    settle("DELETE", binding, None, deletion(plan))
    settle("DELETE", binding_path("i1", "b2"), None, deletion(plan)) if answer.status == 500 else None
    server.terminate()
    log = shooting_range.log.encode()
    assert b"INFO" in log
    assert mark.found_in(log) - {"description"} == set()


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
    ("spoil", "remedy"),
    [
        (broken_key, "add it at the end"),
        (missing_key, "put it back"),
        (readable_key, "chmod 600"),
        (empty_key, "put back"),
    ],
)
def test_changed_key_file_is_rejected_with_remedy(tmp_path: Path, spoil: object, remedy: str) -> None:
    url = f"sqlite:///{tmp_path / 'broker.db'}"
    open_and_close(url)
    assert callable(spoil)
    spoil(tmp_path / "broker.db.key")
    with pytest.raises(StoreError, match=re.escape(remedy)):
        open_and_close(url)


def test_store_with_other_key_is_rejected(store_url: str) -> None:
    open_and_close(store_url, KEY)
    with pytest.raises(StoreError, match="add it at the end"):
        open_and_close(store_url, new_key())


def test_new_key_before_old_key_decrypts_store(shooting_range: Range) -> None:
    path = instance_path("i1")
    server = started(shooting_range.serve())
    assert server.send("PUT", path, body("at-once", data="d")).status == 201
    server.terminate()
    keys = [new_key(), KEY]
    store = Store(shooting_range.url, encryption_keys=keys)
    store.open()
    known = store.find("i1").instance
    assert known is not None
    assert known.attributes.parameters == {"data": "d"}
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
