"""JSON for programs: everything of a report, in fields that stay."""

from __future__ import annotations

import json
from importlib import metadata
from typing import Any

import msgspec
import pytest

from brokerkit.checker.report import Report
from brokerkit.checker.reporters.json_report import to_json

from . import sample_reports as samples


def read(report: Report) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(to_json(report))
    return document


@pytest.mark.parametrize("name", samples.ALL)
def test_json_report_is_portable_ascii_json(name: str) -> None:
    """Every report parses with a strict JSON reader and contains no secrets."""
    text = to_json(samples.ALL[name])
    assert text.isascii()
    assert text.endswith("}\n")
    assert msgspec.json.decode(text) == json.loads(text)  # a strict reader too
    assert samples.PASSWORD not in text
    assert samples.SECRETS[0] not in text
    assert "not-to-be-seen" not in text


def test_json_report_contains_run_summary() -> None:
    document = read(samples.FAULTY)
    assert document.pop("brokerkit")
    assert len(document.pop("rules")) == 5
    assert document == {
        "url": samples.URL,
        "started_at": "2026-11-24T03:00:00Z",
        "seconds": 5.2,
        "requests": 214,
        "plans": ["hello-db/small", "hello-db/large"],
        "problem": None,
        "exit_code": 1,
        "summary": {
            "passed": 2,
            "failed": 2,
            "skipped": 1,
            "failed_by_level": {"MUST": 1, "SHOULD": 1, "INTEROP": 0},
        },
        "leftovers": [],
    }


def test_json_rule_contains_its_outcome() -> None:
    rules = {rule["key"]: rule for rule in read(samples.FAULTY)["rules"]}
    assert rules["R-GETI-1.found"] == {
        "key": "R-GETI-1.found",
        "rule": "R-GETI-1",
        "level": "MUST",
        "sentence": "An instance can be fetched.",
        "outcome": "skipped",
        "judged": 0,
        "why": "no offering is instances_retrievable",
        "failures": [],
    }
    assert (rules["R-REQ-1.required"]["outcome"], rules["R-REQ-1.required"]["judged"]) == ("passed", 2)
    assert len(rules["R-PROV-4.same"]["failures"]) == 5


def test_json_failure_contains_its_exchanges() -> None:
    failure = read(samples.FAULTY)["rules"][2]["failures"][0]
    assert (failure["where"], failure["fault"]) == (
        "hello-db/large",
        "returned a different operation than before",
    )
    assert [exchange["response"] for exchange in failure["before"]] == ['202 {"operation":"one"}']
    assert failure["exchange"] == {
        "method": "PUT",
        "request": "PUT /v2/service_instances/i1?accepts_incomplete=true",
        "request_body": '{"service_id":"s1","parameters":{"password":"***"}}',
        "status": 202,
        "response": '202 {"operation":"two"}',
        "response_headers": ["content-type: application/json", "set-cookie: ***"],
        "seconds": 0.25,
        "curl": samples.make_exchange().curl,
    }


def test_json_exchange_without_response_has_null_status() -> None:
    exchange = samples.make_exchange(status=None, response_headers={}, failure="the connection was closed")
    (rule,) = read(samples.make_report(samples.failed(exchange=exchange)))["rules"]
    written = rule["failures"][0]["exchange"]
    assert (written["status"], written["response"]) == (None, "no response: the connection was closed")


def test_json_report_contains_leftovers_and_errors() -> None:
    assert read(samples.LEFT)["leftovers"][1] == {
        "what": "service binding",
        "instance_id": "i1",
        "binding_id": "b1",
        "why": "no response",
        "curl": "curl -X DELETE b1",
    }
    assert read(samples.LEFT)["exit_code"] == 2
    assert read(samples.INTERRUPTED)["problem"] == "interrupted"


def test_json_report_without_installed_version_says_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert read(samples.CORRECT)["brokerkit"] == "unknown"


def test_json_report_replaces_lone_surrogates() -> None:
    sentence = read(samples.NASTY)["rules"][1]["sentence"]
    assert sentence == samples.HOSTILE.replace("\ud800", "\ufffd")
