"""Tests of `flask broker audit`: the changes, as a table and as JSON, from a store of any size and age."""

from __future__ import annotations

import base64
import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import fields
from sqlalchemy import text

from brokerkit import Catalog, InvalidParameters
from brokerkit._internal.text import format_duration
from brokerkit.admin import audit, queries
from brokerkit.audit import AuditRecord

from ..support.broker import IDS, PROVISION, Recorder, make_offering
from ..support.stateful import Platform, Serve, poll_until_done
from ..support.stored_values import encrypt_for, operation_value
from .test_commands import ROOT, age, bind, delete, json_of, make, output_of, run

FIELDS = [field.name for field in fields(AuditRecord)]
UUID = "23ad6a69-7ec1-48c4-ae86-62ae8245e15{}"


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["binding_id"] or row["instance_id"] for row in rows]


def audited(platform: Platform, *options: str) -> list[str]:
    """Return the ids of the changed resources, in the order of the trail."""
    return ids(json_of(platform.app, "audit", *options))


def identity(platform: str, value: object) -> dict[str, str | None]:
    encoded = base64.b64encode(json.dumps(value).encode()).decode()
    return {"X-Broker-API-Originating-Identity": f"{platform} {encoded}"}


def change(serve: Serve, statement: str, **parameters: Any) -> None:
    """Change rows in the database directly."""
    with closing(serve.store()) as store, store.database.engine.begin() as connection:
        assert connection.execute(text(statement), parameters).rowcount


# Output


def test_audit_lists_newest_changes_first(platform: Platform) -> None:
    """Changes of deleted resources are included."""
    make(platform, "i1")
    bind(platform, "i1", "b1")
    delete(platform, "i1/service_bindings/b1")
    delete(platform, "i1")
    rows = json_of(platform.app, "audit")
    assert [row["operation"] for row in rows] == ["deprovision", "unbind", "bind", "provision"]
    assert [list(row) for row in rows] == [FIELDS] * 4
    for row in rows:
        start, end = (datetime.fromisoformat(row[name]) for name in ("asked_at", "ended_at"))
        assert timedelta() <= end - start < timedelta(minutes=1)
        assert row["asked_at"].endswith("Z")


def test_audit_of_empty_store_reports_no_changes(platform: Platform) -> None:
    assert output_of(platform.app, "audit") == "There are no changes.\n"
    assert json_of(platform.app, "audit") == []
    assert output_of(platform.app, "audit", "--instance", "i1") == "There are no matching changes.\n"


@pytest.mark.rule("R-REQ-3")
def test_audit_table_shows_user_and_duration(serve: Serve, recorder: Recorder) -> None:
    platform = serve(recorder, background=["provision"])
    recorder.answers["provision"] = InvalidParameters("There is no room")
    for number, headers in enumerate(
        (
            {},
            identity("cloudfoundry", {"user_id": "u1"}),
            identity("kubernetes", {"username": "ann", "uid": "1"}),
            identity("other", {"name": "unknown"}),
        )
    ):
        path = f"{ROOT}/i{number}"
        platform.put(path, PROVISION, query="accepts_incomplete=true", headers=headers)
        poll_until_done(platform, path)
    heading, *lines = (line.split("  ") for line in output_of(platform.app, "audit").splitlines())
    assert [cell.strip() for cell in heading if cell] == [
        "when", "who", "change", "instance", "plan", "outcome", "took", "description",
    ]  # fmt: skip
    cells = [[cell.strip() for cell in line if cell] for line in lines]
    assert [line[1] for line in cells] == ["platform / other", "platform / ann", "platform / u1", "platform"]
    assert {(*line[2:6][:1], *line[4:6], line[7]) for line in cells} == {
        ("provision", "db/small", "failed", "There is no room")
    }
    assert all(line[6].endswith("s") for line in cells)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "0 ms"),
        (0.0352, "35 ms"),
        (0.9996, "1.0 s"),
        (9.96, "9 s"),
        (59.9, "59 s"),
        (61, "1 min 1 s"),
        (3599, "59 min 59 s"),
        (7500, "2 h 5 min"),
        (187200, "2 d 4 h"),
    ],
)
def test_duration_has_at_most_two_units(seconds: float, shown: str) -> None:
    assert format_duration(seconds) == shown


@pytest.mark.parametrize("columns", [80, 120])
def test_audit_on_terminal_keeps_ids_whole(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    """Lines fit the width of the terminal, and ids and user names are not wrapped."""
    instance_id, binding_id, user = (UUID.format(number) for number in range(3))
    headers = identity("cloudfoundry", {"user_id": user})
    platform.put(f"{ROOT}/{instance_id}", PROVISION)
    platform.put(f"{ROOT}/{instance_id}/service_bindings/{binding_id}", IDS, headers=headers)
    monkeypatch.setattr("brokerkit._internal.console._is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    output = output_of(platform.app, "audit")
    assert max(map(len, output.splitlines())) <= columns
    for cell in (f"instance {instance_id}", f"binding {binding_id}", f"by platform / {user}"):
        assert any(line.endswith(cell) for line in output.splitlines())


def test_audit_escapes_control_characters(platform: Platform) -> None:
    """The escaped id and the original id both find the instance."""
    hostile = "a\x1b[31m\u202ez"
    headers = identity("cloudfoundry", {"user_id": "\x1b]0;x\x07"})
    assert platform.put(f"{ROOT}/{hostile}", PROVISION, headers=headers).status_code == 201
    make(platform, "other")
    table = output_of(platform.app, "audit")
    assert "\x1b" not in table
    assert r"platform / \x1b]0;x\x07" in table
    shown = r"a\x1b[31m\u202ez"
    assert shown in table
    for instance_id in (shown, hostile):
        assert audited(platform, "--instance", instance_id) == [hostile]


# Filters


def test_audit_limits_output_by_default(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """A truncated list is reported on stderr. `--limit` and `--since` show more."""
    monkeypatch.setattr("brokerkit.admin.commands.DEFAULT_LIMIT", 2)
    for number in range(3):
        make(platform, f"i{number}")
    for options in ([], ["--json"]):
        result = run(platform.app, "audit", *options)
        assert result.stderr == "There are more than 2; use --limit to show more.\n"
        assert "i2" in result.stdout
        assert "i0" not in result.stdout
    assert audited(platform, "--limit", "3") == ["i2", "i1", "i0"]
    assert audited(platform, "--since", "1h") == ["i2", "i1", "i0"]
    result = run(platform.app, "audit", "--since", "1h", "--limit", "1", "--json")
    assert ids(json.loads(result.stdout)) == ["i2"]
    assert result.stderr == "There are more than 1; use --limit to show more.\n"


def test_audit_since_accepts_age_date_and_time(serve: Serve, platform: Platform) -> None:
    make(platform, "old")
    age(serve, 9)
    make(platform, "young")
    now = datetime.now(UTC)
    local = now.astimezone().replace(tzinfo=None)
    week = timedelta(days=7)
    for since in (
        "7d",
        "1w",
        "45m",
        str((now - week).date()),
        (now - week).isoformat(),
        (now - week).strftime("%Y-%m-%dT%H:%M:%SZ"),
        (local - week).isoformat(timespec="seconds"),
        (local - timedelta(minutes=5)).isoformat(),
    ):
        assert audited(platform, "--since", since) == ["young"], since
    for since in ("10d", "999999999w", "2000-01-01", (local - timedelta(days=10)).isoformat()):
        assert audited(platform, "--since", since) == ["young", "old"], since
    assert audited(platform, "--since", (now + week).isoformat()) == []


def test_audit_since_rejects_other_values(platform: Platform) -> None:
    for since in ("yesterday", "7", "0d", "7 d", "2026-13-01", ""):
        result = run(platform.app, "audit", "--since", since)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "use one such as " in result.stderr


@pytest.mark.parametrize("skew", [-3600, 3600])
def test_audit_since_uses_database_clock(serve: Serve, platform: Platform, skew: int) -> None:
    """Operation ids come from the clock of a broker process, which can be wrong."""
    make(platform, "i1")
    (row,) = json_of(platform.app, "audit")
    operation = row["operation_id"]
    skewed = f"{int(operation[:12], 16) + skew * 1000:012x}{operation[12:]}"
    with closing(serve.store()) as store:
        store.open()
        result = store.find_operation(operation)
        assert result is not None
        request = store.request_of(result[0])
    change(serve, "UPDATE brokerkit_operations SET id = :skewed", skewed=skewed)
    encrypt_for(serve.url, operation_value(serve.url, skewed, "request"), request)
    assert audited(platform, "--since", "1m") == ["i1"]
    age(serve, 1)
    assert audited(platform, "--since", "23h") == []
    assert audited(platform, "--since", "25h") == ["i1"]


def test_audit_instance_filter_includes_bindings(serve: Serve, platform: Platform) -> None:
    """Deleted and purged instances are found too."""
    long = "l" * 3000
    for instance in ("i1", long):
        make(platform, instance)
        bind(platform, instance, f"b-of-{instance[:2]}")
        delete(platform, instance)
    assert audited(platform, "--instance", "i1") == ["i1", "b-of-i1", "i1"]
    change(serve, "DELETE FROM brokerkit_instances")  # as if it were purged
    assert audited(platform, "--instance", "i1") == ["i1", "b-of-i1", "i1"]
    assert audited(platform, "--instance", long) == [long, "b-of-ll", long]
    assert audited(platform, "--instance", "unknown") == []


def test_audit_accepts_shortened_id(platform: Platform) -> None:
    """The id that lists show for a deleted instance finds its records."""
    long = "l" * 3000
    make(platform, long)
    delete(platform, long)
    (short,) = [row["instance_id"] for row in json_of(platform.app, "instances", "--all")]
    assert short != long
    assert audited(platform, "--instance", short) == [long, long]


def test_audit_filters_by_binding_and_instance(platform: Platform) -> None:
    for instance in ("i1", "i2"):
        make(platform, instance)
        bind(platform, instance, "b1")
        bind(platform, instance, "b2")
    delete(platform, "i1/service_bindings/b1")

    def changes(*options: str) -> list[tuple[str, str]]:
        rows = json_of(platform.app, "audit", "--binding", "b1", *options)
        return [(row["instance_id"], row["operation"]) for row in rows]

    assert changes() == [("i1", "unbind"), ("i2", "bind"), ("i1", "bind")]
    assert changes("--instance", "i1") == [("i1", "unbind"), ("i1", "bind")]


# Size and age of the store


def test_audit_reads_many_records_in_pages(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long tables are printed in several parts, and each record is shown once."""
    monkeypatch.setattr(audit, "_PAGE_SIZE", 2)
    monkeypatch.setattr("brokerkit.admin.audit_table._TABLE_SIZE", 3)
    names = [f"i{number}" for number in range(5)]
    for name in names:
        make(platform, name)
    for options in (["--since", "1h"], ["--limit", "5"], []):
        assert audited(platform, *options) == names[::-1]
    assert audited(platform, "--limit", "3") == names[:1:-1]
    table = output_of(platform.app, "audit", "--since", "1h")
    assert [table.count(f" {name} ") for name in names] == [1] * 5
    assert table.count("instance") == 2


def test_audit_ignores_changes_during_read(
    serve: Serve, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "_PAGE_SIZE", 2)
    for number in range(5):
        make(platform, f"i{number}")
    with closing(serve.store()) as store:
        store.open()
        results = audit.read_audit(store, Catalog([make_offering()]), audit.AuditFilter())
        read = [next(results)]
        make(platform, "late")
        delete(platform, "i4")
        read += results
    assert [record.instance_id for record in read if isinstance(record, AuditRecord)] == [
        "i4", "i3", "i2", "i1", "i0",
    ]  # fmt: skip


def test_audit_skips_unreadable_rows(serve: Serve, platform: Platform) -> None:
    """The command prints all other rows, names the unreadable one on stderr and exits with 1."""
    for number in range(3):
        make(platform, f"i{number}")
    rows = json_of(platform.app, "audit")
    broken = rows[1]["operation_id"]
    change(serve, "UPDATE brokerkit_operations SET request = :lost WHERE id = :id", lost=b"x" * 90, id=broken)
    for options in ([], ["--json"]):
        result = run(platform.app, "audit", *options)
        assert result.exit_code == 1
        assert f"The operation {broken} cannot be read: " in result.stderr
        assert result.stderr.endswith("Error: 1 change could not be read\n")
        assert "i0" in result.stdout
        assert "i2" in result.stdout
    assert json.loads(result.stdout) == [rows[0], rows[2]]


@pytest.mark.parametrize("stored_request", [{"instance_id": 5}, {}, ["x"]], ids=str)
def test_audit_reports_malformed_row_without_content(
    serve: Serve, platform: Platform, stored_request: Any
) -> None:
    make(platform, "i1")
    (row,) = json_of(platform.app, "audit")
    encrypt_for(serve.url, operation_value(serve.url, row["operation_id"], "request"), stored_request)
    result = run(platform.app, "audit", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (1, [])
    assert "its format is not one of this brokerkit" in result.stderr


def test_audit_reads_rows_of_earlier_versions(serve: Serve, platform: Platform) -> None:
    """Fields that an earlier version did not store are null."""
    make(platform, "i1")
    before = {"headers": {"api_version": "2.17", "username": "platform"}, "instance_id": "i1"}
    (row,) = json_of(platform.app, "audit")
    encrypt_for(serve.url, operation_value(serve.url, row["operation_id"], "request"), before)
    (row,) = json_of(platform.app, "audit")
    assert list(row) == FIELDS
    assert (row["username"], row["organization_guid"], row["space_guid"]) == ("platform", None, None)


def test_purge_keeps_last_change_of_existing_instances(serve: Serve, platform: Platform) -> None:
    """A purge deletes old audit records of deleted instances and keeps the last change of existing ones."""
    make(platform, "i1")
    assert platform.patch(f"{ROOT}/i1", {**IDS, "parameters": {"size": 2}}).status_code == 200
    make(platform, "gone")
    delete(platform, "gone")
    age(serve, 31)
    with closing(serve.store()) as store:
        store.open()
        queries.purge_records(store, 30 * 86400)
    (row,) = json_of(platform.app, "audit")
    assert (row["instance_id"], row["operation"]) == ("i1", "update")
