"""Encrypted values are bound to their place: an attacker who can write to the database cannot move them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from werkzeug.test import TestResponse

from brokerkit import Accepted, Binding, BrokerError, LastOperation, Provisioned
from brokerkit.store import key_rotation
from brokerkit.store.encryption import is_bound
from brokerkit.store.errors import StoreError
from brokerkit.store.places import KEY_CHECK, Place, binding_place, instance_place
from brokerkit.store.store import Store

from ..support.broker import DELETE_QUERY, IDS, PROVISION, Recorder, make_broker
from ..support.stateful import CAN_POLL, KEY, Platform, Serve, until
from ..support.stored_values import change, operation_value, read_values, write_unbound, write_value

ROOT = "/v2/service_instances"
OWN, FOREIGN = f"{ROOT}/own", f"{ROOT}/foreign"
OWN_BINDING = f"{OWN}/service_bindings/own"

OWN_RESULT = binding_place("own", "own", "result")


def secret_of(request: Any) -> str:
    """Return a secret of the request's instance."""
    return f"secret-of-{request.instance_id}"


@pytest.fixture
def recorder(recorder: Recorder) -> Recorder:
    """Return handlers whose results contain a secret of the instance."""
    recorder.answers["provision"] = lambda request: Provisioned(data={"key": secret_of(request)})
    recorder.answers["bind"] = lambda request: Binding(credentials={"uri": secret_of(request)})
    return recorder


def fill(platform: Platform) -> None:
    """Create an instance of the attacker and another one, each with a binding and parameters."""
    for name in ("own", "foreign"):
        body = {**PROVISION, "parameters": {"password": f"secret-of-{name}"}}
        assert platform.put(f"{ROOT}/{name}", body).status_code == 201
        assert platform.put(f"{ROOT}/{name}/service_bindings/{name}", IDS).status_code == 201


def assert_reveals_nothing(response: TestResponse, log: str, place: Place) -> None:
    """Assert that a request failed, and that only the log names the place, and nothing the secret."""
    assert response.status_code == 500, response.data
    assert json.loads(response.data)["error"] == "InternalError"
    assert b"column" not in response.data
    assert str(place) in log
    assert "secret-of-foreign" not in response.text + log


def fetch_binding(platform: Platform) -> TestResponse:
    return platform.get(OWN_BINDING)


def fetch_instance(platform: Platform) -> TestResponse:
    return platform.get(OWN)


def unbind(platform: Platform) -> TestResponse:
    return platform.delete(OWN_BINDING, query=DELETE_QUERY)


def deprovision(platform: Platform) -> TestResponse:
    return platform.delete(OWN, query=DELETE_QUERY)


def update(platform: Platform) -> TestResponse:
    return platform.patch(OWN, {"service_id": "db-id", "parameters": {"size": 1}})


MOVES = [
    (binding_place("foreign", "foreign", "result"), OWN_RESULT, fetch_binding),
    (binding_place("foreign", "foreign", "result"), OWN_RESULT, unbind),
    (binding_place("foreign", "foreign", "attributes"), OWN_RESULT, fetch_binding),
    (binding_place("foreign", "foreign", "attributes"), binding_place("own", "own", "attributes"), unbind),
    (instance_place("foreign", "result"), OWN_RESULT, fetch_binding),
    (instance_place("foreign", "result"), instance_place("own", "result"), update),
    (instance_place("foreign", "result"), instance_place("own", "result"), deprovision),
    (instance_place("foreign", "attributes"), instance_place("own", "attributes"), fetch_instance),
    (instance_place("foreign", "attributes"), instance_place("own", "result"), fetch_instance),
    (binding_place("foreign", "foreign", "result"), instance_place("own", "result"), fetch_instance),
]


@pytest.mark.parametrize(("source", "target", "send"), MOVES)
def test_moved_value_is_refused(
    source: Place,
    target: Place,
    send: Callable[[Platform], TestResponse],
    serve: Serve,
    recorder: Recorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A value of another row, column or table gets 500. No handler runs, and no secret leaves the broker."""
    platform = serve(recorder)
    fill(platform)
    write_value(serve.url, target, read_values(serve.url)[source])
    recorder.requests.clear()
    response = send(platform)
    assert_reveals_nothing(response, caplog.text, target)
    assert not recorder.requests
    assert platform.get(FOREIGN).status_code == 200


def test_binding_of_other_instance_is_another_place(
    serve: Serve, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """Two instances may have bindings with the same id. Their values cannot be exchanged."""
    platform = serve(recorder)
    fill(platform)
    assert platform.put(f"{FOREIGN}/service_bindings/own", IDS).status_code == 201
    write_value(serve.url, OWN_RESULT, read_values(serve.url)[binding_place("foreign", "own", "result")])
    assert_reveals_nothing(platform.get(OWN_BINDING), caplog.text, OWN_RESULT)


@pytest.mark.parametrize(
    "damage",
    [
        *(pytest.param(lambda value, n=n: value[:n], id=f"first-{n}") for n in (1, 8, 9, 20, 33, 40, 50)),
        pytest.param(lambda value: value[:-1], id="without-last"),
        pytest.param(lambda value: value[:-1] + bytes([value[-1] ^ 1]), id="last-bit"),
        pytest.param(lambda value: value[:15] + bytes([value[15] ^ 1]) + value[16:], id="salt-bit"),
        pytest.param(lambda value: value[:3] + bytes([value[3] ^ 1]) + value[4:], id="key-bit"),
        pytest.param(lambda value: b"\x02" + value[1:], id="version"),
        pytest.param(lambda _: b'{"binding":{"credentials":{}}}', id="plain"),
        pytest.param(lambda _: Fernet(KEY).encrypt(b'{"binding":{"credentials":{}}}'), id="fernet"),
    ],
)
def test_damaged_value_is_refused(
    damage: Callable[[bytes], bytes],
    serve: Serve,
    recorder: Recorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A fresh store accepts no Fernet token either, even with the right key."""
    platform = serve(recorder)
    fill(platform)
    write_value(serve.url, OWN_RESULT, damage(read_values(serve.url)[OWN_RESULT]))
    assert_reveals_nothing(platform.get(OWN_BINDING), caplog.text, OWN_RESULT)


# Operations


def accepted(platform: Platform, name: str) -> str:
    body = {**PROVISION, "parameters": {"password": f"secret-of-{name}"}}
    response = platform.put(f"{ROOT}/{name}", body, query=CAN_POLL)
    assert response.status_code == 202
    return str(response.json["operation"])


def test_request_of_other_operation_is_refused(
    serve: Serve, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """The poll that ends an operation fails, instead of ending it with the request of another one."""
    recorder.answers["provision"] = Accepted(operation="task")
    platform = serve(recorder)
    foreign, own = (accepted(platform, name) for name in ("foreign", "own"))
    place = operation_value(serve.url, own, "request")
    write_value(serve.url, place, read_values(serve.url)[operation_value(serve.url, foreign, "request")])
    response = platform.get(f"{OWN}/last_operation", query=f"operation={own}")
    assert_reveals_nothing(response, caplog.text, place)
    assert platform.get(f"{FOREIGN}/last_operation").json["state"] == "succeeded"


def test_outcome_of_other_operation_is_refused(
    serve: Serve, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """A poll does not report what another operation reported, even if that was polled before."""
    recorder.answers["provision"] = Accepted(operation="task")
    recorder.answers["last_operation"] = lambda request: LastOperation.failed(secret_of(request))
    platform = serve(recorder)
    foreign, own = (accepted(platform, name) for name in ("foreign", "own"))
    for name in ("foreign", "own", "foreign"):
        description = platform.get(f"{ROOT}/{name}/last_operation").json["description"]
        assert description == f"secret-of-{name}"
    caplog.clear()
    place = operation_value(serve.url, own, "outcome")
    write_value(serve.url, place, read_values(serve.url)[operation_value(serve.url, foreign, "outcome")])
    response = platform.get(f"{OWN}/last_operation", query=f"operation={own}")
    assert_reveals_nothing(response, caplog.text, place)


@pytest.mark.parametrize(
    ("statement", "query"),
    [
        ("UPDATE brokerkit_operations SET instance_id = 'own' WHERE id = :foreign", "operation={foreign}"),
        ("UPDATE brokerkit_instances SET operation = :foreign WHERE id = 'own'", ""),
        ("UPDATE brokerkit_instances SET operation = :foreign WHERE id = 'own'", "operation={own}"),
    ],
)
def test_operation_of_other_instance_is_refused(
    statement: str, query: str, serve: Serve, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """An operation that the database assigns to another instance is not reported there."""
    recorder.answers["provision"] = Accepted(operation="task")
    recorder.answers["last_operation"] = lambda request: LastOperation.failed(secret_of(request))
    platform = serve(recorder)
    ids = {name: accepted(platform, name) for name in ("foreign", "own")}
    assert platform.get(f"{FOREIGN}/last_operation").json["description"] == "secret-of-foreign"
    caplog.clear()
    change(serve.url, statement, **{name: value for name, value in ids.items() if f":{name}" in statement})
    response = platform.get(f"{OWN}/last_operation", query=query.format(**ids))
    assert "secret-of-foreign" not in response.text + caplog.text
    assert response.status_code == 500
    assert "in brokerkit_" in caplog.text


class Postponed:
    """An executor that runs nothing."""

    def start(self, run: Callable[[str], None]) -> None:
        pass

    def submit(self, operation_id: str, delay: float = 0) -> None:
        pass

    def stop(self) -> None:
        pass


def test_background_work_survives_moved_request(
    serve: Serve, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """The handler does not run with the request of another operation, and other operations are run."""
    first = serve(recorder, background=["provision"], executor=Postponed())
    foreign, own = (accepted(first, name) for name in ("foreign", "own"))
    place = operation_value(serve.url, own, "request")
    write_value(serve.url, place, read_values(serve.url)[operation_value(serve.url, foreign, "request")])
    serve.stop()
    caplog.clear()
    platform = serve(recorder, background=["provision"])
    poll = f"{FOREIGN}/last_operation"
    until(lambda: platform.get(poll).json["state"] == "succeeded")
    until(lambda: str(place) in caplog.text)
    accepted(platform, "later")
    until(lambda: platform.get(f"{ROOT}/later/last_operation").json["state"] == "succeeded")
    assert [request.instance_id for request in recorder.requests] == ["foreign", "later"]
    assert "secret-of-foreign" not in caplog.text
    assert platform.get(f"{OWN}/last_operation").json["state"] == "in progress"


# Commands


@pytest.mark.parametrize(
    ("command", "place"),
    [
        ("instances", instance_place("own", "attributes")),
        ("bindings", OWN_RESULT),
        ("bindings", instance_place("own", "result")),
    ],
)
def test_list_names_unreadable_row(command: str, place: Place, serve: Serve, recorder: Recorder) -> None:
    """The command prints all other rows, names the unreadable one on stderr and exits with 1."""
    platform = serve(recorder)
    fill(platform)
    values = read_values(serve.url)
    write_value(serve.url, place, values[KEY_CHECK])
    result = platform.app.test_cli_runner().invoke(args=["broker", command, "--json"])
    assert [row["instance_id"] for row in json.loads(result.stdout)] == ["foreign"]
    assert f"A row cannot be read: the {place}" in result.stderr
    assert result.stderr.endswith("Error: 1 row could not be read\n")
    assert result.exit_code == 1


def test_list_of_operations_names_unreadable_row(serve: Serve, recorder: Recorder) -> None:
    recorder.answers["provision"] = BrokerError("no room", status=500)
    platform = serve(recorder)
    for name in ("own", "foreign"):
        platform.put(f"{ROOT}/{name}", PROVISION)
    values = read_values(serve.url)
    place = next(place for place in values if place.column == "outcome")
    write_value(serve.url, place, values[KEY_CHECK])
    for command in ("operations", "instances"):
        result = platform.app.test_cli_runner().invoke(args=["broker", command, "--json"])
        assert (result.exit_code, len(json.loads(result.stdout))) == (1, 1)
        assert f"A row cannot be read: the {place}" in result.stderr


def test_rotation_refuses_moved_value(serve: Serve, recorder: Recorder) -> None:
    """A rotation does not bind a value to the place that it was moved to."""
    platform = serve(recorder)
    fill(platform)
    write_value(serve.url, OWN_RESULT, read_values(serve.url)[binding_place("foreign", "foreign", "result")])
    result = platform.app.test_cli_runner().invoke(args=["broker", "rotate-keys"])
    assert result.exit_code == 1
    assert f"the {OWN_RESULT} has a value that does not belong there" in result.stderr


# Stores of earlier versions


def rotate(platform: Platform) -> dict[str, Any]:
    result = platform.app.test_cli_runner().invoke(args=["broker", "rotate-keys", "--json"])
    assert result.exit_code == 0, result.output
    (counts,) = json.loads(result.stdout)
    assert isinstance(counts, dict)
    return counts


def test_rotation_binds_values_of_earlier_versions(
    serve: Serve, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """Before the rotation a store of an earlier version works, and after it no such value is accepted."""
    fill(serve(recorder))
    serve.stop()
    write_unbound(serve.url)
    unbound = read_values(serve.url)
    assert not any(map(is_bound, unbound.values()))
    platform = serve(recorder)
    assert platform.get(OWN_BINDING).json["credentials"] == {"uri": "secret-of-own"}
    assert platform.patch(OWN, {"service_id": "db-id", "parameters": {"size": 2}}).status_code == 200
    assert recorder.requests[-1].instance.data == {"key": "secret-of-own"}
    counts = rotate(platform)
    assert (counts["instances"], counts["bindings"], counts["operations"]) == (1, 2, 4), (
        "the update has rewritten one instance already"
    )
    assert all(map(is_bound, read_values(serve.url).values()))
    assert rotate(platform)["instances"] == 0
    serve.stop()
    platform = serve(recorder)
    assert platform.get(OWN_BINDING).json["credentials"] == {"uri": "secret-of-own"}
    write_value(serve.url, OWN_RESULT, unbound[OWN_RESULT])
    assert_reveals_nothing(platform.get(OWN_BINDING), caplog.text, OWN_RESULT)


def test_running_broker_refuses_old_form_after_rotation(
    serve: Serve, recorder: Recorder, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that was started before the rotation needs no restart to refuse the old form."""
    monkeypatch.setattr("brokerkit.store.store._FORM_CHECK_INTERVAL", 0.0)
    fill(serve(recorder))
    serve.stop()
    write_unbound(serve.url)
    unbound = read_values(serve.url)
    live = serve(recorder)
    assert live.get(OWN_BINDING).status_code == 200
    rotate(serve(recorder))
    assert live.get(OWN_BINDING).status_code == 200
    write_value(serve.url, OWN_RESULT, unbound[OWN_RESULT])
    assert_reveals_nothing(live.get(OWN_BINDING), caplog.text, OWN_RESULT)


def test_interrupted_rotation_of_earlier_version_continues(
    serve: Serve, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until a rotation has rewritten everything, a new process accepts both forms."""
    fill(serve(recorder))
    serve.stop()
    write_unbound(serve.url)
    run, count = key_rotation._TableRotation.run, iter(range(100))

    def interrupted(self: key_rotation._TableRotation, encryptor: Any) -> tuple[int, int]:
        if next(count) == 1:
            raise StoreError("interrupted")
        return run(self, encryptor)

    monkeypatch.setattr(key_rotation._TableRotation, "run", interrupted)
    result = serve(recorder).app.test_cli_runner().invoke(args=["broker", "rotate-keys"])
    assert "interrupted" in result.stderr
    monkeypatch.undo()
    serve.stop()
    assert len(set(map(is_bound, read_values(serve.url).values()))) == 2
    platform = serve(recorder)
    assert platform.get(OWN_BINDING).status_code == platform.get(OWN).status_code == 200
    rotate(platform)
    assert all(map(is_bound, read_values(serve.url).values()))


def test_key_file_of_earlier_version_opens_store(
    tmp_path: Path, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """After two rotations, not even the old key check brings the old form back: its key is gone."""
    caplog.set_level(logging.ERROR)
    own = Serve(f"sqlite:///{tmp_path / 'own.db'}")

    def start() -> Platform:
        own.stop()
        return own.attach(make_broker(recorder, store=own.url))

    fill(start())
    own.stop()
    write_unbound(own.url, None, (tmp_path / "own.db.key").read_text().strip())
    unbound = read_values(own.url, None)
    platform = start()
    assert platform.get(OWN).status_code == 200
    assert rotate(platform)["key_made"]
    assert rotate(start())["keys_removed"] == 1
    assert start().get(OWN).status_code == 200
    own.stop()
    write_value(own.url, KEY_CHECK, unbound[KEY_CHECK])
    with closing(Store(own.url)) as store, pytest.raises(StoreError, match="is not in the key file"):
        store.open()
