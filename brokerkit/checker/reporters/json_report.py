"""A report as JSON, for programs.

Fields stay as they are here; there may be more of them some day::

    {
      "brokerkit": "0.1.0",                   the version that wrote it
      "url": "http://127.0.0.1:8080",
      "started_at": "2026-11-24T03:00:00Z",   RFC 3339, in UTC
      "seconds": 5.2,
      "requests": 214,                        how many were sent
      "plans": ["hello-db/small"],            those that were worked through
      "trouble": null,                        why the check could not be done, or not to its end
      "exit_code": 1,                         that of the command
      "summary": {
        "passed": 62, "failed": 1, "skipped": 9,
        "failed_by_level": {"MUST": 1, "SHOULD": 0, "INTEROP": 0}
      },
      "rules": [
        {
          "key": "R-PROV-3.again",            stays the same as long as the rule does
          "rule": "R-PROV-3",                 its number in the digest of the specification
          "level": "MUST",                    MUST, SHOULD or INTEROP
          "sentence": "…",                    what it asks for
          "outcome": "failed",                passed, failed or skipped
          "judged": 2,                        how many times it was looked at
          "why": null,                        why it was skipped
          "failures": [
            {
              "where": "hello-db/small",
              "fault": "…",
              "exchange": {"asked": …},       the request, and the answer that is wrong
              "before": []                    those that it contradicts, in order
            }
          ]
        }
      ],
      "leftovers": [                          what could not be deleted
        {"what": "service instance", "instance_id": "…", "binding_id": null, "why": "…", "curl": "…"}
      ]
    }

An exchange has `method`, `asked` (the request in one line), `sent` (its body), `status` (null if there was
no answer), `answered` (status and body, or why there was none), `answer_headers` (a list of lines), `seconds`
and `curl` (the command that sends it again). In all of it secrets are masked, and long bodies are cut.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC
from typing import Any

from ...client.exchange import Exchange
from ..report import Failure, Leftover, Level, Outcome, Report, Verdict
from . import common as telling


def to_json(report: Report) -> str:
    """A report as JSON, in ASCII.

    Args:
        report: What the check found.
    """
    document = {
        "brokerkit": telling.version(),
        "url": telling.url(report),
        "started_at": report.started_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "seconds": round(report.seconds, 3),
        "requests": report.requests,
        "plans": list(report.plans),
        "trouble": report.trouble,
        "exit_code": report.exit_code,
        "summary": {
            **{outcome.value: report.count(outcome) for outcome in Outcome},
            "failed_by_level": {level.value: report.count(Outcome.FAILED, level) for level in Level},
        },
        "rules": [_rule(each) for each in report.verdicts],
        "leftovers": [_leftover(each) for each in report.leftovers],
    }
    return f"{json.dumps(_sound(document), indent=2)}\n"


def _rule(verdict: Verdict) -> dict[str, Any]:
    return {
        "key": verdict.key,
        "rule": verdict.rule,
        "level": verdict.level.value,
        "sentence": verdict.sentence,
        "outcome": verdict.outcome.value,
        "judged": verdict.judged,
        "why": verdict.why,
        "failures": [_failure(each) for each in verdict.failures],
    }


def _failure(failure: Failure) -> dict[str, Any]:
    return {
        "where": failure.where,
        "fault": failure.fault,
        "exchange": _exchange(failure.exchange),
        "before": [_exchange(each) for each in failure.before],
    }


def _exchange(exchange: Exchange) -> dict[str, Any]:
    return {
        "method": exchange.method,
        "asked": exchange.request_line,
        "sent": exchange.body_text,
        "status": exchange.status,
        "answered": exchange.response_line,
        "answer_headers": list(exchange.response_header_lines),
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


def _sound(value: Any) -> Any:
    """The document without halves of characters, which many readers of JSON refuse."""
    match value:
        case Mapping():
            return {name: _sound(inner) for name, inner in value.items()}
        case list():
            return [_sound(inner) for inner in value]
        case str():
            return _SURROGATE.sub("\ufffd", value)
        case _:
            return value
