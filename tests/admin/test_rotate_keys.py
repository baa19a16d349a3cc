"""Tests of `flask broker rotate-keys`, also while brokers run."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from msgspec import Raw

from brokerkit import Binding, Provisioned
from brokerkit.store import key_rotation
from brokerkit.store.encryption import Encryptor, FileEncryptor, KeyFile, new_key
from brokerkit.store.errors import StoreError
from brokerkit.store.places import KEY_CHECK
from brokerkit.store.store import Store

from ..support.broker import INSTANCE, Recorder, make_broker
from ..support.stateful import KEY, Platform, Serve
from ..support.stored_values import read_values, write_unbound, write_value
from .test_commands import bind, body_of, delete, error_of, json_of, make, output_of

NEW = Fernet.generate_key().decode()


def serve_with(serve: Serve, keys: Sequence[str] | None, url: str | None = None) -> Platform:
    recorder = Recorder()
    recorder.answers["provision"] = Provisioned(data={"key": "value"})
    recorder.answers["bind"] = Binding(credentials={"uri": "db://secret"})
    store = Store(url or serve.url, encryption_keys=keys)
    return serve.attach(make_broker(recorder, store=store))


def fill(platform: Platform) -> None:
    for name in ("i1", "i2", "gone"):
        make(platform, name)
    bind(platform, "i1", "b1")
    delete(platform, "gone")


def count_encrypted(url: str, keys: Sequence[str] | None, key: str) -> tuple[int, int]:
    """Return the number of values that a key decrypts, and the number of all encrypted values."""
    encryptor, decrypted = Encryptor([key]), 0
    values = read_values(url, keys)
    for place, value in values.items():
        try:
            encryptor.decrypt(value, Raw, place)
        except StoreError:
            continue
        decrypted += 1
    return decrypted, len(values)


def test_rotation_makes_old_key_obsolete(serve: Serve) -> None:
    """After the rotation the new key alone decrypts everything, and the old key alone is refused."""
    fill(serve_with(serve, [KEY]))
    app = serve_with(serve, [NEW, KEY]).app
    assert json_of(app, "rotate-keys") == [
        {"instances": 2, "bindings": 1, "operations": 5, "key_made": False, "keys_removed": 0}
    ]
    decrypted, total = count_encrypted(serve.url, [NEW], NEW)
    assert decrypted == total
    rotated = serve_with(serve, [NEW])
    assert body_of(rotated.get(f"{INSTANCE}/service_bindings/b1"))["credentials"] == {"uri": "db://secret"}
    with (
        closing(Store(serve.url, encryption_keys=[KEY])) as old,
        pytest.raises(StoreError, match="encrypted with"),
    ):
        old.open()


def test_second_rotation_has_no_work(serve: Serve) -> None:
    fill(serve_with(serve, [KEY]))
    app = serve_with(serve, [NEW, KEY]).app
    output_of(app, "rotate-keys")
    expected = "Reencrypted with the newest key: 0 instances, 0 bindings, 0 operations.\n"
    assert output_of(app, "rotate-keys") == expected


def test_rotation_processes_rows_in_batches(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_rotation, "_BATCH", 2)
    platform = serve_with(serve, [KEY])
    for number in range(5):
        make(platform, f"i{number}")
        bind(platform, f"i{number}", "b1")
    (result,) = json_of(serve_with(serve, [NEW, KEY]).app, "rotate-keys")
    assert (result["instances"], result["bindings"], result["operations"]) == (5, 5, 10)


@pytest.mark.parametrize("is_earlier_version", [False, True])
def test_rotation_runs_beside_live_brokers(
    serve: Serve, is_earlier_version: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker with both keys serves requests during the rotation, and all rows end with the new key."""
    monkeypatch.setattr(key_rotation, "_BATCH", 3)
    fill(serve_with(serve, [KEY]))
    if is_earlier_version:
        serve.stop()
        write_unbound(serve.url)
    live = serve_with(serve, [NEW, KEY])
    stop, statuses = threading.Event(), set[int]()

    def send_requests() -> None:
        for number in range(200):
            make(live, f"live-{number}")
            statuses.add(bind(live, f"live-{number}", "b") == "" and 201)
            delete(live, f"live-{number}/service_bindings/b")
            statuses.add(live.get(INSTANCE).status_code)
            if stop.is_set():
                return

    thread = threading.Thread(target=send_requests, name="requests")
    thread.start()
    try:
        output_of(serve_with(serve, [NEW, KEY]).app, "rotate-keys")
    finally:
        stop.set()
        thread.join(30)
    assert statuses == {200, 201}
    decrypted, total = count_encrypted(serve.url, [NEW], NEW)
    assert decrypted == total


def test_rotation_detects_broker_using_old_key(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command fails when a running broker keeps encrypting with an older key.

    The store keeps both keys.
    """
    old = serve_with(serve, [KEY, NEW])
    make(old, "first")
    run_table, count = key_rotation._TableRotation.run, iter(range(10_000))

    def run(self: key_rotation._TableRotation, encryptor: Encryptor) -> tuple[int, int]:
        make(old, f"another-{next(count)}")
        return run_table(self, encryptor)

    monkeypatch.setattr(key_rotation._TableRotation, "run", run)
    app = serve_with(serve, [NEW, KEY]).app
    assert "keeps encrypting with an older key" in error_of(app, "rotate-keys")
    monkeypatch.undo()
    assert count_encrypted(serve.url, [NEW, KEY], KEY)[0] >= 1  # the store still accepts both


def test_rotation_preserves_concurrent_writes(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    platform = serve_with(serve, [KEY, NEW])
    make(platform, "i1")
    write, written = key_rotation._TableRotation._write, list[bool]()

    def late(self: key_rotation._TableRotation, changes: Sequence[object]) -> int:
        if not written:
            written.append(True)
            delete(platform, "i1")
            make(platform, "i1", parameters={"size": 7})
        return write(self, changes)  # type: ignore[arg-type]

    monkeypatch.setattr(key_rotation._TableRotation, "_write", late)
    app = serve_with(serve, [NEW, KEY]).app
    output_of(app, "rotate-keys")
    (instance,) = json_of(app, "instances", "--reveal")
    assert instance["parameters"] == {"size": 7}
    decrypted, total = count_encrypted(serve.url, [NEW], NEW)
    assert decrypted == total


def test_rotation_reports_undecryptable_rows(serve: Serve) -> None:
    """The rotation is refused, and the store still accepts its earlier key."""
    fill(serve_with(serve, [KEY]))
    app = serve_with(serve, [NEW, KEY]).app
    place = next(place for place in read_values(serve.url, [KEY]) if place.column == "request")
    write_value(serve.url, place, Encryptor([new_key()]).encrypt({}, place))
    assert "encrypted with a key that is not in" in error_of(app, "rotate-keys")
    with closing(serve.store()) as store:
        store.open()


# Key files


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'own.db'}"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "own.db.key"


@pytest.fixture
def own(url: str) -> Serve:
    return Serve(url)


def test_running_broker_loads_rotated_key_file(own: Serve, key_file: Path) -> None:
    """A running broker encrypts with the new key from the file without a restart."""
    live = serve_with(own, None)
    fill(live)
    (first,) = key_file.read_text().split()
    assert json_of(serve_with(own, None).app, "rotate-keys")[0]["key_made"]
    second, previous = key_file.read_text().split()
    assert (previous, key_file.stat().st_mode & 0o777) == (first, 0o600)
    decrypted, total = count_encrypted(own.url, None, second)
    assert decrypted == total
    assert live.get(INSTANCE).status_code == 200
    make(live, "i3")
    bind(live, "i3", "b1")
    decrypted, total = count_encrypted(own.url, None, second)
    assert decrypted == total
    own.stop()
    assert serve_with(own, [second]).get(INSTANCE).status_code == 200
    own.stop()


def test_rotation_removes_previous_key_next_time(own: Serve, key_file: Path) -> None:
    """The key file always has the newest key and its predecessor."""
    app = serve_with(own, None).app
    previous = key_file.read_text().split()
    for _ in range(3):
        output_of(app, "rotate-keys")
        current = key_file.read_text().split()
        assert current[1] == previous[0]
        assert len(current) == 2
        previous = current
    own.stop()


def test_interrupted_rotation_resumes_with_same_key(
    own: Serve, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = serve_with(own, None).app

    def interrupted(*_: object) -> None:
        raise StoreError("interrupted")

    monkeypatch.setattr(key_rotation, "_reencrypt_all", interrupted)
    error_of(app, "rotate-keys")
    keys = key_file.read_text().split()
    assert len(keys) == 2
    monkeypatch.undo()
    assert not json_of(app, "rotate-keys")[0]["key_made"]
    assert key_file.read_text().split() == keys
    own.stop()


def test_concurrent_rotations_lose_no_key(own: Serve, key_file: Path) -> None:
    """All values stay readable. A rotation may fail because another one has added a newer key."""
    live = serve_with(own, None)
    for number in range(30):
        make(live, f"i{number}")
    for _ in range(4):
        serve_with(own, None)
    stores = [broker._runtime.store for broker in own.brokers[1:] if broker._runtime is not None]

    errors: list[str] = []

    def rotate(store: Store) -> None:
        try:
            key_rotation.rotate(store)
        except StoreError as error:
            errors.append(str(error))

    with ThreadPoolExecutor(len(stores)) as pool:  # click's runner of commands is not thread-safe
        list(pool.map(rotate, stores))
    assert all("with a key that is not in" in error for error in errors), errors
    own.stop()
    restarted = serve_with(own, None)
    assert all(restarted.get(f"/v2/service_instances/i{number}").status_code == 200 for number in range(30))
    own.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the owner of a file")
def test_rotation_preserves_key_file_owner(own: Serve, key_file: Path) -> None:
    app = serve_with(own, None).app
    os.chown(key_file, 12345, 12345)
    output_of(app, "rotate-keys")
    status = key_file.stat()
    assert (status.st_uid, status.st_gid) == (12345, 12345)
    own.stop()


def test_unreadable_key_file_keeps_loaded_keys(tmp_path: Path) -> None:
    """A running process goes on with its loaded keys when the file is damaged or deleted."""
    file = KeyFile(tmp_path / "b.db")
    keys = file.create()
    encryptor = FileEncryptor(file, keys)
    token = encryptor.encrypt("x", KEY_CHECK)
    file.path.write_text("no key\n")
    assert encryptor.decrypt(encryptor.encrypt("y", KEY_CHECK), str, KEY_CHECK) == "y"
    file.path.unlink()
    assert encryptor.decrypt(token, str, KEY_CHECK) == "x"
