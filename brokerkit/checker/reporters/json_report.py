"""The report as JSON, for programs.

These fields are stable; later versions may add others::

    {
      "brokerkit": "0.1.0",                   the version that wrote it
      "url": "http://127.0.0.1:8080",
      "started_at": "2026-11-24T03:00:00Z",   RFC 3339, UTC
      "seconds": 5.2,
      "requests": 214,                        requests sent
      "plans": ["hello-db/small"],            plans that were checked
      "problem": null,                        why the check could not run or finish
      "exit_code": 1,                         exit code of the command
      "summary": {
        "passed": 62, "failed": 1, "skipped": 9,
        "failed_by_level": {"MUST": 1, "SHOULD": 0, "INTEROP": 0}
      },
      "rules": [
        {
          "key": "R-PROV-3.again",            stable identifier
          "rule": "R-PROV-3",                 number in docs/rules.md
          "level": "MUST",                    MUST, SHOULD or INTEROP
          "sentence": "…",                    the requirement
          "outcome": "failed",                passed, failed or skipped
          "judged": 2,                        number of evaluations
          "why": null,                        reason for skipping it
          "failures": [
            {
              "where": "hello-db/small",
              "fault": "…",
              "exchange": {"request": …},     the request and the violating response
              "before": []                    earlier exchanges that it contradicts
            }
          ]
        }
      ],
      "leftovers": [                          resources that could not be deleted
        {"what": "service instance", "instance_id": "…", "binding_id": null, "why": "…", "curl": "…"}
      ]
    }

An exchange has `method`, `request` (the request line), `request_body`, `status` (null without a response),
`response` (status and body, or the reason for having none), `response_headers` (a list of lines), `seconds`
and `curl` (the command that repeats the request). Secrets are masked and long bodies are truncated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC
from typing import Any

from ...client.exchange import Exchange
from ..report import Failure, Leftover, Level, Outcome, Report, Verdict
from . import common


def to_json(report: Report) -> str:
    """Render a report as JSON, in ASCII.

    Args:
        report: The report.
    """
    document = {
        "brokerkit": common.version(),
        "url": common.url(report),
        "started_at": report.started_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "seconds": round(report.seconds, 3),
        "requests": report.requests,
        "plans": list(report.plans),
        "problem": report.problem,
        "exit_code": report.exit_code,
        "summary": {
            **{outcome.value: report.count(outcome) for outcome in Outcome},
            "failed_by_level": {level.value: report.count(Outcome.FAILED, level) for level in Level},
        },
        "rules": [_rule(verdict) for verdict in report.verdicts],
        "leftovers": [_leftover(leftover) for leftover in report.leftovers],
    }
    return f"{json.dumps(_without_surrogates(document), indent=2)}\n"


def _rule(verdict: Verdict) -> dict[str, Any]:
    return {
        "key": verdict.key,
        "rule": verdict.rule,
        "level": verdict.level.value,
        "sentence": verdict.sentence,
        "outcome": verdict.outcome.value,
        "judged": verdict.judged,
        "why": verdict.why,
        "failures": [_failure(failure) for failure in verdict.failures],
    }


def _failure(failure: Failure) -> dict[str, Any]:
    return {
        "where": failure.where,
        "fault": failure.fault,
        "exchange": _exchange(failure.exchange),
        "before": [_exchange(exchange) for exchange in failure.before],
    }


def _exchange(exchange: Exchange) -> dict[str, Any]:
    return {
        "method": exchange.method,
        "request": exchange.request_line,
        "request_body": exchange.body_text,
        "status": exchange.status,
        "response": exchange.response_line,
        "response_headers": list(exchange.response_header_lines),
        "seconds": round(exchange.seconds, 3),
        "curl": exchange.curl,
    }


def _leftover(leftover: Leftover) -> dict[str, Any]:
    return {
        "what": leftover.what,
        "instance_id": leftover.instance_id,
        "binding_id": leftover.binding_id,
        "why": leftover.why,
        "curl": leftover.curl,
    }


_SURROGATE = re.compile("[\ud800-\udfff]")


def _without_surrogates(value: Any) -> Any:
    """Replace lone surrogates, which many JSON parsers reject."""
    match value:
        case Mapping():
            return {name: _without_surrogates(inner) for name, inner in value.items()}
        case list():
            return [_without_surrogates(inner) for inner in value]
        case str():
            return _SURROGATE.sub("\ufffd", value)
        case _:
            return value
