"""Tests of the operators' commands, `flask broker …`."""

from __future__ import annotations

import builtins
import json
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import text
from werkzeug.test import TestResponse

from brokerkit import (
    Accepted,
    Binding,
    Deprovisioned,
    InvalidParameters,
    LastOperation,
    Provisioned,
    ServicePlan,
)
from brokerkit.store.database import Database
from brokerkit.store.models import Attempt, Change, Progress, State

from ..support.broker import DELETE_QUERY, IDS, PROVISION, Recorder, make_app, make_broker, make_offering
from ..support.stateful import CAN_POLL, Gate, Platform, Serve, poll_until_done, until

ROOT = "/v2/service_instances"


def run(app: Flask, *command: str, group: str = "broker") -> Result:
    """Run a command, which must not end with a traceback."""
    result = app.test_cli_runner().invoke(args=[group, *command])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def output_of(app: Flask, *command: str) -> str:
    result = run(app, *command)
    assert result.exit_code == 0, result.output
    return result.stdout


def json_of(app: Flask, *command: str) -> Any:
    return json.loads(output_of(app, *command, "--json"))


def error_of(app: Flask, *command: str) -> str:
    """Return the one-line error of a command."""
    result = run(app, *command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    return result.stderr


def body_of(response: TestResponse) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(response.data)
    return body


def make(platform: Platform, instance_id: str, **more: Any) -> str:
    """Provision an instance, and return the id of its operation if it is asynchronous.

    Lists are sorted by time in milliseconds, so each instance is created in a millisecond of its own.
    """
    response = platform.put(f"{ROOT}/{instance_id}", {**PROVISION, **more}, query=CAN_POLL)
    assert response.status_code in (201, 202), response.data
    created_at = time.time_ns() // 1_000_000
    until(lambda: time.time_ns() // 1_000_000 > created_at)
    return str(body_of(response).get("operation", ""))


def bind(platform: Platform, instance_id: str, binding_id: str, **more: Any) -> str:
    response = platform.put(
        f"{ROOT}/{instance_id}/service_bindings/{binding_id}", {**IDS, **more}, query=CAN_POLL
    )
    assert response.status_code in (201, 202), response.data
    return str(body_of(response).get("operation", ""))


def delete(platform: Platform, path: str) -> None:
    assert platform.delete(f"{ROOT}/{path}", query=DELETE_QUERY).status_code == 200


def age(serve: Serve, days: float) -> None:
    """Make all stored times some days older."""
    with closing(serve.store()) as store, store.database.engine.begin() as connection:
        for table in ("instances", "bindings", "operations"):
            connection.execute(
                text(
                    f"UPDATE brokerkit_{table} SET"
                    " updated_at = updated_at - :age, created_at = created_at - :age"
                ),
                {"age": days * 86400},
            )


QUICK_LEASE = 4.0
"""Seconds. The scheduler looks for retried operations four times per lease, at least every 5 seconds."""


def failed_provision(serve: Serve, recorder: Recorder, **settings: Any) -> tuple[Platform, str]:
    """Run a background provision that fails, and return its platform and operation id."""
    recorder.answers["provision"] = RuntimeError("no room")
    settings = {"lease": QUICK_LEASE, **settings}
    platform = serve(recorder, background=["provision"], **settings)
    operation = make(platform, "i1")
    assert poll_until_done(platform, f"{ROOT}/i1", operation)["state"] == "failed"
    return platform, operation


# Lists and details


def test_catalog_command_works_without_store(recorder: Recorder) -> None:
    plans = json_of(make_app(make_broker(recorder)), "catalog")
    assert [(plan["offering"], plan["plan"], plan["plan_id"], plan["bindable"]) for plan in plans] == [
        ("db", "small", "small-id", True),
        ("db", "large", "large-id", True),
    ]
    assert "A small one" in output_of(make_app(make_broker(recorder)), "catalog")


@pytest.mark.parametrize("command", ["instances", "audit", "rotate-keys", "upgrade-store"])
def test_store_commands_require_store(recorder: Recorder, command: str) -> None:
    assert "has no store" in error_of(make_app(make_broker(recorder)), command)


@pytest.mark.parametrize("command", ["instances", "bindings", "operations"])
def test_lists_of_empty_store_report_no_rows(platform: Platform, command: str) -> None:
    assert output_of(platform.app, command) == f"There are no {command}.\n"
    assert json_of(platform.app, command) == []


def test_instances_lists_newest_first(platform: Platform) -> None:
    """Deleted instances are listed with `--all` only."""
    for name in ("first", "gone", "last"):
        make(platform, name)
    delete(platform, "gone")
    bind(platform, "first", "b1")
    rows = json_of(platform.app, "instances")
    assert [row["instance_id"] for row in rows] == ["last", "first"]
    assert [row["bindings"] for row in rows] == [0, 1]
    all_rows = json_of(platform.app, "instances", "--all")
    assert [(row["instance_id"], row["state"]) for row in all_rows] == [
        ("last", "ready"),
        ("gone", "deleted"),
        ("first", "ready"),
    ]


def test_bindings_lists_all_or_one_instance(platform: Platform) -> None:
    for instance in ("i1", "i2"):
        make(platform, instance)
        bind(platform, instance, f"b-of-{instance}")
    assert {row["binding_id"] for row in json_of(platform.app, "bindings")} == {"b-of-i1", "b-of-i2"}
    (only,) = json_of(platform.app, "bindings", "i2")
    assert (only["binding_id"], only["instance_id"], only["state"]) == ("b-of-i2", "i2", "ready")
    assert "there is no instance i3" in error_of(platform.app, "bindings", "i3")


def test_operations_filters_by_state(serve: Serve, recorder: Recorder) -> None:
    gate = Gate(Provisioned())
    platform, failed = failed_provision(serve, recorder)
    assert output_of(platform.app, "operations", "--in-progress") == "No operation is in progress.\n"
    recorder.answers["provision"] = gate
    running_id = make(platform, "i2")
    gate.wait_until_reached()

    def ids(*options: str) -> list[str]:
        return [row["operation_id"] for row in json_of(platform.app, "operations", *options)]

    assert ids() == [running_id, failed]
    assert ids("--failed") == [failed]
    assert ids("--in-progress") == [running_id]
    (running,) = json_of(platform.app, "operations", "--in-progress")
    assert running["is_running"]
    gate.open()
    poll_until_done(platform, f"{ROOT}/i2", running_id)


@pytest.mark.parametrize("command", ["instances", "bindings", "operations"])
def test_list_limit_is_reported_on_stderr(platform: Platform, command: str) -> None:
    for number in range(3):
        make(platform, f"i{number}")
        bind(platform, f"i{number}", "b")
    truncated = run(platform.app, command, "--limit", "2", "--json")
    assert len(json.loads(truncated.stdout)) == 2
    assert truncated.stderr == "There are more than 2; use --limit to show more.\n"
    complete = run(platform.app, command, "--limit", "6", "--json")
    assert (len(json.loads(complete.stdout)), complete.stderr) == (6 if command == "operations" else 3, "")


@pytest.mark.parametrize("command", ["instances", "bindings", "operations"])
def test_list_uses_one_database_read(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    reads: list[int] = []
    original = Database.reading

    def counted(database: Database) -> Any:
        reads.append(threading.get_ident())  # the broker's background threads also read
        return original(database)

    for number in range(3):
        make(platform, f"i{number}")
        bind(platform, f"i{number}", "b")
    monkeypatch.setattr(Database, "reading", counted)
    assert len(json_of(platform.app, command)) >= 3
    assert reads.count(threading.get_ident()) == 1


def test_show_prints_resource_with_operations(platform: Platform) -> None:
    """Instances include the operations of their bindings. Bindings and operations can be shown by id too."""
    make(platform, "i1")
    bind(platform, "i1", "b1")
    (instance,) = json_of(platform.app, "show", "i1")
    assert [row["kind"] for row in instance["operations"]] == ["bind", "provision"]
    assert instance["last_operation"]["kind"] == "provision"
    (binding,) = json_of(platform.app, "show", "b1")
    assert (binding["type"], binding["instance_id"]) == ("binding", "i1")
    assert [row["kind"] for row in binding["operations"]] == ["bind"]
    (operation,) = json_of(platform.app, "show", binding["operations"][0]["operation_id"])
    assert (operation["type"], operation["binding_id"]) == ("operation", "b1")
    assert operation["request"]["headers"]["username"] == "platform"


def test_show_prints_all_matches_of_id(platform: Platform) -> None:
    for instance in ("x", "y"):
        make(platform, instance)
        bind(platform, instance, "x")
    reports = json_of(platform.app, "show", "x")
    assert [report["type"] for report in reports] == ["instance", "binding", "binding"]
    assert output_of(platform.app, "show", "x").count("instance id") == 3


def test_show_prints_operations_of_deleted_binding(platform: Platform) -> None:
    make(platform, "i1")
    bind(platform, "i1", "b1")
    delete(platform, "i1/service_bindings/b1")
    (binding,) = json_of(platform.app, "show", "b1")
    assert (binding["state"], binding["instance_id"]) == ("deleted", "i1")
    assert [row["kind"] for row in binding["operations"]] == ["unbind", "bind"]


def test_show_rejects_unknown_id(platform: Platform) -> None:
    assert "no instance, binding or operation" in error_of(platform.app, "show", "unknown")


# Secrets

SECRET = "s3cr3t-of-the-user"


def with_secrets(serve: Serve, recorder: Recorder) -> Flask:
    recorder.answers["provision"] = Provisioned(data={"key": SECRET})
    recorder.answers["bind"] = Binding(credentials={"uri": SECRET}, data={"key": SECRET})
    platform = serve(recorder, make_offering(requires=["syslog_drain"]), background=["bind"])
    recorder.answers["bind"] = Binding(
        credentials={"uri": SECRET}, data={"key": SECRET}, syslog_drain_url=f"https://{SECRET}.example.org"
    )
    make(platform, "i1", parameters={"password": SECRET}, context={"platform": "cloudfoundry"})
    operation = bind(platform, "i1", "b1", parameters={"password": SECRET})
    poll_until_done(platform, f"{ROOT}/i1/service_bindings/b1", operation)
    return platform.app


def outputs_with_details(app: Flask, *options: str) -> Sequence[str]:
    operations = [row["operation_id"] for row in json_of(app, "operations")]
    views = [
        ["instances"],
        ["bindings"],
        ["show", "i1"],
        ["show", "b1"],
        *(["show", row] for row in operations),
    ]
    return [output_of(app, *view, *options, *form) for view in views for form in ([], ["--json"])]


def test_commands_hide_secrets_by_default(serve: Serve, recorder: Recorder) -> None:
    app = with_secrets(serve, recorder)
    outputs = outputs_with_details(app)
    assert not [view for view in (*outputs, output_of(app, "operations")) if SECRET in view]
    assert all("***" in view for view in outputs[4:8])  # those of `show`
    (instance,) = json_of(app, "instances")
    assert (instance["parameters"], instance["data"]) == ("***", "***")
    assert instance["context"] == {"platform": "cloudfoundry"}


def test_reveal_option_prints_secrets(serve: Serve, recorder: Recorder) -> None:
    """Operations that finished synchronously store no parameters to reveal."""
    app = with_secrets(serve, recorder)
    hidden = [view for view in outputs_with_details(app, "--reveal") if SECRET not in view]
    provision = json_of(app, "operations")[-1]["operation_id"]
    assert all(provision in view for view in hidden)  # a synchronous operation stores no parameters
    (binding,) = json_of(app, "bindings", "--reveal")
    assert binding["credentials"] == {"uri": SECRET}
    assert binding["syslog_drain_url"] == f"https://{SECRET}.example.org"
    assert binding["parameters"] == {"password": SECRET}


# Output format


def test_commands_escape_control_characters(serve: Serve, recorder: Recorder) -> None:
    """An escaped id can be given to `show`. JSON output is ASCII with the original id."""
    recorder.answers["provision"] = InvalidParameters
    platform = serve(recorder)
    recorder.answers["provision"] = Provisioned(dashboard_url="https://x/\x9b31m")
    make(platform, "a%1B%5B31m%00%E2%80%AEz")
    shown = output_of(platform.app, "instances").splitlines()[1].split()[0]
    assert shown == r"a\x1b[31m\x00\u202ez"
    assert r"https://x/\x9b31m" in output_of(platform.app, "show", shown)
    assert output_of(platform.app, "instances", "--json").isascii()
    assert json_of(platform.app, "instances")[0]["instance_id"] == "a\x1b[31m\0\u202ez"


def test_long_id_is_not_wrapped_without_terminal(platform: Platform) -> None:
    """A deleted instance has a shortened id, which `show` accepts."""
    long = "x" * 3000
    make(platform, long)
    assert output_of(platform.app, "instances").splitlines()[1].split()[0] == long
    assert json_of(platform.app, "show", long)[0]["instance_id"] == long
    delete(platform, long)
    (short,) = [row["instance_id"] for row in json_of(platform.app, "instances", "--all")]
    assert json_of(platform.app, "show", short)[0]["state"] == "deleted"


def test_table_fits_terminal_width(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    make(platform, "x" * 100)
    monkeypatch.setattr("brokerkit._internal.console._is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "90")
    lines = output_of(platform.app, "instances").splitlines()
    assert max(map(len, lines)) <= 90
    assert "".join(line.split(" ", 1)[0] for line in lines if line.startswith("x")) == "x" * 100


def test_table_prints_markup_literally(serve: Serve, recorder: Recorder) -> None:
    platform = serve(recorder, background=["provision"])
    recorder.answers["provision"] = InvalidParameters("[red]no[/red] [link=x]")
    operation = make(platform, "i1")
    poll_until_done(platform, f"{ROOT}/i1", operation)
    assert "[red]no[/red] [link=x]" in output_of(platform.app, "operations")


def test_json_times_are_utc_and_tables_local(platform: Platform) -> None:
    """JSON has RFC 3339 times in UTC. Tables have local times with an offset."""
    make(platform, "i1")
    created = json_of(platform.app, "instances")[0]["created_at"]
    assert created.endswith("Z")
    moment = datetime.fromisoformat(created)
    assert moment.astimezone().isoformat(timespec="seconds") in output_of(platform.app, "instances")


def test_tables_require_rich(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the package and `--json`, which works without it."""
    make(platform, "i1")
    original = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "rich":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    assert error_of(platform.app, "instances") == "Error: tables need rich: pip install rich; or use --json\n"
    assert json_of(platform.app, "instances")


@pytest.mark.parametrize(
    "command",
    [
        ["purge"],
        ["purge", "--older-than", "30"],
        ["purge", "--older-than", "0d"],
        ["instances", "--limit", "0"],
        ["instances", "--limit", str(2**63)],
        ["audit", "--limit", str(2**63)],
    ],
)
def test_invalid_options_are_usage_errors(platform: Platform, command: list[str]) -> None:
    assert run(platform.app, *command).exit_code == 2


def test_commands_start_no_background_threads(serve: Serve, recorder: Recorder) -> None:
    first, operation = failed_provision(serve, recorder)
    serve.stop()
    before = set(threading.enumerate())
    app = serve(recorder, background=["provision"]).app
    for command in (
        ["instances"],
        ["audit"],
        ["show", "i1"],
        ["retry", operation],
        ["purge", "--older-than", "1d"],
    ):
        output_of(app, *command)
    output_of(app, "rotate-keys")
    assert not [thread for thread in set(threading.enumerate()) - before if "brokerkit" in thread.name]
    assert first.app is not app


# Several brokers


def test_each_broker_has_own_command_group(recorder: Recorder) -> None:
    """A second broker gets `broker-2`. Registering a blueprint twice adds no group."""
    one = make_broker(recorder)
    other = make_broker(recorder, make_offering(id="other", name="other", plans=[plan("other")]))
    app = make_app(one)
    app.register_blueprint(other.blueprint, url_prefix="/other")
    app.register_blueprint(one.blueprint, url_prefix="/again")
    groups = [name for name in app.cli.commands if name.startswith("broker")]
    assert groups == ["broker", "broker-2"]
    assert json.loads(run(app, "catalog", "--json").stdout)[0]["offering"] == "db"
    assert json.loads(run(app, "catalog", "--json", group="broker-2").stdout)[0]["offering"] == "other"


def test_cli_group_name_can_be_configured(recorder: Recorder) -> None:
    app = make_app(make_broker(recorder), cli_group="databases")
    assert run(app, "catalog", group="databases").exit_code == 0
    assert "broker" not in app.cli.commands


def plan(name: str) -> ServicePlan:
    return ServicePlan(id=name, name=name, description=name)


# Retries


def test_retry_restarts_failed_operation(serve: Serve, recorder: Recorder) -> None:
    platform, operation = failed_provision(serve, recorder)
    recorder.answers["provision"] = Provisioned()
    assert operation in output_of(platform.app, "retry", operation)
    assert poll_until_done(platform, f"{ROOT}/i1", operation)["state"] == "succeeded"
    (instance,) = json_of(platform.app, "instances")
    assert instance["state"] == "ready"


@pytest.mark.parametrize("kind", ["bind", "unbind", "deprovision", "update"])
def test_retry_restarts_every_kind_of_operation(serve: Serve, recorder: Recorder, kind: str) -> None:
    """Failed background bind, unbind, update and deprovision operations keep their id and then succeed."""
    platform = serve(recorder, background=[kind], lease=QUICK_LEASE)
    recorder.answers[kind] = RuntimeError("no luck")
    make(platform, "i1")
    path = f"{ROOT}/i1/service_bindings/b1" if "bind" in kind else f"{ROOT}/i1"
    if kind == "unbind":
        bind(platform, "i1", "b1")
    body = {**IDS, "parameters": {"size": 2}}
    response = {
        "bind": lambda: platform.put(path, IDS, query=CAN_POLL),
        "update": lambda: platform.patch(path, body, query=CAN_POLL),
    }.get(kind, lambda: platform.delete(path, query=f"{DELETE_QUERY}&{CAN_POLL}"))()
    assert response.status_code == 202
    operation = body_of(response)["operation"]
    assert poll_until_done(platform, path, operation)["state"] == "failed"
    recorder.answers[kind] = Binding(credentials={"a": 1}) if kind == "bind" else None
    (retried,) = json_of(platform.app, "retry", operation)
    assert (retried["operation_id"], retried["kind"]) == (operation, kind)
    assert poll_until_done(platform, path, operation)["state"] == "succeeded"


def test_retry_starts_new_deadline(serve: Serve, recorder: Recorder) -> None:
    platform, operation = failed_provision(serve, recorder)
    age(serve, 30)
    recorder.answers["provision"] = Provisioned()
    output_of(platform.app, "retry", operation)
    assert poll_until_done(platform, f"{ROOT}/i1", operation)["state"] == "succeeded"


def test_retry_rejects_unknown_operation(platform: Platform) -> None:
    assert "there is no such operation" in error_of(platform.app, "retry", "unknown")


def test_retry_rejects_running_and_succeeded_operations(serve: Serve, recorder: Recorder) -> None:
    gate = Gate(Provisioned())
    recorder.answers["provision"] = gate
    platform = serve(recorder, background=["provision"])
    operation = make(platform, "i1")
    gate.wait_until_reached()
    assert "it is still in progress" in error_of(platform.app, "retry", operation)
    gate.open()
    poll_until_done(platform, f"{ROOT}/i1", operation)
    assert "it succeeded" in error_of(platform.app, "retry", operation)


def test_retry_rejects_synchronous_operation(serve: Serve, recorder: Recorder) -> None:
    recorder.answers["provision"] = RuntimeError("no luck")
    platform = serve(recorder)
    assert platform.put(f"{ROOT}/i1", PROVISION).status_code == 500
    (failed,) = json_of(platform.app, "operations", "--failed")
    assert "it did not run in a background handler" in error_of(platform.app, "retry", failed["operation_id"])


def test_retry_rejects_superseded_operation(serve: Serve, recorder: Recorder) -> None:
    platform, operation = failed_provision(serve, recorder)
    recorder.answers["deprovision"] = RuntimeError("no luck")
    assert platform.delete(f"{ROOT}/i1", query=DELETE_QUERY).status_code == 500
    assert "has had another operation since, deprovision" in error_of(platform.app, "retry", operation)
    recorder.answers["deprovision"] = Deprovisioned()
    delete(platform, "i1")
    assert "its instance was deleted" in error_of(platform.app, "retry", operation)


def test_retry_of_update_rejects_busy_binding(serve: Serve, recorder: Recorder) -> None:
    gate = Gate(Binding(credentials={"a": 1}))
    recorder.answers.update(update=RuntimeError("no luck"), bind=gate)
    platform = serve(recorder, background=["update", "bind"])
    make(platform, "i1")
    body = {**IDS, "parameters": {"size": 2}}
    operation = body_of(platform.patch(f"{ROOT}/i1", body, query=CAN_POLL))["operation"]
    poll_until_done(platform, f"{ROOT}/i1", operation)
    bound = bind(platform, "i1", "b1")
    gate.wait_until_reached()
    assert "a binding of its instance is being created" in error_of(platform.app, "retry", operation)
    gate.open()
    poll_until_done(platform, f"{ROOT}/i1/service_bindings/b1", bound)


def test_retry_of_bind_rejects_busy_instance(serve: Serve, recorder: Recorder) -> None:
    gate = Gate(None)
    recorder.answers.update(bind=RuntimeError("no luck"), update=gate)
    platform = serve(recorder, background=["update", "bind"])
    make(platform, "i1")
    operation = bind(platform, "i1", "b1")
    poll_until_done(platform, f"{ROOT}/i1/service_bindings/b1", operation)
    body = {**IDS, "parameters": {"size": 2}}
    update = body_of(platform.patch(f"{ROOT}/i1", body, query=CAN_POLL))["operation"]
    gate.wait_until_reached()
    assert "its instance is updating" in error_of(platform.app, "retry", operation)
    gate.open()
    poll_until_done(platform, f"{ROOT}/i1", update)


def test_retry_fences_out_lost_attempt(serve: Serve, recorder: Recorder) -> None:
    """An attempt that was lost before the retry cannot write its outcome afterwards."""
    _, operation = failed_provision(serve, recorder)
    serve.stop()
    app = serve(recorder, background=["provision"]).app  # its threads are not started
    with closing(serve.store()) as store:
        store.open()
        result = store.find_operation(operation)
        assert result is not None
        lost = Attempt.of(result[0])
        output_of(app, "retry", operation)
        assert store.begin(operation) is not None
        assert not store.end(lost, Progress.SUCCEEDED, None, Change(state=State.READY))


# Purges


def test_purge_deletes_old_ended_records(serve: Serve, platform: Platform) -> None:
    """Deleted instances and their operations are purged by age. `--dry-run` only counts them."""
    make(platform, "old")
    bind(platform, "old", "b1")
    delete(platform, "old")
    age(serve, 31)
    make(platform, "young")
    delete(platform, "young")
    counts = json_of(platform.app, "purge", "--older-than", "30d", "--dry-run")
    assert counts == [{"instances": 1, "operations": 3, "dry_run": True}]
    assert output_of(platform.app, "purge", "--older-than", "30d") == "Deleted 1 instance and 3 operations.\n"
    assert [row["instance_id"] for row in json_of(platform.app, "instances", "--all")] == ["young"]
    assert len(json_of(platform.app, "operations")) == 2
    remaining = json_of(platform.app, "purge", "--older-than", "4w")
    assert remaining == [{"instances": 0, "operations": 0, "dry_run": False}]


@pytest.mark.rule("R-LAST-5")
def test_purge_keeps_last_operation_of_existing_resources(serve: Serve, platform: Platform) -> None:
    """Polls of existing instances and bindings still work after a purge."""
    make(platform, "i1")
    assert platform.patch(f"{ROOT}/i1", {**IDS, "parameters": {"size": 2}}).status_code == 200
    bind(platform, "i1", "b1")
    bind(platform, "i1", "b2")
    delete(platform, "i1/service_bindings/b2")
    age(serve, 31)
    assert json_of(platform.app, "purge", "--older-than", "30d")[0]["operations"] == 3
    kinds = {row["kind"] for row in json_of(platform.app, "operations")}
    assert kinds == {"update", "bind"}
    assert body_of(platform.get(f"{ROOT}/i1/last_operation"))["state"] == "succeeded"
    assert platform.get(f"{ROOT}/i1/service_bindings/b1/last_operation").status_code == 200


@pytest.mark.rule("R-REQ-8", "R-LAST-5")
def test_purge_keeps_running_and_preceding_operation(serve: Serve, recorder: Recorder) -> None:
    """A refused update restores the previous operation, so a purge must not delete it."""
    gate = Gate()
    platform = serve(recorder)
    make(platform, "i1")
    age(serve, 31)
    recorder.answers["update"] = gate
    gate.answer = InvalidParameters("no")
    body = {**IDS, "parameters": {"size": 2}}
    statuses: list[int] = []
    updating = threading.Thread(
        target=lambda: statuses.append(platform.patch(f"{ROOT}/i1", body).status_code), name="updating"
    )

    def refuse(request: object) -> object:
        gate(request)
        return gate.answer

    recorder.answers["update"] = refuse
    updating.start()
    gate.wait_until_reached()
    age(serve, 31)
    assert json_of(platform.app, "purge", "--older-than", "30d")[0]["operations"] == 0
    gate.open()
    updating.join(15)
    assert statuses == [400]
    assert body_of(platform.get(f"{ROOT}/i1/last_operation"))["state"] == "succeeded"


def test_purge_deletes_rows_in_batches(
    serve: Serve, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brokerkit.admin.queries._BATCH", 2)
    for number in range(5):
        make(platform, f"i{number}")
        delete(platform, f"i{number}")
    age(serve, 2)
    assert json_of(platform.app, "purge", "--older-than", "24h") == [
        {"instances": 5, "operations": 10, "dry_run": False}
    ]
    assert json_of(platform.app, "operations") == []


def test_purged_instance_id_can_be_reused(serve: Serve, platform: Platform) -> None:
    make(platform, "i1")
    delete(platform, "i1")
    age(serve, 31)
    output_of(platform.app, "purge", "--older-than", "30d")
    make(platform, "i1")
    assert platform.get(f"{ROOT}/i1").status_code == 200


def test_operations_shows_progress_of_accepted_operation(serve: Serve, recorder: Recorder) -> None:
    """`show` masks the handler's own operation id unless `--reveal` is given."""
    recorder.answers["last_operation"] = LastOperation.in_progress("Half of it")
    platform = serve(recorder)
    recorder.answers["provision"] = Accepted(operation="job 7")
    operation = make(platform, "i1")
    platform.get(f"{ROOT}/i1/last_operation", query=f"operation={operation}")
    (running_id,) = json_of(platform.app, "operations", "--in-progress")
    assert (running_id["mode"], running_id["description"]) == ("polled", "Half of it")
    (details,) = json_of(platform.app, "show", operation)
    assert details["accepted"] == "***"
    (details,) = json_of(platform.app, "show", operation, "--reveal")
    assert details["accepted"] == "job 7"
